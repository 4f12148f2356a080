//! What a shell would make of the command, where the image has none.

/// The words of `command` if it is an `scp …`, without quotes. Nothing is expanded.
pub(in crate::agent) fn words(command: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let (mut quote, mut within) = (None, false);
    let mut characters = command.chars();
    while let Some(c) = characters.next() {
        let literal = match (c, quote) {
            (_, Some(open)) if c == open => {
                quote = None;
                continue;
            }
            ('\\', None | Some('"')) => characters.next()?,
            ('\'' | '"', None) => {
                quote = Some(c);
                if !std::mem::replace(&mut within, true) {
                    words.push(String::new());
                }
                continue;
            }
            (' ' | '\t', None) => {
                within = false;
                continue;
            }
            _ => c,
        };
        if !std::mem::replace(&mut within, true) {
            words.push(String::new());
        }
        words.last_mut()?.push(literal);
    }
    (quote.is_none() && words.first().is_some_and(|word| word == super::SCP)).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_a_shell_makes_of_them() {
        assert_eq!(words("scp  -t dir/").unwrap(), ["scp", "-t", "dir/"]);
        assert_eq!(
            words(r#"scp -f 'two words' a\ b "c \"d" ''"#).unwrap(),
            ["scp", "-f", "two words", "a b", "c \"d", ""]
        );
        assert_eq!(words(r"scp -t 'it'\''s'").unwrap(), ["scp", "-t", "it's"]);
        for other in ["", "ls", "scpx -t .", "scp -t 'x", "scp -t \\", "'' scp"] {
            assert_eq!(words(other), None, "{other}");
        }
    }
}
