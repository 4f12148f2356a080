//! Whether a flavor offers something else than before. How many of it still fit is in its status, which changes with
//! every pod that comes or goes in the cluster, and is nothing to DevServers.

use dashmap::DashMap;
use kube::ResourceExt;

use crate::api::DevServerFlavor;
use crate::operator::watch::Change;

/// By flavor, its uid and the generation of its spec.
#[derive(Default)]
pub(super) struct Offers(DashMap<String, Offer>);

type Offer = (Option<String>, Option<i64>);

impl Offers {
    /// After a list all DevServers are looked at anyhow.
    pub(super) fn listed(&self, flavor: &DevServerFlavor) {
        self.0.insert(flavor.name_any(), offer(flavor));
    }

    pub(super) fn is_another(&self, change: &Change<DevServerFlavor>) -> bool {
        match change {
            Change::Applied(flavor) => {
                let offer = offer(flavor);
                self.0.insert(flavor.name_any(), offer.clone()) != Some(offer)
            }
            Change::Deleted(flavor) => {
                self.0.remove(&flavor.name_any());
                true
            }
        }
    }
}

fn offer(flavor: &DevServerFlavor) -> Offer {
    (flavor.uid(), flavor.metadata.generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DevServerFlavorSpec, DevServerFlavorStatus};

    fn flavor(generation: i64, free: i32) -> DevServerFlavor {
        let mut flavor = DevServerFlavor::new("large", DevServerFlavorSpec::default());
        flavor.metadata.uid = Some("uid-1".to_owned());
        flavor.metadata.generation = Some(generation);
        flavor.status = Some(DevServerFlavorStatus { free: Some(free), ..DevServerFlavorStatus::default() });
        flavor
    }

    #[test]
    fn how_many_still_fit_is_nothing_to_devservers() {
        let offers = Offers::default();
        let is_another = |flavor| offers.is_another(&Change::Applied(flavor));
        offers.listed(&flavor(1, 7));
        assert!(!is_another(flavor(1, 6)) && !is_another(flavor(1, 5)));
        assert!(is_another(flavor(2, 5)) && !is_another(flavor(2, 4)));
        let mut made_anew = flavor(2, 4);
        made_anew.metadata.uid = Some("uid-2".to_owned());
        assert!(is_another(made_anew));
        assert!(offers.is_another(&Change::Deleted(flavor(2, 4))) && is_another(flavor(2, 4)));
    }
}
