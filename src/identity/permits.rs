//! Where forwards may lead: lists of hosts and ports as sshd has them (sshd_config(5), `PermitOpen`, `PermitListen`;
//! sshd(8), `permitopen`, `permitlisten`).

use std::num::NonZeroU16;
use std::sync::Arc;

use super::address::match_wildcards;

/// Lists each of which a forward has to be in. Without any it may lead anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permits(Vec<List>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct List {
    /// Where it stands, for the log.
    by: &'static str,
    entries: Arc<Vec<Entry>>,
}

/// What a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Connections that the client opens (`permitopen`): hosts as it writes them, or `*`.
    Open,
    /// Ports that are listened at for the client (`permitlisten`): patterns of hosts, or a port alone.
    Listen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: Host,
    /// None: any, also what is no port, a socket in the file system.
    port: Option<NonZeroU16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Literal(String),
    /// In lower case; `*` and `?` stand for others (ssh_config(5), PATTERNS).
    Pattern(String),
}

/// As many of a kind as sshd takes of one key.
const MAX_ENTRIES: usize = 4096;
/// No host is longer (`NI_MAXHOST`).
const MAX_HOST: usize = 1024;
const NO_HOST: &str = "invalid permission hostname: an IPv6 address has brackets around it";
const NO_PORT: &str = "invalid permission port: after host and colon stands a number from 1 to 65535, or *";

impl Permits {
    /// Wherever.
    pub const ANY: Self = Self(Vec::new());

    /// The list that stands `by` there: entries, or one word, `any` or `none`.
    pub fn parse(way: Way, by: &'static str, words: &[String]) -> Result<Self, String> {
        let entries = match words {
            [word] if word == "any" => return Ok(Self::ANY),
            [word] if word == "none" => Vec::new(),
            [] => return Err(format!("{by} is empty: say \"any\", \"none\", or where to")),
            _ => {
                let entry = |word: &String| Entry::parse(way, word).map_err(|error| format!("{by}: {word:?}: {error}"));
                words.iter().map(entry).collect::<Result<_, _>>()?
            }
        };
        Ok(Self(vec![List { by, entries: Arc::new(entries) }]))
    }

    /// Adds an entry to the list that stands `by` there, as each option of a key does.
    pub(super) fn add(&mut self, way: Way, by: &'static str, word: &str) -> Result<(), String> {
        let entry = Entry::parse(way, word).map_err(|error| format!("{word:?}: {error}"))?;
        match self.0.iter_mut().find(|list| list.by == by) {
            Some(list) if list.entries.len() >= MAX_ENTRIES => return Err("too many permission directives".to_owned()),
            Some(list) => Arc::make_mut(&mut list.entries).push(entry),
            None => self.0.push(List { by, entries: Arc::new(vec![entry]) }),
        }
        Ok(())
    }

    /// What both permit.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Where the list stands that does not permit `host`, in the client's words, with `port`; none if all do. A socket
    /// in the file system has its path for a host and no port: as with sshd, only a list with `*:*` permits it.
    pub fn refusal(&self, host: &str, port: Option<u16>) -> Option<&'static str> {
        self.0.iter().find(|list| !list.entries.iter().any(|entry| entry.matches(host, port))).map(|list| list.by)
    }
}

impl Entry {
    fn parse(way: Way, word: &str) -> Result<Self, &'static str> {
        let (host, port) = split(way, word)?;
        if host.len() > MAX_HOST {
            return Err(NO_HOST);
        }
        let port = match port {
            "*" => None,
            number => Some(number.parse().map_err(|_| NO_PORT)?),
        };
        let host = match (host, way) {
            ("*", _) => Host::Any,
            (host, Way::Open) => Host::Literal(host.to_owned()),
            (pattern, Way::Listen) => Host::Pattern(pattern.to_ascii_lowercase()),
        };
        Ok(Self { host, port })
    }

    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let port = self.port.is_none_or(|permitted| port == Some(permitted.get()));
        port && match &self.host {
            Host::Any => true,
            Host::Literal(literal) => literal == host,
            Host::Pattern(pattern) => {
                host.len() <= MAX_HOST && match_wildcards(pattern.as_bytes(), host.to_ascii_lowercase().as_bytes())
            }
        }
    }
}

