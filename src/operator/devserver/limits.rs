//! What a user's object allows her DevServers. Pure.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::resolve::{Invalid, Resolved};
use crate::api::user::UserLimits;
use crate::api::{DevServer, DevServerUser};
use crate::plain::few;

/// For how long one of hers may run, whatever its spec says.
pub(super) fn time(user: &DevServerUser) -> Option<Duration> {
    longest(user.spec.limits.as_ref()?)
}

/// Zero is no limit, as it is everywhere else.
fn longest(limits: &UserLimits) -> Option<Duration> {
    limits.max_time_to_live.as_ref()?.get().filter(|longest| !longest.is_zero())
}

/// Whether `server`, one of its owner's `servers`, is within her limits. `most` is how many she may have whose object
/// does not say it; zero: any number.
pub(super) fn check(
    server: &DevServer,
    wanted: &Resolved,
    user: Option<&DevServerUser>,
    most: u32,
    servers: impl FnOnce() -> Siblings,
) -> Result<(), Invalid> {
    let limits = user.and_then(|user| user.spec.limits.clone()).unwrap_or_default();
    let UserLimits { dev_servers, flavors, max_time_to_live } = &limits;
    let name = &wanted.user;
    if let Some(most) = dev_servers.or((most > 0).then_some(most)) {
        count(server, &servers(), most, name)?;
    }
    if let Some(flavor) = wanted.flavor.name.as_deref().filter(|_| !flavors.is_empty())
        && !flavors.iter().any(|allowed| allowed == flavor)
    {
        let message = format!(
            "{name} may not use flavor {flavor}; these are allowed: {}; `devctl update {} --flavor NAME` takes one",
            flavors.join(", "),
            server.name_any(),
        );
        return Err(Invalid::Limit(message));
    }
    let asked = server.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.time_to_live.as_ref());
    if let Some((asked, most)) = asked.zip(max_time_to_live.as_ref())
        && let Some(longest) = longest(&limits)
        && asked.get().is_some_and(|asked| asked > longest)
    {
        let message = format!(
            "lifecycle.timeToLive {} is longer than the {most} that {name} may have; `devctl update {} --time {most}` shortens it",
            asked.0,
            server.name_any(),
            most = most.0,
        );
        return Err(Invalid::Limit(message));
    }
    Ok(())
}

/// The DevServers of one owner.
pub(super) struct Siblings {
    pub(super) readable: Vec<Sibling>,
    /// The names of the others. They have their place: their pods run.
    pub(super) unreadable: Vec<String>,
}

pub(super) struct Sibling {
    pub(super) server: Arc<DevServer>,
    /// It has a pod, or was let through to one.
    pub(super) has_place: bool,
}

impl Sibling {
    /// One that goes is over once its pod is.
    fn counts(&self) -> bool {
        self.has_place || !self.is_going()
    }

    fn is_going(&self) -> bool {
        self.server.metadata.deletion_timestamp.is_some()
    }
}

/// Those that have a place are within the limit first, then the oldest: a name that sorts before others of the same
/// second gets no further one.
fn count(server: &DevServer, servers: &Siblings, most: u32, user: &str) -> Result<(), Invalid> {
    let name = server.name_any();
    let rank = |server: &DevServer, has_place: bool| {
        (!has_place, server.creation_timestamp().map(|time| time.0), server.name_any())
    };
    let has_place = servers.readable.iter().any(|one| one.has_place && one.server.name_any() == name);
    let own = rank(server, has_place);
    let first: Vec<&Sibling> = servers
        .readable
        .iter()
        .filter(|other| other.counts() && other.server.name_any() != name && rank(&other.server, other.has_place) < own)
        .collect();
    if first.len() + servers.unreadable.len() < usize::try_from(most).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let staying = first.iter().filter(|other| !other.is_going()).map(|other| other.server.name_any());
    let mut staying: Vec<String> = staying.chain(servers.unreadable.iter().cloned()).collect();
    staying.sort();
    let many = if most == 1 { "DevServer" } else { "DevServers" };
    let advice = match staying.is_empty() {
        true => String::new(),
        false => format!("; delete one of {}", few(&staying, NAMED, ", ")),
    };
    Err(Invalid::Limit(format!("{user} may have {most} {many}, and this is one more{advice}")))
}

