//! What one user may have of a replica, in all of her connections together: the rest is for others.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::Config;
use super::room::{Room, Rooms};

const MIB: u64 = 1024 * 1024;
/// Of the room for input that programs have not read, the part that one user may fill.
const PART: u64 = 4;

/// One user's.
pub(super) struct Allowance {
    /// Connections, those within others included.
    pub(super) connections: Arc<Semaphore>,
    /// Sessions and forwarded connections.
    pub(super) channels: Arc<Semaphore>,
    pub(super) rooms: Rooms,
}

/// Everybody's who is logged in.
pub(super) struct Allowances {
    max_connections: usize,
    max_channels: usize,
    /// What all have together.
    rooms: Rooms,
    users: Mutex<HashMap<String, Weak<Allowance>>>,
}

impl Allowances {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections_per_user,
            max_channels: config.max_channels_per_user,
            rooms: Rooms {
                memory: Room::new(config.spool_memory_mib * MIB),
                disk: Room::new(config.spool_total_mib * MIB),
            },
            users: Mutex::default(),
        }
    }

    /// Room for those who are not logged in yet, who fill none.
    pub(super) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The one of `user`, which all her connections share.
    pub(super) fn of(&self, user: &str) -> Arc<Allowance> {
        let mut users = self.users.lock();
        if let Some(allowance) = users.get(user).and_then(Weak::upgrade) {
            return allowance;
        }
        users.retain(|_, allowance| allowance.strong_count() > 0);
        let allowance = Arc::new(Allowance {
            connections: Arc::new(Semaphore::new(self.max_connections)),
            channels: Arc::new(Semaphore::new(self.max_channels)),
            rooms: self.rooms.part(PART),
        });
        users.insert(user.to_owned(), Arc::downgrade(&allowance));
        allowance
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    #[test]
    fn it_is_one_for_all_of_a_users_connections_and_forgotten_with_the_last() {
        let allowances = Allowances::new(&config());
        let (alice, again, bob) = (allowances.of("alice"), allowances.of("alice"), allowances.of("bob"));
        assert!(Arc::ptr_eq(&alice, &again) && !Arc::ptr_eq(&alice, &bob));
        drop((alice, again));
        let carol = allowances.of("carol");
        assert_eq!(allowances.users.lock().len(), 2, "bob's and carol's");
        drop((bob, carol));
    }

    #[test]
    fn what_one_fills_leaves_room_for_others() {
        let allowances = Allowances::new(&config());
        let (alice, bob) = (allowances.of("alice"), allowances.of("bob"));
        let all = config().spool_total_mib * MIB;
        assert!(!alice.rooms.disk.take(all / PART + 1) && alice.rooms.disk.take(all / PART));
        assert!(bob.rooms.disk.take(all / PART));
        assert_eq!(allowances.rooms.disk.used(), 2 * (all / PART));
    }
}
