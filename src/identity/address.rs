//! Which addresses a key may be used from.

use std::net::IpAddr;

use ipnet::IpNet;

/// A pattern list of addresses (ssh_config(5), PATTERNS): networks in CIDR notation, and addresses with `*` and `?`,
/// each negated by a `!` before it. Names of hosts match nobody, as with sshd's `UseDNS no`.
#[derive(Debug)]
pub(super) struct AddressPatterns(Vec<(bool, Pattern)>);

#[derive(Debug)]
enum Pattern {
    Network(IpNet),
    Text(String),
}

impl AddressPatterns {
    pub(super) fn parse(list: &str) -> Result<Self, String> {
        let pattern = |word: &str| {
            let (negated, word) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest));
            let pattern = match word.contains('/') || word.parse::<IpAddr>().is_ok() {
                true => Pattern::Network(network(word)?),
                false => Pattern::Text(word.to_ascii_lowercase()),
            };
            Ok((negated, pattern))
        };
        list.split(',').map(str::trim).map(pattern).collect::<Result<_, _>>().map(Self)
    }

    /// Whether some pattern matches and no negated one does.
    pub(super) fn match_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let text = address.to_string();
        let matches = |pattern: &Pattern| match pattern {
            Pattern::Network(network) => network.contains(&address),
            Pattern::Text(pattern) => match_wildcards(pattern.as_bytes(), text.as_bytes()),
        };
        let mut matched = self.0.iter().filter(|(_, pattern)| matches(pattern)).peekable();
        matched.peek().is_some() && matched.all(|(negated, _)| !negated)
    }
}

/// A list of addresses and networks, as certificates have it: no wildcards, no negation.
pub(super) fn networks(list: &str) -> Result<Vec<IpNet>, String> {
    list.split(',').map(network).collect()
}

fn network(word: &str) -> Result<IpNet, String> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok(address.into());
    }
    match word.parse::<IpNet>() {
        Ok(network) if network.trunc() == network => Ok(network),
        Ok(_) => Err(format!("{word} has address bits outside its mask")),
        Err(_) => Err(format!("{word} is not a network")),
    }
}

/// `*` stands for any bytes and `?` for one. Takes no more than the product of both lengths.
pub(crate) fn match_wildcards(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // The last `*`, and where the text it stands for ends so far.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((at, end)) => {
                    *end += 1;
                    (p, t) = (*at + 1, *end);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(list: &str, address: &str) -> bool {
        AddressPatterns::parse(list).unwrap().match_address(address.parse().unwrap())
    }

    #[test]
    fn networks_and_wildcards_match() {
        assert!(matches("10.0.0.0/8", "10.1.2.3"));
        assert!(matches("laptop.example.org, 192.168.?.*", "192.168.1.200"));
        assert!(matches("2001:DB8::/32", "2001:db8::1"));
        assert!(matches("2001:0db8:0:0::1", "2001:db8::1"));
        assert!(matches("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(matches("*", "10.0.0.1"));
        assert!(!matches("10.0.0.0/8", "11.0.0.1"));
        assert!(!matches("192.168.1.?", "192.168.1.20"));
        assert!(!matches("laptop.example.org", "10.0.0.1"));
    }

    #[test]
    fn a_negated_pattern_wins_wherever_it_stands() {
        for list in ["!10.0.0.9,10.0.0.0/8", "10.0.0.0/8,!10.0.0.9"] {
            assert!(matches(list, "10.0.0.8"));
            assert!(!matches(list, "10.0.0.9"));
        }
        assert!(!matches("!10.0.0.9", "10.0.0.8"));
    }

    #[test]
    fn what_is_no_network_is_an_error() {
        for list in ["10.0.0.0/33", "10.0.0.1/8", "ten/8"] {
            assert!(AddressPatterns::parse(list).is_err(), "{list}");
            assert!(networks(list).is_err(), "{list}");
        }
        assert!(networks("10.0.*").is_err());
        assert!(networks("").is_err());
        assert_eq!(networks("10.0.0.1,2001:db8::/32").unwrap().len(), 2);
    }
}
