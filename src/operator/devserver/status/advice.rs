//! What the owner of a DevServer can do about what keeps it from running. It is part of what is told of it, so that
//! logins, `devctl describe` and `why`, and `kubectl describe` say the same. Pure.

use crate::api::conditions::reason;

/// For DevServer `name`, by the reason of its condition Ready; none where the message itself says it, or nothing is to
/// be done.
pub(super) fn on(name: &str, reason: &str) -> Option<String> {
    let advice = match reason {
        reason::CANNOT_PULL_IMAGE => format!(
            "check its name and tag, and that the cluster may pull it; `devctl update {name} --image IMAGE` takes another"
        ),
        reason::CANNOT_READ_ENV => {
            format!(
                "ask your administrator for what is missing, and it starts; `devctl update {name} --unset-env NAME` does without it"
            )
        }
        reason::CLAIM_NOT_FOUND => {
            format!(
                "ask your administrator for it, or do without; if it is not the flavor's, `devctl update {name} --remove-volume PATH`"
            )
        }
        reason::COMMAND_NOT_FOUND => {
            format!("take one that keeps running: `devctl update {name} --command WORD…`")
        }
        reason::FLAVOR_NOT_FOUND | reason::FLAVOR_NOT_ALLOWED => {
            format!("`devctl update {name} --flavor NAME` takes another of `devctl flavors`")
        }
        reason::QUOTA_EXCEEDED => {
            "`devctl top` shows your quota; suspend or delete another DevServer, or ask your administrator".to_owned()
        }
        reason::UNSCHEDULABLE => format!(
            "it starts as soon as there is room; `devctl update {name} --flavor NAME` takes another of `devctl flavors`"
        ),
        _ => return None,
    };
    Some(advice)
}

/// Of a container that ended.
pub(super) fn logs(name: &str) -> String {
    format!("`devctl logs {name} --previous` shows what it wrote")
}

/// For what its owner has not done and cannot change.
pub(super) const NOT_HERS: &str = "nothing is to be done about that, but tell an administrator if it happens often";

/// `message` with it.
pub(super) fn append(message: String, name: &str, reason: &str) -> String {
    match on(name, reason) {
        Some(advice) => format!("{message}; {advice}"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A login on a terminal shows it clause by clause, each on one row of 80 columns.
    #[test]
    fn each_clause_is_as_short_as_a_row() {
        for reason in [
            reason::CANNOT_PULL_IMAGE,
            reason::CANNOT_READ_ENV,
            reason::CLAIM_NOT_FOUND,
            reason::COMMAND_NOT_FOUND,
            reason::FLAVOR_NOT_FOUND,
            reason::QUOTA_EXCEEDED,
            reason::UNSCHEDULABLE,
        ] {
            let advice = on("dev", reason).unwrap();
            assert!(advice.split("; ").all(|clause| clause.chars().count() <= 68), "{advice}");
        }
    }

    #[test]
    fn advice_is_said_with_what_it_is_about() {
        let cases = [
            (
                "CannotPullImage",
                "x; check its name and tag, and that the cluster may pull it; `devctl update dev --image IMAGE` takes another",
            ),
            (
                "QuotaExceeded",
                "x; `devctl top` shows your quota; suspend or delete another DevServer, or ask your administrator",
            ),
            ("FlavorNotAllowed", "x; `devctl update dev --flavor NAME` takes another of `devctl flavors`"),
            ("Running", "x"),
            ("InvalidSpec", "x"),
        ];
        for (reason, told) in cases {
            assert_eq!(append("x".to_owned(), "dev", reason), told);
        }
    }
}
