//! A bounded crowd before a door: who comes from where few are gets in, and one of those of whom there are most has to
//! go.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// Connections that may not be many.
#[derive(Clone)]
pub struct Crowd(Arc<Inner>);

struct Inner {
    limit: usize,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    all: usize,
    /// Of each source, the oldest first.
    of: HashMap<IpAddr, VecDeque<CancellationToken>>,
}

/// The right to be among them, until dropped.
pub struct Place {
    crowd: Arc<Inner>,
    source: IpAddr,
    lost: CancellationToken,
}

impl Crowd {
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner { limit, members: Mutex::default() }))
    }

    /// A place for who comes from `source`, if there is one or somebody of a source that has more of them loses his.
    pub fn enter(&self, source: IpAddr) -> Option<Place> {
        self.0.enter(source, false)
    }

    /// A place, whatever it takes: for what is over in a moment and comes again if it is not.
    pub fn push_in(&self, source: IpAddr) -> Option<Place> {
        self.0.enter(source, true)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        let members = self.0.members();
        members.all == 0 && members.of.is_empty()
    }
}

impl Inner {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock()
    }

    fn enter(self: &Arc<Self>, source: IpAddr, pushes: bool) -> Option<Place> {
        let mut members = self.members();
        if members.all >= self.limit {
            let here = members.of.get(&source).map_or(0, VecDeque::len);
            let (most, from) = members.of.iter().map(|(from, of)| (of.len(), *from)).max()?;
            // Among equals who was there first stays, or of many that come none would ever be done.
            if most <= here + 1 && !pushes {
                return None;
            }
            let oldest = members.of.get_mut(&from)?.pop_front()?;
            members.all -= 1;
            members.forget(from);
            oldest.cancel();
        }
        let lost = CancellationToken::new();
        members.all += 1;
        members.of.entry(source).or_default().push_back(lost.clone());
        Some(Place { crowd: self.clone(), source, lost })
    }
}

impl Members {
    fn forget(&mut self, source: IpAddr) {
        if self.of.get(&source).is_some_and(VecDeque::is_empty) {
            self.of.remove(&source);
        }
    }
}

impl Place {
    /// Waits until somebody else has it.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut members = self.crowd.members();
        if self.lost.is_cancelled() {
            return;
        }
        if let Some(of) = members.of.get_mut(&self.source) {
            of.retain(|lost| *lost != self.lost);
            members.all -= 1;
        }
        members.forget(self.source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const C: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

    #[test]
    fn a_newcomer_takes_the_place_of_the_oldest_of_whoever_has_most() {
        let crowd = Crowd::new(5);
        let a = [A, A, A].map(|source| crowd.enter(source).unwrap());
        let b = [B, B].map(|source| crowd.enter(source).unwrap());
        let c = crowd.enter(C).unwrap();
        let has_lost = |places: &[Place]| places.iter().map(|place| place.lost.is_cancelled()).collect::<Vec<_>>();
        assert_eq!((has_lost(&a), has_lost(&b)), (vec![true, false, false], vec![false, false]));
        assert!(crowd.enter(A).is_none() && crowd.enter(C).is_none(), "nobody has more than they would");
        drop((a, b, c));
        assert!(crowd.is_empty());
    }

    #[test]
    fn who_pushes_gets_in_anyhow() {
        let crowd = Crowd::new(2);
        let two = [A, A].map(|source| crowd.push_in(source).unwrap());
        let third = crowd.push_in(A).unwrap();
        assert!(two[0].lost.is_cancelled() && !two[1].lost.is_cancelled());
        drop((two, third));
        assert!(crowd.is_empty());
    }
}
