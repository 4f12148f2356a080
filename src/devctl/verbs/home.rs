//! The home of a DevServer: which kind it is, and what becomes of it.

use kube::ResourceExt;

use crate::api::{DevServer, DevServerSpec, Home, names};
use crate::devctl::Error;

/// Where a home is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// In a claim that was made for it.
    Own(String),
    /// In a claim that was there before.
    Existing(String),
    /// Nowhere: it goes with the pod.
    Nowhere,
}

impl Kept {
    pub(super) fn of(server: &DevServer) -> Self {
        let home = server.spec.home.clone().unwrap_or_default();
        match (home.ephemeral, home.existing_claim) {
            (true, _) => Self::Nowhere,
            (false, Some(claim)) => Self::Existing(claim),
            (false, None) => Self::Own(names::home_claim(&server.name_any())),
        }
    }

    pub(super) fn claim(&self) -> Option<&str> {
        match self {
            Self::Own(claim) | Self::Existing(claim) => Some(claim),
            Self::Nowhere => None,
        }
    }

    /// Whether it can have the size that `spec` wishes for; whoever keeps it elsewhere gets what is there.
    pub(super) fn takes_size_of(&self, name: &str, spec: &DevServerSpec) -> Result<(), Error> {
        match self {
            _ if spec.home.as_ref().is_none_or(|home| home.size.is_none()) => Ok(()),
            Self::Own(_) => Ok(()),
            Self::Existing(claim) => Err(Error::usage(format!(
                "the home of `{name}` is claim {claim}, which has a size of its own; `kubectl edit pvc {claim}` may change it"
            ))),
            Self::Nowhere => Err(Error::usage(format!("the home of `{name}` is ephemeral, and has no size"))),
        }
    }

    /// What becomes of `its home`, or `the home`, when the pod goes.
    pub(super) fn without_pod(&self, its: &str) -> String {
        match self {
            Self::Own(_) | Self::Existing(_) => format!("{its} home is kept"),
            Self::Nowhere => format!("what is in {its} home is lost: it is ephemeral"),
        }
    }
}

/// The kind of a home, which is chosen once.
#[derive(clap::Args)]
pub(super) struct Kind {
    /// Storage class of the home's volume
    #[arg(long, value_name = "CLASS")]
    home_class: Option<String>,
    /// An existing claim of your namespace that is the home, instead of one made for it
    #[arg(long, value_name = "CLAIM", conflicts_with_all = ["home_class", "home_size"])]
    home_claim: Option<String>,
    /// A home that goes with the pod: empty after each start
    #[arg(long, conflicts_with_all = ["home_class", "home_claim", "home_size"])]
    ephemeral_home: bool,
}

impl Kind {
    pub(super) fn apply_to(self, spec: &mut DevServerSpec) {
        let Self { home_class, home_claim, ephemeral_home } = self;
        if home_class.is_some() || home_claim.is_some() || ephemeral_home {
            let home = spec.home.get_or_insert_with(Home::default);
            home.storage_class = home_class;
            home.existing_claim = home_claim;
            home.ephemeral = ephemeral_home;
        }
    }
}

/// The same of one that is there: to be told that it cannot change.
#[derive(clap::Args, Default, PartialEq)]
pub(super) struct Unchangeable {
    #[arg(long, hide = true)]
    home_class: Option<String>,
    #[arg(long, hide = true)]
    home_claim: Option<String>,
    #[arg(long, hide = true)]
    ephemeral_home: bool,
}

impl Unchangeable {
    /// Whether all is as it is already.
    pub(super) fn check(&self, name: &str, spec: &DevServerSpec) -> Result<(), Error> {
        let home = spec.home.clone().unwrap_or_default();
        let changes = |wanted: &Option<String>, is: &Option<String>| wanted.is_some() && wanted != is;
        let what = match () {
            () if changes(&self.home_class, &home.storage_class) => "the storage class of a home cannot change",
            () if changes(&self.home_claim, &home.existing_claim) => "a home cannot move to another claim",
            () if self.ephemeral_home && !home.ephemeral => "a home that is kept cannot become ephemeral",
            () => return Ok(()),
        };
        Err(Error::usage(format!(
            "{what} once `{name}` is made; make another (`devctl create NAME …`) and copy what you need to it"
        )))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;

    fn server(home: Home) -> DevServer {
        DevServer::new("train", DevServerSpec { home: Some(home), ..DevServerSpec::default() })
    }

    #[test]
    fn a_home_is_kept_in_a_claim_or_nowhere() {
        assert_eq!(Kept::of(&server(Home::default())), Kept::Own("train-home".to_owned()));
        let existing = Home { existing_claim: Some("data".to_owned()), ..Home::default() };
        assert_eq!(Kept::of(&server(existing)).claim(), Some("data"));
        let lost = Kept::of(&server(Home { ephemeral: true, ..Home::default() }));
        let sized = |home| DevServerSpec { home: Some(home), ..DevServerSpec::default() };
        let big = || sized(Home { size: Some(Quantity("1Gi".to_owned())), ..Home::default() });
        assert!(lost.takes_size_of("train", &big()).is_err());
        assert!(lost.takes_size_of("train", &sized(Home::default())).is_ok());
        assert!(Kept::of(&server(Home::default())).takes_size_of("train", &big()).is_ok());
        assert_eq!((lost.claim(), lost.without_pod("its").contains("lost")), (None, true));
    }

    #[test]
    fn what_was_chosen_once_may_be_said_again_but_not_changed() {
        let spec = server(Home { storage_class: Some("fast".to_owned()), ..Home::default() }).spec;
        let wanted =
            |class: &str| Unchangeable { home_class: Some(class.to_owned()), home_claim: None, ephemeral_home: false };
        assert!(wanted("fast").check("train", &spec).is_ok());
        let error = wanted("slow").check("train", &spec).unwrap_err();
        assert!(error.text.contains("storage class") && error.text.contains("devctl create"), "{error}");
    }
}