/// The host and the port, as they are written.
fn split(way: Way, word: &str) -> Result<(&str, &str), &'static str> {
    if way == Way::Listen && !word.contains(':') {
        return Ok(("*", word));
    }
    let (host, rest) = match word.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or(NO_HOST)?,
        // sshd takes a slash too.
        None => word.split_at(word.find([':', '/']).unwrap_or(word.len())),
    };
    match rest.strip_prefix([':', '/']) {
        Some(port) => Ok((host, port)),
        None if rest.is_empty() => Err(NO_PORT),
        None => Err(NO_HOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(way: Way, words: &[&str]) -> Result<Permits, String> {
        Permits::parse(way, "here", &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    /// Whether one entry permits it; what has no port is a path.
    fn permits(way: Way, entry: &str, host: &str, port: u16) -> bool {
        let port = Some(port).filter(|_| !host.starts_with('/'));
        let permits = list(way, &[entry]).unwrap_or_else(|error| panic!("{entry}: {error}"));
        permits.refusal(host, port).is_none()
    }

    #[test]
    fn a_connection_leads_where_a_list_says_it_literally() {
        let table = [
            ("localhost:80", "localhost", 80, true),
            ("localhost:80", "localhost", 81, false),
            ("localhost:80", "LOCALHOST", 80, false),
            ("localhost:80", "127.0.0.1", 80, false),
            ("localhost/80", "localhost", 80, true),
            ("local*:80", "localhost", 80, false),
            ("local*:80", "local*", 80, true),
            ("*:80", "anything", 80, true),
            ("*:80", "anything", 81, false),
            ("localhost:*", "localhost", 0, true),
            ("localhost:*", "elsewhere", 80, false),
            ("[::1]:80", "::1", 80, true),
            ("[::1]:80", "[::1]", 80, false),
            ("[2001:db8::1]:*", "2001:db8::1", 80, true),
            ("[localhost]:80", "localhost", 80, true),
            (":80", "", 80, true),
            (":80", "localhost", 80, false),
            ("*:*", "anything", 1, true),
            ("*:*", "/run/socket", 0, true),
            ("*:80", "/run/socket", 0, false),
            ("localhost:*", "/run/socket", 0, false),
        ];
        for (entry, host, port, expected) in table {
            assert_eq!(permits(Way::Open, entry, host, port), expected, "{entry} {host} {port}");
        }
    }

    #[test]
    fn a_port_is_listened_at_where_a_pattern_says_so() {
        let table = [
            ("8080", "localhost", 8080, true),
            ("8080", "", 8080, true),
            ("8080", "localhost", 8081, false),
            ("*", "localhost", 0, true),
            ("8080", "localhost", 0, false),
            ("localhost:*", "localhost", 0, true),
            ("localhost:8080", "LocalHost", 8080, true),
            ("LocalHost:8080", "localhost", 8080, true),
            ("localhost:8080", "127.0.0.1", 8080, false),
            ("127.0.0.?:8080", "127.0.0.1", 8080, true),
            ("127.0.0.?:8080", "127.0.0.11", 8080, false),
            ("local*:8080", "localhost", 8080, true),
            ("[::*]:8080", "::1", 8080, true),
            (":8080", "", 8080, true),
            (":8080", "localhost", 8080, false),
        ];
        for (entry, host, port, expected) in table {
            assert_eq!(permits(Way::Listen, entry, host, port), expected, "{entry} {host} {port}");
        }
    }

    /// What sshd 9.2 refuses a key for is refused; so are names of ports, which a server without /etc/services knows
    /// none of.
    #[test]
    fn what_is_no_host_with_a_port_is_an_error() {
        let neither =
            ["", "a:", "a:0", "a:70000", "a:-1", "a:1 ", "a:1,b:2", "[::1:1", "[::1]1", "::1:1", "a:ssh", ":"];
        for way in [Way::Open, Way::Listen] {
            for word in neither {
                assert!(list(way, &[word]).is_err(), "{way:?} {word}");
            }
            for words in [&[][..], &["any", "a:1"], &["a:1", "none"]] {
                assert!(list(way, words).is_err(), "{way:?} {words:?}");
            }
        }
        for word in ["a", "*", "80", "[::1]"] {
            assert!(list(Way::Open, &[word]).is_err(), "{word}");
        }
        for word in ["0", "a/1", "a", "/80"] {
            assert!(list(Way::Listen, &[word]).is_err(), "{word}");
        }
        assert!(list(Way::Open, &[&format!("{}:1", "a".repeat(MAX_HOST))]).is_ok());
        assert!(list(Way::Open, &[&format!("{}:1", "a".repeat(MAX_HOST + 1))]).is_err());
    }

    #[test]
    fn any_and_none_are_words() {
        assert_eq!(list(Way::Open, &["any"]).unwrap(), Permits::ANY);
        assert_eq!(Permits::ANY.refusal("/run/socket", None), None);
        assert_eq!(list(Way::Listen, &["none"]).unwrap().refusal("localhost", Some(80)), Some("here"));
        assert_eq!(list(Way::Open, &["none"]).unwrap().refusal("/run/socket", None), Some("here"));
    }

    #[test]
    fn entries_of_a_list_add_up_and_lists_have_to_agree() {
        let key = |words: &[&str]| {
            let mut permits = Permits::ANY;
            words.iter().for_each(|word| permits.add(Way::Open, "key", word).unwrap());
            permits
        };
        let both = list(Way::Open, &["a:1", "b:2"]).unwrap().and(key(&["b:2", "c:3"]));
        assert_eq!(both.refusal("a", Some(1)), Some("key"));
        assert_eq!(both.refusal("b", Some(2)), None);
        assert_eq!(both.refusal("c", Some(3)), Some("here"));
        assert_eq!(Permits::ANY.and(key(&["c:3"])).refusal("c", Some(3)), None);
    }

    #[test]
    fn a_key_has_only_so_many() {
        let mut permits = Permits::ANY;
        (0..MAX_ENTRIES).for_each(|_| permits.add(Way::Open, "key", "a:1").unwrap());
        assert!(permits.add(Way::Open, "key", "a:1").is_err());
    }
}
