//! Configuration files of group `apiserver.config.k8s.io`: YAML or JSON, of a kind and one of its versions, all of which read alike.

use serde::{Deserialize, de::DeserializeOwned};

const GROUP: &str = "apiserver.config.k8s.io/";
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

/// Reads a file's contents as a configuration of this kind.
pub(crate) fn parse<T: DeserializeOwned>(contents: &str, kind: &str) -> Result<T, String> {
    let said: TypeMeta = serde_saphyr::from_str(contents).map_err(|error| error.to_string())?;
    let version = said.api_version.strip_prefix(GROUP).unwrap_or_default();
    if said.kind != kind || !VERSIONS.contains(&version) {
        return Err(format!(
            "no kind {:?} is registered for version {:?}",
            said.kind, said.api_version
        ));
    }
    serde_saphyr::from_str(contents).map_err(|error| error.to_string())
}
