//! How shells are listed.

use serde::{Deserialize, Serialize};

/// For people, or for programs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(from = "Wire", into = "Wire")]
pub enum Listing {
    Table,
    /// A table with further columns.
    Wide,
    Json,
    Yaml,
    /// Numbers alone, one a line.
    Name,
}

impl Listing {
    pub(in crate::agent) fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// As it is said: agents that know of no more than `json` give a table for `wide`, and JSON, which is YAML, for `yaml`.
#[derive(Deserialize, Serialize)]
struct Wire {
    json: bool,
    #[serde(default)]
    form: Form,
}

#[derive(Default, Deserialize, Serialize)]
enum Form {
    /// As `json` says.
    #[default]
    Usual,
    Wide,
    Yaml,
    Name,
}

impl From<Wire> for Listing {
    fn from(Wire { json, form }: Wire) -> Self {
        match form {
            Form::Usual if json => Self::Json,
            Form::Usual => Self::Table,
            Form::Wide => Self::Wide,
            Form::Yaml => Self::Yaml,
            Form::Name => Self::Name,
        }
    }
}

impl From<Listing> for Wire {
    fn from(listing: Listing) -> Self {
        let (json, form) = match listing {
            Listing::Table => (false, Form::Usual),
            Listing::Wide => (false, Form::Wide),
            Listing::Json => (true, Form::Usual),
            Listing::Yaml => (true, Form::Yaml),
            Listing::Name => (false, Form::Name),
        };
        Self { json, form }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_is_understood_and_older_agents_find_what_they_know() {
        for listing in [Listing::Table, Listing::Wide, Listing::Json, Listing::Yaml, Listing::Name] {
            let said = serde_json::to_value(listing).unwrap();
            assert_eq!(said["json"], matches!(listing, Listing::Json | Listing::Yaml));
            assert_eq!(serde_json::from_value::<Listing>(said).unwrap(), listing);
        }
        let older = |json: bool| serde_json::from_value::<Listing>(json!({ "json": json })).unwrap();
        assert_eq!([older(true), older(false)], [Listing::Json, Listing::Table]);
    }
}
