//! The keys of accounts as last heard of, fetched again before they are old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::CodeHostsConfig;
use super::fetch::Host;
use crate::telemetry::chain;

/// How long a login waits for keys that are not known yet. The fetch goes on after that.
const WAIT: Duration = Duration::from_secs(2);
/// Between two questions for the same account that logins cause, and after a failure, for any account.
const PAUSE: Duration = Duration::from_mins(1);
/// Questions at one time.
const CONCURRENCY: usize = 4;

/// A fetch that is under way. Whoever wants the same waits for it.
type Fetching = Shared<BoxFuture<'static, ()>>;

pub(super) struct Accounts {
    shared: Arc<Known>,
    _refreshing: AbortOnDropHandle<()>,
}

struct Known {
    name: String,
    host: Host,
    refresh: Duration,
    keep: Duration,
    state: Mutex<State>,
    slots: Semaphore,
}

#[derive(Default)]
struct State {
    accounts: HashMap<String, Account>,
    /// When the host last failed, whatever it was asked for.
    failed: Option<Instant>,
    /// How often the keys of some account became others.
    changes: u64,
}

/// There is one for each account that a login meant, and no more than administrators name.
struct Account {
    keys: Arc<[String]>,
    /// When the host last told them, and when it last would not.
    fetched: Option<Instant>,
    failed: Option<Instant>,
    used: Instant,
    fetching: Option<Fetching>,
}

impl Accounts {
    pub(super) fn new(name: String, host: Host, ages: &CodeHostsConfig) -> Self {
        let CodeHostsConfig { refresh, keep } = *ages;
        let (state, slots) = (Mutex::default(), Semaphore::new(CONCURRENCY));
        let shared = Arc::new(Known { name, host, refresh, keep, state, slots });
        let refreshing = AbortOnDropHandle::new(tokio::spawn(shared.clone().refresh()));
        Self { shared, _refreshing: refreshing }
    }

    /// What is known of `account`'s keys, unless that is too old.
    pub(super) fn keys(&self, account: &str) -> Vec<String> {
        let (mut state, now) = (self.shared.state.lock(), Instant::now());
        let Some(account) = state.accounts.get_mut(account) else { return Vec::new() };
        account.used = now;
        match account.fetched {
            Some(fetched) if now - fetched < self.shared.keep => account.keys.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Differs once the keys of some account do.
    pub(super) fn version(&self) -> u64 {
        self.shared.state.lock().changes
    }

    /// Asks for `account`'s keys unless that was done just now; whether there is an answer.
    pub(super) async fn learn(&self, account: String) -> bool {
        let Some(fetching) = self.shared.ask(&account, PAUSE) else { return false };
        let answered = timeout(WAIT, fetching).await.is_ok();
        if !answered {
            info!(host = self.shared.name, account, "the keys did not come in time for a login");
        }
        answered
    }
}

impl Known {
    /// Keeps what logins use current for as long as they use it.
    async fn refresh(self: Arc<Self>) {
        let mut ticks = interval((self.refresh / 10).max(Duration::from_millis(1)));
        loop {
            ticks.tick().await;
            let accounts: Vec<String> = {
                let (mut state, now) = (self.state.lock(), Instant::now());
                state.accounts.retain(|_, account| now - account.used < self.keep);
                state.accounts.keys().cloned().collect()
            };
            for account in accounts {
                self.ask(&account, self.refresh);
            }
        }
    }

    /// Asks for the account's keys unless the answer is younger than `age` or the host failed just now.
    fn ask(self: &Arc<Self>, name: &str, age: Duration) -> Option<Fetching> {
        let (mut state, now) = (self.state.lock(), Instant::now());
        let State { accounts, failed, .. } = &mut *state;
        let account = accounts.entry(name.to_owned()).or_insert_with(|| Account {
            keys: Arc::default(),
            fetched: None,
            failed: None,
            used: now,
            fetching: None,
        });
        if let Some(fetching) = &account.fetching {
            return Some(fetching.clone());
        }
        let recently = |then: Option<Instant>, age| then.is_some_and(|then| now - then < age);
        if recently(account.fetched, age) || recently(account.failed.max(*failed), PAUSE) {
            return None;
        }
        let (known, name) = (self.clone(), name.to_owned());
        let fetch = AbortOnDropHandle::new(tokio::spawn(async move { known.fetch(&name).await }));
        let fetching = fetch.map(|_| ()).boxed().shared();
        account.fetching = Some(fetching.clone());
        Some(fetching)
    }

    async fn fetch(&self, name: &str) {
        let _slot = self.slots.acquire().await;
        let answer = self.host.keys(name).await;
        let (mut state, now, host) = (self.state.lock(), Instant::now(), &self.name);
        let State { accounts, failed, changes } = &mut *state;
        let Some(account) = accounts.get_mut(name) else { return };
        account.fetching = None;
        match answer {
            Ok(keys) => {
                (*failed, account.failed, account.fetched) = (None, None, Some(now));
                match *account.keys == *keys {
                    true => debug!(host, account = name, keys = keys.len(), "the keys are as they were"),
                    false => {
                        *changes += 1;
                        info!(host, account = name, keys = keys.len(), "read the keys of an account");
                    }
                }
                account.keys = keys.into();
            }
            Err(error) => {
                account.failed = Some(now);
                if error.is_of_host() {
                    *failed = Some(now);
                }
                let age = account.fetched.map(|fetched| now - fetched);
                let error = chain(&error);
                warn!(error, host, account = name, ?age, keep = ?self.keep, "failed to read keys; those known hold on");
            }
        }
    }
}
