//! What `devctl login` keeps: which bastion, and as whom.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::destination::Destination;
use super::failure::Failure;
use super::places::{self, Places};

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// As `~/.ssh/config` may know it.
    pub(super) host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    pub(super) user: String,
    /// The key to offer, if none that OpenSSH would take by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<PathBuf>,
}

const HEADER: &str = "# Which bastion devctl speaks to. `devctl login` writes this file.\n";

impl Settings {
    pub(super) fn load(places: &Places) -> Result<Self, Failure> {
        let path = places.settings();
        let login = "`devctl login [USER@]HOST[:PORT]` sets it up";
        let text =
            places::read(&path)?.ok_or_else(|| Failure::new("you are not logged in to a bastion").cure(login))?;
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            Failure::new(format!("{} is not understood: {}", path.display(), error.message())).cure(login)
        })
    }

    pub(super) fn save(&self, places: &Places) -> Result<(), Failure> {
        let text = toml::to_string(self).map_err(|error| Failure::new(format!("failed to write settings: {error}")))?;
        places::replace(&places.settings(), format!("{HEADER}{text}").as_bytes())
    }

    pub(super) fn destination(&self) -> Destination {
        Destination { user: Some(self.user.clone()), host: self.host.clone(), port: self.port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path().into(), folder.path().into());
        let missing = Settings::load(&places).unwrap_err().to_string();
        assert!(missing.contains("devctl login"), "{missing}");
        let settings =
            Settings { host: "bastion".into(), port: Some(2222), user: "alice".into(), identity: Some("/key".into()) };
        settings.save(&places).unwrap();
        assert_eq!(Settings::load(&places).unwrap(), settings);
        std::fs::write(places.settings(), "host = 1").unwrap();
        let wrong = Settings::load(&places).unwrap_err().to_string();
        assert!(wrong.contains("config.toml") && wrong.contains("devctl login"), "{wrong}");
    }
}
