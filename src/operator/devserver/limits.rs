//! What a user's object allows her DevServers. Pure.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::resolve::{Invalid, Resolved};
use crate::api::user::UserLimits;
use crate::api::{DevServer, DevServerUser};

/// For how long one of hers may run, whatever its spec says.
pub(super) fn time(user: &DevServerUser) -> Option<Duration> {
    user.spec.limits.as_ref()?.max_time_to_live.as_ref()?.get()
}

/// Whether `server`, one of its owner's `servers`, is within her limits. Most have none, and nobody counts.
pub(super) fn check(
    server: &DevServer,
    wanted: &Resolved,
    user: Option<&DevServerUser>,
    servers: impl FnOnce() -> Siblings,
) -> Result<(), Invalid> {
    let Some(user) = user else { return Ok(()) };
    let Some(UserLimits { dev_servers, flavors, max_time_to_live }) = &user.spec.limits else { return Ok(()) };
    let name = user.name_any();
    if let Some(most) = dev_servers {
        count(server, servers(), *most, &name)?;
    }
    if let Some(flavor) = wanted.flavor.name.as_deref().filter(|_| !flavors.is_empty())
        && !flavors.iter().any(|allowed| allowed == flavor)
    {
        let message = format!("{name} may not use flavor {flavor:?}, but these: {}", flavors.join(", "));
        return Err(Invalid::Limit(message));
    }
    let asked = server.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.time_to_live.as_ref());
    if let Some((asked, most)) = asked.zip(max_time_to_live.as_ref())
        && asked.get() > most.get()
    {
        let message = format!("lifecycle.timeToLive {} is longer than the {} that {name} may have", asked.0, most.0);
        return Err(Invalid::Limit(message));
    }
    Ok(())
}

/// The DevServers of one owner.
pub(super) struct Siblings {
    pub(super) readable: Vec<Arc<DevServer>>,
    /// The names of the others. They have their place: their pods run.
    pub(super) unreadable: Vec<String>,
}

/// The oldest are within the limit.
fn count(server: &DevServer, servers: Siblings, most: u32, user: &str) -> Result<(), Invalid> {
    let age = |server: &DevServer| (server.creation_timestamp().map(|time| time.0), server.name_any());
    let is_going = |server: &Arc<DevServer>| server.metadata.deletion_timestamp.is_some();
    let own = age(server);
    let mut older: Vec<String> = servers
        .readable
        .iter()
        .filter(|other| !is_going(other) && other.name_any() != server.name_any() && age(other) < own)
        .map(|other| other.name_any())
        .chain(servers.unreadable)
        .collect();
    if older.len() < usize::try_from(most).unwrap_or(usize::MAX) {
        return Ok(());
    }
    older.sort();
    let many = if most == 1 { "DevServer" } else { "DevServers" };
    let advice = if older.is_empty() { String::new() } else { format!("; delete one of {}", older.join(", ")) };
    Err(Invalid::Limit(format!("{user} may have {most} {many}, and this is one more{advice}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServerSpec, DevServerUserSpec, Lifecycle, TimeSpan};
    use crate::operator::devserver::resolve::resolve;
    use crate::operator::devserver::resolve::tests::{flavor, server};
    use crate::operator::tests::config;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

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
        let siblings = || Siblings { readable: servers.to_vec(), unreadable };
        check(server, &wanted, Some(&alice(limits)), siblings).err().map(|invalid| invalid.to_string())
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
        let refused = r#"alice may not use flavor "small", but these: large"#;
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
        let refused = "lifecycle.timeToLive 25h is longer than the 24h that alice may have";
        assert_eq!(told(&lives("25h"), limits.clone(), &[]).as_deref(), Some(refused));
        assert_eq!(told(&server(DevServerSpec::default()), limits, &[]), None);
    }
}
