//! Files of one volume that stand in each other's way.

use apimachinery::{Object, quote};

use super::ENOUGH;
use crate::fields::Fields;

/// A file of a volume, and the source it comes from where a volume has several.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    path: String,
    source: String,
}

impl File {
    fn shown(&self) -> String {
        if self.source.is_empty() {
            quote(&self.path)
        } else {
            format!("{} ({})", quote(&self.path), self.source)
        }
    }

    /// Whether the two are one file, or one lies below the other.
    fn collides(&self, other: &Self) -> bool {
        let holds = |outer: &str, inner: &str| {
            let below = inner.strip_prefix(outer);
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        };
        !self.path.is_empty()
            && !other.path.is_empty()
            && (holds(&self.path, &other.path) || holds(&other.path, &self.path))
    }
}

/// Of all volumes of a pod.
pub(super) fn of_volumes(warnings: &mut Vec<String>, spec: &Object) {
    for (_, volume) in spec.objects("volumes") {
        let name = quote(volume.text("name"));
        for (field, noun, called) in [
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName"),
            ("downwardAPI", "DownwardAPI", ""),
        ] {
            let Some(source) = volume.object(field) else {
                continue;
            };
            let what = match called {
                "" => noun.to_owned(),
                called => format!("{noun} {}", quote(source.text(called))),
            };
            add(warnings, &name, &what, &mut Vec::new(), files(source, ""));
        }
        let mut seen = Vec::new();
        let sources = volume
            .object("projected")
            .map_or(&[][..], |p| p.list("sources"));
        for source in sources {
            match source.as_object().filter(|source| !source.is_empty()) {
                Some(source) => {
                    let files = files_of_projection(source);
                    add(warnings, &name, "Projected", &mut seen, files);
                }
                None => warnings.push(format!("volume {name} (Projected) has no sources provided")),
            }
        }
    }
}

/// Adds files to those of a volume, and warns of each that stands in the way of one before it. Each is compared with each, so that of a volume
/// with more files than anybody mounts by name only the first are looked at.
fn add(
    warnings: &mut Vec<String>,
    volume: &str,
    what: &str,
    seen: &mut Vec<File>,
    files: Vec<File>,
) {
    for file in files {
        if seen.len() > ENOUGH || warnings.len() > ENOUGH {
            return;
        }
        for other in seen.iter().filter(|other| file.collides(other)) {
            let (file, other) = (file.shown(), other.shown());
            warnings.push(format!(
                "volume {volume} ({what}): overlapping paths: {file} with {other}"
            ));
        }
        seen.push(file);
    }
}

/// The `items` of a source.
fn files(source: &Object, called: &str) -> Vec<File> {
    source
        .objects("items")
        .map(|(_, item)| file(item.text("path"), called))
        .collect()
}

fn file(path: &str, source: &str) -> File {
    File {
        path: path.trim_end_matches('/').to_owned(),
        source: source.to_owned(),
    }
}

/// The first source of the projection that has files counts.
fn files_of_projection(projection: &Object) -> Vec<File> {
    for (field, noun) in [("configMap", "ConfigMap"), ("secret", "Secret")] {
        if let Some(source) = projection.object(field).filter(|s| s.has("items")) {
            return files(source, &format!("{noun} {}", quote(source.text("name"))));
        }
    }
    if let Some(source) = projection.object("downwardAPI").filter(|s| s.has("items")) {
        return files(source, "DownwardAPI");
    }
    match projection.object("serviceAccountToken") {
        Some(token) => vec![file(token.text("path"), "ServiceAccountToken")],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_file_is_not_below_another() {
        let spec = json!({"volumes": [
            {"name": "c", "configMap": {"name": "m", "items": [{"path": "a/"}, {"path": "a/b"}, {"path": "ab"}]}},
            {"name": "p", "projected": {"sources": [
                {}, {"secret": {"name": "s", "items": [{"path": "token"}]}}, {"serviceAccountToken": {"path": "token"}}]}},
        ]});
        let mut warnings = Vec::new();
        of_volumes(&mut warnings, spec.as_object().unwrap());
        assert_eq!(
            warnings,
            [
                "volume \"c\" (ConfigMap \"m\"): overlapping paths: \"a/b\" with \"a\"",
                "volume \"p\" (Projected) has no sources provided",
                "volume \"p\" (Projected): overlapping paths: \"token\" (ServiceAccountToken) with \"token\" (Secret \"s\")",
            ]
        );
    }
}