/// A status is no list.
const NAMED: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServerSpec, DevServerUserSpec, Lifecycle, TimeSpan};
    use crate::operator::devserver::resolve::resolve;
    use crate::operator::devserver::resolve::tests::{flavor, server};
    use crate::operator::tests::config;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn alice(limits: UserLimits) -> DevServerUser {
        DevServerUser::new("alice", DevServerUserSpec { limits: Some(limits), ..DevServerUserSpec::default() })
    }

    fn told(server: &DevServer, limits: UserLimits, servers: &[Arc<DevServer>]) -> Option<String> {
        told_beside(&[], server, limits, servers)
    }

    fn told_beside(
        unreadable: &[&str],
        server: &DevServer,
        limits: UserLimits,
        servers: &[Arc<DevServer>],
    ) -> Option<String> {
        let flavors = [flavor("small", true), flavor("large", false)];
        let wanted = resolve(server, &flavors, &config()).unwrap();
        let unreadable = unreadable.iter().map(|name| (*name).to_owned()).collect();
        let waits = |server: &Arc<DevServer>| Sibling { server: server.clone(), has_place: false };
        let siblings = || Siblings { readable: servers.iter().map(waits).collect(), unreadable };
        check(server, &wanted, Some(&alice(limits)), 0, siblings).err().map(|invalid| invalid.to_string())
    }

    /// Whether each is within the limit; `!` marks one that has a place.
    fn within(most: u32, all: &[(&str, i64)]) -> Vec<bool> {
        let servers: Vec<_> = all.iter().map(|(name, second)| made(name.trim_start_matches('!'), *second)).collect();
        let is_within = |server: &Arc<DevServer>| {
            let readable = servers
                .iter()
                .zip(all)
                .map(|(server, (name, _))| Sibling { server: server.clone(), has_place: name.starts_with('!') });
            let siblings = Siblings { readable: readable.collect(), unreadable: Vec::new() };
            count(server, &siblings, most, "alice").is_ok()
        };
        servers.iter().map(is_within).collect()
    }

    #[test]
    fn who_has_a_place_keeps_it_from_whoever_sorts_before_it() {
        assert_eq!(within(1, &[("!z", 1), ("y", 1), ("x", 1)]), [true, false, false]);
        assert_eq!(within(1, &[("z", 1), ("y", 1), ("x", 1)]), [false, false, true]);
        assert_eq!(within(1, &[("old", 1), ("!new", 2)]), [false, true], "else both would run once old wakes");
        assert_eq!(within(2, &[("old", 1), ("!new", 2), ("newest", 3)]), [true, true, false]);
        assert_eq!(within(2, &[("!a", 1), ("!b", 2), ("!c", 3)]), [true, true, false], "the limit was lowered");
    }

    #[test]
    fn one_that_goes_counts_as_long_as_it_has_a_pod() {
        let mut going = (*made("going", 1)).clone();
        going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let (going, new) = (Arc::new(going), made("new", 2));
        let told = |has_place| {
            let readable = vec![Sibling { server: going.clone(), has_place }];
            count(&new, &Siblings { readable, unreadable: Vec::new() }, 1, "alice").err().map(|error| error.to_string())
        };
        assert_eq!(told(true).as_deref(), Some("alice may have 1 DevServer, and this is one more"));
        assert_eq!(told(false), None);
    }

    #[test]
    fn who_has_no_limit_of_her_own_has_the_configurations() {
        let wanted = resolve(&server(DevServerSpec::default()), &[], &config()).unwrap();
        let (old, new) = (made("old", 1), made("dev", 2));
        let told = |user: Option<&DevServerUser>, most| {
            let siblings = || Siblings {
                readable: vec![Sibling { server: old.clone(), has_place: false }],
                unreadable: Vec::new(),
            };
            check(&new, &wanted, user, most, siblings).is_ok()
        };
        assert_eq!((told(None, 0), told(None, 1), told(None, 2)), (true, false, true));
        let own = alice(UserLimits { dev_servers: Some(2), ..UserLimits::default() });
        assert!(told(Some(&own), 1));
        assert!(!told(Some(&alice(UserLimits::default())), 1));
    }

    fn made(name: &str, second: i64) -> Arc<DevServer> {
        let mut made = server(DevServerSpec::default());
        made.metadata.name = Some(name.to_owned());
        made.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
        Arc::new(made)
    }

    #[test]
    fn the_oldest_are_within_the_limit() {
        let all = [made("b", 1), made("a", 2), made("c", 2)];
        let with = |index: usize, most| {
            let limits = UserLimits { dev_servers: Some(most), ..UserLimits::default() };
            told(&all[index], limits, &all)
        };
        assert_eq!((with(0, 2), with(1, 2)), (None, None));
        let refused = "alice may have 2 DevServers, and this is one more; delete one of a, b";
        assert_eq!(with(2, 2).as_deref(), Some(refused));
        assert_eq!(with(2, 3), None);
        assert_eq!(with(0, 0).as_deref(), Some("alice may have 0 DevServers, and this is one more"));

        let mut going = (*all[0]).clone();
        going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let limits = UserLimits { dev_servers: Some(2), ..UserLimits::default() };
        assert_eq!(told(&all[2], limits, &[Arc::new(going), all[1].clone(), all[2].clone()]), None);
    }

    #[test]
    fn one_that_cannot_be_read_has_its_place() {
        let all = [made("a", 1), made("b", 2)];
        let limits = || UserLimits { dev_servers: Some(2), ..UserLimits::default() };
        assert_eq!(told_beside(&["odd"], &all[0], limits(), &all), None);
        let refused = "alice may have 2 DevServers, and this is one more; delete one of a, odd";
        assert_eq!(told_beside(&["odd"], &all[1], limits(), &all).as_deref(), Some(refused));
    }

    #[test]
    fn flavors_are_limited_the_default_included() {
        let limits = UserLimits { flavors: vec!["large".to_owned()], ..UserLimits::default() };
        let refused =
            "alice may not use flavor small; these are allowed: large; `devctl update dev --flavor NAME` takes one";
        assert_eq!(told(&server(DevServerSpec::default()), limits.clone(), &[]).as_deref(), Some(refused));
        let large = DevServerSpec { flavor: Some("large".to_owned()), ..DevServerSpec::default() };
        assert_eq!(told(&server(large), limits, &[]), None);
    }

    #[test]
    fn a_longer_life_than_she_may_have_is_refused() {
        let limits = UserLimits { max_time_to_live: Some(TimeSpan("24h".to_owned())), ..UserLimits::default() };
        let lives = |span: &str| {
            let lifecycle = Lifecycle { time_to_live: Some(TimeSpan(span.to_owned())), ..Lifecycle::default() };
            server(DevServerSpec { lifecycle: Some(lifecycle), ..DevServerSpec::default() })
        };
        assert_eq!(told(&lives("1d"), limits.clone(), &[]), None);
        let refused = "lifecycle.timeToLive 25h is longer than the 24h that alice may have; \
                       `devctl update dev --time 24h` shortens it";
        assert_eq!(told(&lives("25h"), limits.clone(), &[]).as_deref(), Some(refused));
        let none = UserLimits { max_time_to_live: Some(TimeSpan("0s".to_owned())), ..UserLimits::default() };
        assert_eq!((time(&alice(none.clone())), told(&lives("25h"), none, &[])), (None, None), "zero is no limit");
        assert_eq!(time(&alice(limits.clone())), Some(Duration::from_hours(24)));
        assert_eq!(told(&server(DevServerSpec::default()), limits, &[]), None);
    }
}
