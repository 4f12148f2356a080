//! How many may knock at once: connections that have not logged in yet, in all and from one address.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

/// Counts connections before their login.
#[derive(Clone)]
pub(super) struct Startups(Arc<Counts>);

struct Counts {
    limit: usize,
    limit_per_source: usize,
    all: AtomicUsize,
    per_source: DashMap<IpAddr, usize>,
}

/// The right to be among them, until dropped.
pub(super) struct Startup {
    counts: Arc<Counts>,
    source: IpAddr,
}

impl Startups {
    pub(super) fn new(limit: usize, limit_per_source: usize) -> Self {
        Self(Arc::new(Counts { limit, limit_per_source, all: AtomicUsize::new(0), per_source: DashMap::new() }))
    }

    /// Lets a connection from `source` in, or tells which limit it is over.
    pub(super) fn admit(&self, source: IpAddr) -> Result<Startup, &'static str> {
        let source = source_of(source);
        // Counted first and given back by the drop if it was one too many.
        let startup = Startup { counts: self.0.clone(), source };
        let all = self.0.all.fetch_add(1, Ordering::Relaxed) + 1;
        let here = *self.0.per_source.entry(source).and_modify(|n| *n += 1).or_insert(1);
        if all > self.0.limit {
            return Err("max_startups");
        }
        if here > self.0.limit_per_source {
            return Err("max_startups_per_source");
        }
        Ok(startup)
    }
}

/// What counts as one source: one subscriber has a whole /64 of IPv6.
pub(super) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

impl Drop for Startup {
    fn drop(&mut self) {
        self.counts.all.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut here) = self.counts.per_source.get_mut(&self.source) {
            *here -= 1;
        }
        self.counts.per_source.remove_if(&self.source, |_, n| *n == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_are_given_back() {
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let startups = Startups::new(3, 2);
        let first = startups.admit(a).unwrap();
        let _second = startups.admit(a).unwrap();
        assert_eq!(startups.admit(a).err(), Some("max_startups_per_source"));
        let _third = startups.admit(b).unwrap();
        assert_eq!(startups.admit(b).err(), Some("max_startups"));
        drop(first);
        assert!(startups.admit(a).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_who_left() {
        let startups = Startups::new(1, 1);
        drop(startups.admit([10, 0, 0, 1].into()));
        assert!(startups.0.per_source.is_empty());
        assert_eq!(startups.0.all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_slash_64_is_one_source() {
        let startups = Startups::new(9, 1);
        let _first = startups.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(startups.admit("2001:db8::2".parse().unwrap()).is_err());
        assert!(startups.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
