//! Whether somebody who is in would still be let in: a key that is taken away ends the connections it made.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Authenticator, Credential, Identity, OwnedCredential, Refusal};

/// At the latest after so long it is looked again, whatever was heard: clocks jump, and keys of code hosts grow too
/// old.
const RECHECK: Duration = Duration::from_mins(1);
/// A file that is being written, or an object that is made anew, is missing for a moment.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Why somebody is no longer who she was when she logged in. Its text is a sentence for her.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    Removed,
    Revoked,
    Expired,
    Disabled,
    NoUser,
    Unreadable,
    Changed,
    Refused,
}

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removed => "your key was removed",
            Self::Revoked => "your key was revoked",
            Self::Expired => "your key or certificate has expired",
            Self::Disabled => "your account was disabled",
            Self::NoUser => "your account was removed",
            Self::Unreadable => "your account's DevServerUser cannot be read; tell an administrator",
            Self::Changed => "the permissions of your key have changed; log in again",
            Self::Refused => "your key no longer gives access here",
        })
    }
}

/// What an answer rests on: while it is the same, so is the answer, but for the time.
#[derive(PartialEq)]
struct Grounds {
    sources: u64,
    object: Option<(Option<String>, Option<String>)>,
}

impl Authenticator {
    /// Waits until `login` with `credential` would not be let in from `from` as this `identity` any more.
    pub async fn lapse(&self, login: &str, credential: &OwnedCredential, from: IpAddr, identity: &Identity) -> Lapse {
        let mut news = self.sources.news();
        loop {
            let grounds = self.grounds(&mut news, identity);
            let until = match self.check(login, credential.borrow(), from, identity, Timestamp::now()) {
                Ok(until) => until,
                Err(Lapse::Expired) => return Lapse::Expired,
                Err(_) => {
                    sleep(SECOND_LOOK).await;
                    match self.check(login, credential.borrow(), from, identity, Timestamp::now()) {
                        Ok(_) => continue,
                        Err(lapse) => return lapse,
                    }
                }
            };
            let rest = until.map_or(RECHECK, |until| rest(until, Timestamp::now()).min(RECHECK));
            let changed = async {
                // The news end with a shutdown, which ends connections by itself.
                while news.changed().await.is_ok() {
                    if self.grounds(&mut news, identity) != grounds {
                        return;
                    }
                }
                std::future::pending().await
            };
            let _ = timeout(rest, changed).await;
        }
    }

    fn grounds(&self, news: &mut watch::Receiver<u64>, identity: &Identity) -> Grounds {
        let object = self.cache.user(identity.user()).map(|object| (object.uid(), object.resource_version()));
        Grounds { sources: *news.borrow_and_update(), object }
    }

    /// Until when it holds, as far as is known at `now`.
    fn check(
        &self,
        login: &str,
        credential: Credential<'_>,
        from: IpAddr,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Lapse> {
        match self.resolve_at(login, credential, from, now) {
            Ok((same, until)) if same == *identity => Ok(until),
            Ok(_) => Err(Lapse::Changed),
            // It keeps people out, but says nothing of those who are in: the file may be in the middle of a change.
            Err(Refusal::RevokedUnknown(_)) => Ok(None),
            Err(Refusal::Unknown) if self.cache.user(identity.user()).is_none() => Err(Lapse::NoUser),
            Err(reason) => Err(reason.into()),
        }
    }
}

impl From<Refusal> for Lapse {
    fn from(reason: Refusal) -> Self {
        match reason {
            Refusal::Unknown => Self::Removed,
            Refusal::Revoked => Self::Revoked,
            Refusal::Expired | Refusal::CertificateExpired => Self::Expired,
            Refusal::Disabled => Self::Disabled,
            Refusal::Unreadable(_) => Self::Unreadable,
            _ => Self::Refused,
        }
    }
}

/// How long it is until then, and a moment: at the very second some still hold.
fn rest(until: Timestamp, now: Timestamp) -> Duration {
    let left = until.duration_since(now).max(SignedDuration::ZERO) + SignedDuration::from_secs(1);
    left.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_ends_just_after_the_time_is_over() {
        let at = |seconds| Timestamp::constant(seconds, 0);
        assert_eq!(rest(at(110), at(100)), Duration::from_secs(11));
        assert_eq!(rest(at(90), at(100)), Duration::from_secs(1));
        assert_eq!(rest(Timestamp::MAX, Timestamp::MIN).min(RECHECK), RECHECK);
    }
}
