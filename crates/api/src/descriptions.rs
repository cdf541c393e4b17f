//! What upstream says of its types and their fields, in its own words, which the build gathers (`build.rs`).
//!
//! The texts are a megabyte that few ever read, so that they are in the binary compressed, and in memory only while somebody holds
//! [`Descriptions`]. Types that have no text (the lists of kinds) are absent.

use std::{collections::HashMap, io::Read};

use flate2::read::DeflateDecoder;

const TEXTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.json.deflate"));

/// All descriptions, by the full name of a type, then by the JSON name of a field; that of the type itself is under the empty name.
pub struct Descriptions(HashMap<String, HashMap<String, String>>);

impl Descriptions {
    /// Decompresses them, in some ten milliseconds. Drop them after use.
    pub fn read() -> Self {
        let mut json = Vec::new();
        DeflateDecoder::new(TEXTS)
            .read_to_end(&mut json)
            .expect("build.rs compressed it");
        Self(serde_json::from_slice(&json).expect("build.rs wrote it"))
    }

    /// What is said of a type, such as `io.k8s.api.core.v1.Pod`.
    pub fn of_type(&self, name: &str) -> Option<&str> {
        self.of(name, "")
    }

    /// What is said of a field of a type.
    pub fn of(&self, name: &str, field: &str) -> Option<&str> {
        Some(self.0.get(name)?.get(field)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also tells whether the build found the texts, and can read them.
    #[test]
    fn types_and_fields_are_described() {
        let descriptions = Descriptions::read();
        let pod = "io.k8s.api.core.v1.Pod";
        assert!(descriptions.of_type(pod).unwrap().starts_with("Pod is "));
        // In place, beside a reference, and with quotes.
        for (field, part) in [("apiVersion", "schema"), ("spec", "behavior")] {
            assert!(
                descriptions.of(pod, field).unwrap().contains(part),
                "{field}"
            );
        }
        let port = "io.k8s.api.core.v1.ContainerPort";
        assert!(
            descriptions
                .of(port, "protocol")
                .unwrap()
                .ends_with("\"TCP\".")
        );
        assert_eq!(descriptions.of(pod, "nonsense"), None);
        assert!(descriptions.0.len() > 600, "{}", descriptions.0.len());
    }

    #[test]
    fn fields_are_those_of_the_facts() {
        let descriptions = Descriptions::read();
        for (gvk, ty) in crate::facts::schema().kinds() {
            let object = ty.object().unwrap();
            let Some(fields) = descriptions.0.get(&*object.name) else {
                assert!(gvk.kind.ends_with("List"), "{gvk} is not described");
                continue;
            };
            for name in fields.keys().filter(|name| !name.is_empty()) {
                assert!(object.field(name).is_some(), "{gvk} has no {name}");
            }
        }
    }
}
