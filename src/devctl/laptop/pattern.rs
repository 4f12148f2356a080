//! Patterns as ssh_config(5) has them: `*`, `?`, and `!` for what is left out.

/// Whether `text` is as `pattern` wants it.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and up to where it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether one of `patterns` matches, and none of those that are negated.
pub(super) fn any_matches<'a>(patterns: impl IntoIterator<Item = &'a str>, text: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(negated) if matches(negated, text) => return false,
            Some(_) => {}
            None => found |= matches(pattern, text),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text) in [("*", ""), ("*.dev", "a.dev"), ("a?c", "abc"), ("*b*d", "abbcd"), ("**a", "a")] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("*.dev", "dev"), ("a?c", "ac"), ("a", "ab"), ("*b", "abc")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_negated_is_left_out() {
        let dev = |text| any_matches(["*.dev", "!*.*.dev"], text);
        assert!(dev("a.dev") && !dev("a.b.dev") && !dev("a"));
        assert!(!any_matches(["!a"], "b"));
    }
}
