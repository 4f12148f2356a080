//! Where the home is kept, and where it is mounted. The schema says the same; not every API server looks at it.

use super::volumes::is_claim_name;
use super::{HomeVolume, Invalid, ResolvedHome, can_mount};
use crate::api::Home;
use crate::operator::Config;

pub(super) fn resolve(home: Home, config: &Config) -> Result<ResolvedHome, Invalid> {
    let Home { size, storage_class, existing_claim, ephemeral, mount_path } = home;
    let mount_path = mount_path.unwrap_or_else(|| config.home_mount_path.clone());
    if !can_mount(&mount_path) {
        return Err(Invalid::MountPath(mount_path));
    }
    let says_what_is_made = size.is_some() || storage_class.is_some();
    let volume = match (existing_claim, ephemeral) {
        (Some(_), true) => return Err(Invalid::Home("ephemeral goes with no existingClaim")),
        (_, true) if says_what_is_made => return Err(Invalid::Home("ephemeral goes with no size or storageClass")),
        (Some(_), false) if says_what_is_made => {
            return Err(Invalid::Home("existingClaim has its own size and storageClass"));
        }
        (Some(claim), false) if !is_claim_name(&claim) => {
            return Err(Invalid::Home(
                "existingClaim is not a valid claim name: lower-case letters, digits, inner hyphens and dots",
            ));
        }
        (None, true) => HomeVolume::Ephemeral,
        (Some(claim), false) => HomeVolume::Existing(claim),
        (None, false) => HomeVolume::Own { size: size.unwrap_or_else(|| config.home_size.clone()), storage_class },
    };
    Ok(ResolvedHome { volume, mount_path, group: config.home_group })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::tests::config;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    #[test]
    fn a_home_is_one_of_three_kinds() {
        let existing = || Home { existing_claim: Some("mine".to_owned()), ..Home::default() };
        let ephemeral = || Home { ephemeral: true, ..Home::default() };
        let volume = |home| resolve(home, &config()).unwrap().volume;
        assert_eq!(volume(existing()), HomeVolume::Existing("mine".to_owned()));
        assert_eq!(volume(ephemeral()), HomeVolume::Ephemeral);
        let size = || Some(Quantity("1Gi".to_owned()));
        let class = || Some("fast".to_owned());
        for mixed in [
            Home { ephemeral: true, ..existing() },
            Home { existing_claim: Some("../another".to_owned()), ..Home::default() },
            Home { size: size(), ..existing() },
            Home { storage_class: class(), ..existing() },
            Home { size: size(), ..ephemeral() },
            Home { storage_class: class(), ..ephemeral() },
        ] {
            assert!(matches!(resolve(mixed, &config()), Err(Invalid::Home(_))));
        }
    }
}
