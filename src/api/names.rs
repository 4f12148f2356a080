//! Names that objects, labels and field managers have, in one place: all replicas and the operator must agree on them.

/// Field manager of what a login or the operator provisions for a user, and of what sessions tell of their use.
pub const FIELD_MANAGER: &str = "bastion";
/// Field manager of what the operator makes for DevServers and teams, and of its statuses.
pub const OPERATOR_FIELD_MANAGER: &str = "bastion-operator";
/// Field manager of what a login notes in a DevServer's status.
pub const NEWS_FIELD_MANAGER: &str = "bastion-login";
/// Field manager of `spec.lifecycle.suspended`, which the operator sets when a DevServer's time is over.
pub const LIFECYCLE_FIELD_MANAGER: &str = "bastion-lifecycle";
/// Label: the user whom an object belongs to.
pub const USER_LABEL: &str = "devserver.io/user";
/// Label: the DevServer that an object belongs to.
pub const DEVSERVER_LABEL: &str = "devserver.io/devserver";
/// Label: the team whose volume an object gives to a member.
pub const TEAM_LABEL: &str = "devserver.io/team";
/// Label of Kubernetes' recommended set, on everything we make.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "bastion";
/// The agent, in pods that have one.
pub const AGENT: &str = "/.bastion/bastion-agent";
/// Where the volume with the agent is mounted.
pub const AGENT_FOLDER: &str = "/.bastion";
/// The container of a DevServer's pod that sessions run in.
pub const CONTAINER: &str = "devserver";
/// The ClusterRole that each user's service account is bound to in her namespace.
pub const USER_ROLE: &str = "dev-user";

/// Longest user name: `dev-` and the name must fit a namespace's 63 characters.
pub const MAX_USER_LENGTH: usize = 59;
/// Longest DevServer name: `NAME-home` must fit a label's 63 characters.
pub const MAX_DEVSERVER_LENGTH: usize = 58;

/// The namespace that belongs to `user`.
pub fn namespace(user: &str) -> String {
    format!("dev-{user}")
}

/// The user whom `namespace` belongs to, if it is one of a user's.
pub fn user_of(namespace: &str) -> Option<&str> {
    namespace.strip_prefix("dev-").filter(|user| is_user_name(user))
}

/// The service account that acts for `user` in her namespace; it carries her name.
pub fn service_account(user: &str) -> &str {
    user
}

/// The user name, as the API server knows it, of `user`'s service account.
pub fn service_account_username(user: &str) -> String {
    format!("system:serviceaccount:{}:{}", namespace(user), service_account(user))
}

/// The account that stands for guest `user` in the namespace of whoever lets him work there. The dot keeps it apart
/// from her own. Nobody makes it: the bastion alone acts as it, for of an account that is not there no pod and nobody
/// else has a token. And in her namespace, where nobody but herself could make it: what his own account may, and its
/// token in a pod of his, is of no use there.
pub fn guest_account(user: &str) -> String {
    format!("guest.{user}")
}

/// The user name, as the API server knows it, of the account that stands for guest `user` in `owner`'s namespace.
pub fn guest_account_username(owner: &str, user: &str) -> String {
    format!("system:serviceaccount:{}:{}", namespace(owner), guest_account(user))
}

/// The claim that holds the home of DevServer `devserver`.
pub fn home_claim(devserver: &str) -> String {
    format!("{devserver}-home")
}

/// The DevServer whose home a claim of this name holds.
pub fn devserver_of_home(claim: &str) -> Option<&str> {
    claim.strip_suffix("-home").filter(|name| is_devserver_name(name))
}

/// The claim by which a member has the volume of `team`. The dot keeps it apart from all homes'.
pub fn team_claim(team: &str) -> String {
    format!("team.{team}")
}

/// The team whose volume a claim of this name is for.
pub fn team_of_claim(claim: &str) -> Option<&str> {
    claim.strip_prefix("team.").filter(|team| is_team_name(team))
}

/// The PersistentVolume behind that claim of `user`'s.
pub fn team_volume(team: &str, user: &str) -> String {
    format!("team.{team}.{user}")
}

/// What gives the guests of DevServer `devserver` their right on its pod: a Role and its binding.
pub fn guests(devserver: &str) -> String {
    format!("{devserver}-guests")
}

/// Whether `name` can name a user: an RFC 1123 label that leaves room for the namespace's prefix.
pub fn is_user_name(name: &str) -> bool {
    name.len() <= MAX_USER_LENGTH && is_dns_label(name)
}

/// Whether `name` can name a DevServer: an RFC 1123 label that leaves room for the claim's suffix.
pub fn is_devserver_name(name: &str) -> bool {
    name.len() <= MAX_DEVSERVER_LENGTH && is_dns_label(name)
}

/// Whether `name` can name a team that has a volume: an RFC 1123 label.
pub fn is_team_name(name: &str) -> bool {
    name.len() <= 63 && is_dns_label(name)
}

fn is_dns_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    match name.as_bytes() {
        [] => false,
        [only] => inner(*only),
        [first, middle @ .., last] => inner(*first) && inner(*last) && middle.iter().all(|b| inner(*b) || *b == b'-'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_dns_labels_with_room_for_the_prefix() {
        assert!(is_user_name("alice"));
        assert!(is_user_name("a"));
        assert!(is_user_name("a-1"));
        for bad in ["", "-a", "a-", "Alice", "a.b", "a_b", "al ice", "ä", "../x"] {
            assert!(!is_user_name(bad), "{bad}");
        }
        assert!(is_user_name(&"a".repeat(MAX_USER_LENGTH)));
        assert!(!is_user_name(&"a".repeat(MAX_USER_LENGTH + 1)));
    }
}
