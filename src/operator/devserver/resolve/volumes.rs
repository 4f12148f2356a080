//! The owner's volumes and her flavor's, as one list. The schema says the same of each; not every API server looks at
//! it.

use super::{Invalid, can_mount};
use crate::api::Volume;

/// Where both have one at a path, the owner's is taken.
pub(super) fn resolve(own: Vec<Volume>, flavors: &[Volume], home: &str) -> Result<Vec<Volume>, Invalid> {
    check(&own, home)?;
    check(flavors, home)?;
    let is_free = |volume: &&Volume| own.iter().all(|other| other.mount_path != volume.mount_path);
    let mut volumes: Vec<Volume> = flavors.iter().filter(is_free).cloned().collect();
    volumes.extend(own);
    Ok(volumes)
}

fn check(volumes: &[Volume], home: &str) -> Result<(), Invalid> {
    for (index, Volume { claim, mount_path, read_only: _ }) in volumes.iter().enumerate() {
        let refuse = |why| Err(Invalid::Volume { path: mount_path.clone(), why });
        if !is_claim_name(claim) {
            return refuse("does not name a valid claim: lower-case letters, digits, inner hyphens and dots");
        }
        if !can_mount(mount_path) {
            return refuse("must be at an absolute path without `..`, outside /proc, /sys, /dev and /.bastion");
        }
        if mount_path == home {
            return refuse("is at the home's own path");
        }
        if volumes[..index].iter().any(|other| other.mount_path == *mount_path) {
            return refuse("appears twice");
        }
    }
    Ok(())
}

pub(super) fn is_claim_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    name.chars().all(is_inner) && !name.is_empty() && !name.starts_with(['-', '.']) && !name.ends_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(claim: &str, path: &str) -> Volume {
        Volume { claim: claim.to_owned(), mount_path: path.to_owned(), read_only: false }
    }

    #[test]
    fn the_owners_volume_wins_at_its_path() {
        let flavors = [volume("models", "/models"), volume("shared", "/data")];
        let volumes = resolve(vec![volume("mine", "/data")], &flavors, "/home/dev").unwrap();
        assert_eq!(volumes, [volume("models", "/models"), volume("mine", "/data")]);
    }

    #[test]
    fn what_cannot_be_mounted_is_refused_in_a_sentence() {
        let error = |volumes| resolve(volumes, &[], "/home/dev").unwrap_err().to_string();
        assert_eq!(error(vec![volume("a", "/home/dev")]), r#"the volume at "/home/dev" is at the home's own path"#);
        assert_eq!(error(vec![volume("a", "/x"), volume("b", "/x")]), r#"the volume at "/x" appears twice"#);
        for path in ["/proc", "/sys/fs", "/dev/shm", "/.bastion", "/a/../b", "a", "/"] {
            assert!(error(vec![volume("a", path)]).contains("must be at an absolute path"), "{path}");
        }
        for claim in ["", "../a", "A", "a."] {
            assert!(error(vec![volume(claim, "/x")]).contains("does not name a valid claim"), "{claim}");
        }
        assert!(resolve(vec![volume("a.b-1", "/home/dev/data")], &[], "/home/dev").is_ok(), "below the home");
        assert!(resolve(vec![], &[volume("a", "/home/dev")], "/home/dev").is_err(), "a flavor's likewise");
    }
}
