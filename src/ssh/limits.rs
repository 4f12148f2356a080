//! How many may knock at once: connections that have not logged in yet, in all and from one address.

use std::net::IpAddr;
use std::sync::Arc;

use dashmap::DashMap;

use crate::crowd::{Crowd, Place};

/// Counts connections before their login.
pub(super) struct Startups {
    limit_per_source: usize,
    all: Crowd,
    per_source: Arc<DashMap<IpAddr, usize>>,
}

/// The right to be among them, until dropped.
pub(super) struct Startup {
    _counted: Counted,
    place: Place,
}

struct Counted {
    per_source: Arc<DashMap<IpAddr, usize>>,
    source: IpAddr,
}

impl Startups {
    pub(super) fn new(limit: usize, limit_per_source: usize) -> Self {
        Self { limit_per_source, all: Crowd::new(limit), per_source: Arc::default() }
    }

    /// Lets a connection from `address` in, or tells which limit it is over. Where all places are taken, it may get one
    /// of somebody's who has more of them.
    pub(super) fn admit(&self, address: IpAddr) -> Result<Startup, &'static str> {
        let source = source_of(address);
        // Counted first and given back by the drop if it was one too many.
        let counted = Counted { per_source: self.per_source.clone(), source };
        let here = *self.per_source.entry(source).and_modify(|n| *n += 1).or_insert(1);
        if here > self.limit_per_source {
            return Err("max_startups_per_source");
        }
        let place = self.all.enter(network_of(address)).ok_or("max_startups")?;
        Ok(Startup { _counted: counted, place })
    }
}

impl Startup {
    /// Waits until it has to go, for others to get in.
    pub(super) async fn lost(&self) {
        self.place.lost().await;
    }
}

/// What counts as one source: one subscriber has a whole /64 of IPv6.
pub(super) fn source_of(address: IpAddr) -> IpAddr {
    prefix(address, 64)
}

/// What counts as one where places are scarce: for the asking one gets as many /64 as a /48 has.
fn network_of(address: IpAddr) -> IpAddr {
    prefix(address, 48)
}

fn prefix(address: IpAddr, bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> (128 - bits) << (128 - bits)).into()),
        v4 => v4,
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(mut here) = self.per_source.get_mut(&self.source) {
            *here -= 1;
        }
        self.per_source.remove_if(&self.source, |_, n| *n == 0);
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
        assert!(startups.per_source.is_empty() && startups.all.is_empty());
    }

    #[tokio::test]
    async fn two_sources_that_hold_all_places_keep_no_third_one_out() {
        let startups = Startups::new(4, 2);
        let sources = ["2001:db8::1", "2001:db8:0:1::1"].map(|source| source.parse::<IpAddr>().unwrap());
        let held = [sources[0], sources[0], sources[1], sources[1]].map(|source| startups.admit(source).unwrap());
        let _third = startups.admit([10, 0, 0, 3].into()).unwrap();
        let _fourth = startups.admit([10, 0, 0, 4].into()).unwrap();
        held[0].lost().await;
        held[1].lost().await;
        assert_eq!(startups.admit([10, 0, 0, 4].into()).err(), Some("max_startups"), "all have as many");
    }

    #[test]
    fn a_slash_64_is_one_source() {
        let startups = Startups::new(9, 1);
        let _first = startups.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(startups.admit("2001:db8::2".parse().unwrap()).is_err());
        assert!(startups.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
