//! Addresses whose connections end badly again and again are not let in for a while (sshd_config(5),
//! `PerSourcePenalties`).

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::info;

use super::config::PenaltiesConfig;
use super::limits::source_of;

/// How a connection ended without a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// No key that was offered was good.
    AuthFailed,
    /// It tried none.
    NoAuth,
    /// It took longer than `login_grace_time`.
    GraceExceeded,
}

/// The penalties of all sources.
pub(super) struct Penalties {
    config: PenaltiesConfig,
    sources: Mutex<HashMap<IpAddr, Penalty>>,
}

#[derive(Clone, Copy)]
struct Penalty {
    until: Instant,
    /// It reached `min`, and holds until it is over.
    active: bool,
}

impl Penalties {
    pub(super) fn new(config: PenaltiesConfig) -> Self {
        Self { config, sources: Mutex::default() }
    }

    /// Whether connections from `address` are refused at `now`.
    pub(super) fn refuse(&self, address: IpAddr, now: Instant) -> bool {
        let sources = self.sources.lock();
        sources.get(&source_of(address)).is_some_and(|penalty| penalty.active && penalty.until > now)
    }

    /// Adds to the penalty of `address`.
    pub(super) fn add(&self, address: IpAddr, offence: Offence, now: Instant) {
        let config = &self.config;
        let more = match offence {
            Offence::AuthFailed => config.auth_failed,
            Offence::NoAuth => config.no_auth,
            Offence::GraceExceeded => config.grace_exceeded,
        };
        let address = address.to_canonical();
        if more.is_zero() || config.exempt.iter().any(|network| network.contains(&address)) {
            return;
        }
        let source = source_of(address);
        let mut sources = self.sources.lock();
        let before = sources.remove(&source).filter(|penalty| penalty.until > now);
        make_room(&mut sources, config.max_sources, now);
        let until = (before.map_or(now, |penalty| penalty.until) + more).min(now + config.max);
        let was_active = before.is_some_and(|penalty| penalty.active);
        let active = was_active || until - now >= config.min;
        sources.insert(source, Penalty { until, active });
        if active && !was_active {
            info!(%source, ?offence, duration = ?until - now, "penalised: refusing its connections for a while");
        }
    }
}

/// Forgets the penalties that are over, if there are too many, and then the one that would be over first.
fn make_room(sources: &mut HashMap<IpAddr, Penalty>, max: usize, now: Instant) {
    if sources.len() < max {
        return;
    }
    sources.retain(|_, penalty| penalty.until > now);
    if sources.len() >= max
        && let Some(first) = sources.iter().min_by_key(|(_, penalty)| penalty.until).map(|(source, _)| *source)
    {
        sources.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn penalties() -> Penalties {
        Penalties::new(PenaltiesConfig {
            auth_failed: seconds(5),
            no_auth: seconds(1),
            grace_exceeded: seconds(10),
            min: seconds(15),
            max: seconds(60),
            max_sources: 2,
            exempt: vec!["10.0.0.0/8".parse().unwrap()],
        })
    }

    #[test]
    fn penalties_add_up_and_end() {
        let (penalties, now) = (penalties(), Instant::now());
        penalties.add(A, Offence::AuthFailed, now);
        penalties.add(A, Offence::AuthFailed, now);
        assert!(!penalties.refuse(A, now));
        penalties.add(A, Offence::AuthFailed, now);
        assert!(penalties.refuse(A, now));
        assert!(!penalties.refuse(B, now));
        assert!(penalties.refuse(A, now + seconds(14)));
        assert!(!penalties.refuse(A, now + seconds(15)));
    }

    #[test]
    fn rare_mistakes_are_forgiven() {
        let (penalties, start) = (penalties(), Instant::now());
        for minute in 0..100 {
            let now = start + seconds(60 * minute);
            penalties.add(A, Offence::GraceExceeded, now);
            assert!(!penalties.refuse(A, now));
        }
    }

    #[test]
    fn there_is_a_longest_penalty() {
        let (penalties, now) = (penalties(), Instant::now());
        for _ in 0..100 {
            penalties.add(A, Offence::GraceExceeded, now);
        }
        assert!(penalties.refuse(A, now + seconds(59)));
        assert!(!penalties.refuse(A, now + seconds(60)));
    }

    #[test]
    fn the_exempt_are_not_penalised() {
        let (penalties, now) = (penalties(), Instant::now());
        for address in ["10.1.2.3", "::ffff:10.1.2.3"] {
            let address = address.parse().unwrap();
            (0..9).for_each(|_| penalties.add(address, Offence::GraceExceeded, now));
            assert!(!penalties.refuse(address, now));
        }
    }

    #[test]
    fn the_table_stays_small() {
        let (penalties, now) = (penalties(), Instant::now());
        (0..9).for_each(|_| penalties.add(A, Offence::GraceExceeded, now));
        for n in 0..50 {
            penalties.add([198, 51, 100, n].into(), Offence::NoAuth, now);
        }
        assert_eq!(penalties.sources.lock().len(), 2);
        assert!(penalties.refuse(A, now), "the longest penalty is kept");
    }
}
