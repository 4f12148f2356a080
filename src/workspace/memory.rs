//! That memory ran out in a pod, in words for whoever is in it.

use super::share::{Access, Place, from_inside};
use crate::agent::request::OutOfMemory;

/// What a session in one DevServer is told.
#[derive(Clone, Debug)]
pub(super) struct Words {
    name: String,
    advice: String,
}

impl Words {
    pub(super) fn of(place: &Place<'_>) -> Self {
        match place.access {
            Access::Owner => {
                let Self { name, advice } = Self::own(place.name);
                Self { name, advice: from_inside(&advice, place.owner) }
            }
            Access::Guest | Access::Viewer => {
                Self { name: place.called(), advice: "its owner can give it more".to_owned() }
            }
        }
    }

    /// As whoever has devctl at hand is told.
    pub(super) fn own(name: &str) -> Self {
        Self { name: name.to_owned(), advice: format!("`devctl update {name} --flavor NAME` gives it more") }
    }

    pub(super) fn say(&self, OutOfMemory { limit, peak }: OutOfMemory) -> String {
        let Self { name, advice } = self;
        let limit = limit.map(|limit| format!("limit {}", size(limit)));
        let peak = peak.map(|peak| format!("in use at most {}", size(peak)));
        let known: Vec<_> = [limit, peak].into_iter().flatten().collect();
        let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
        format!("the kernel ended a program of `{name}`, which ran out of memory{known}; {advice}")
    }
}

/// As Kubernetes writes sizes, with one decimal at most.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    // What is a page short of a gigabyte is one.
    let unit = UNITS.into_iter().find(|(_, unit)| bytes >= unit - unit / 1000);
    let Some((name, unit)) = unit else { return bytes.to_string() };
    let tenths = (u128::from(bytes) * 10 + u128::from(unit / 2)) / u128::from(unit);
    match tenths % 10 {
        0 => format!("{}{name}", tenths / 10),
        tenth => format!("{}.{tenth}{name}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::super::share::tests::place;
    use super::*;

    #[test]
    fn sizes_are_short_and_kubernetes_own() {
        let sizes = [
            (0, "0"),
            (1000, "1000"),
            (4_096, "4Ki"),
            (1_048_576, "1Mi"),
            (851_443_712, "812Mi"),
            (1_073_737_728, "1Gi"),
            (1_610_612_736, "1.5Gi"),
            (4_290_772_992, "4Gi"),
            (u64::MAX, "16777216Ti"),
        ];
        for (bytes, expected) in sizes {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn what_is_known_is_told_with_what_to_do() {
        let own = Words::own("dev");
        assert_eq!(
            own.say(OutOfMemory { limit: Some(4 << 30), peak: Some(4_290_772_992) }),
            "the kernel ended a program of `dev`, which ran out of memory (limit 4Gi, in use at most 4Gi); \
             `devctl update dev --flavor NAME` gives it more"
        );
        let words = |access| Words::of(&place(access));
        let memory = || OutOfMemory { limit: None, peak: None };
        let said = words(Access::Owner).say(memory());
        assert!(said.ends_with("on your laptop `ssh alice@BASTION devctl update dev --flavor NAME` gives it more"));
        let anothers = words(Access::Guest);
        assert_eq!(
            anothers.say(memory()),
            "the kernel ended a program of `dev.alice`, which ran out of memory; its owner can give it more"
        );
    }
}
