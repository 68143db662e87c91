//! What files are sold as: the typed form of the map, whose text is read at the edge.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use stockroom_catalog::Instance;
use stockroom_domain::{Entropy, Filename, ModelId, Money, Subject};

/// What the shop says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number in the map.
    pub number: u64,
    /// The name that the file is sold under.
    pub filename: Filename,
    /// The model that it is a file of, by its place in [`Map::models`].
    pub model: usize,
}

/// A model as the map says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedModel {
    /// What tells it from the others: the shop's own name for it, or else its artist and title.
    pub name: String,
    /// Who sells it.
    pub artist: Subject,
    /// Its title.
    pub title: String,
    /// The licence that buyers get.
    pub license: Option<String>,
    /// What it costs.
    pub price: Option<Money>,
}

/// What files are sold as.
#[derive(Debug, Clone, Default)]
pub struct Map {
    /// The lines, by path.
    pub lines: HashMap<String, Line>,
    /// The models that they name.
    pub models: Vec<MappedModel>,
}

/// A line of the map that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapFault {
    /// The number of the line.
    pub line: u64,
    /// What is wrong, as a sentence.
    pub detail: String,
}

impl MappedModel {
    /// The id of the model, always the same for the same catalog and name. So a model needs no
    /// other trace of where it came from, and an import that is run again finds it.
    pub(super) fn id(&self, instance: &Instance) -> ModelId {
        ModelId::generate(instance.created_at, &Derived(self.digest(instance)))
    }

    fn digest(&self, instance: &Instance) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for part in ["model of an import", &instance.id, &self.name] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

/// Randomness that is none: the beginning of a digest.
#[derive(Debug)]
struct Derived([u8; 32]);

impl Entropy for Derived {
    fn fill(&self, bytes: &mut [u8]) {
        for (byte, from) in bytes.iter_mut().zip(self.0.iter().cycle()) {
            *byte = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use stockroom_domain::Timestamp;

    use super::*;

    #[test]
    fn a_model_has_one_id_in_each_catalog() {
        let model = |name: &str| MappedModel {
            name: name.to_owned(),
            artist: "kaethe".parse().unwrap(),
            title: "Helmet".to_owned(),
            license: None,
            price: None,
        };
        let instance = |id: &str| Instance {
            id: id.to_owned(),
            created_at: Timestamp::from_unix_ms(1_763_888_400_000),
        };
        let id = model("helmet").id(&instance("a"));
        assert_eq!(id, model("helmet").id(&instance("a")));
        assert_ne!(id, model("shield").id(&instance("a")));
        assert_ne!(id, model("helmet").id(&instance("b")));
    }
}
