//! Names of images: `[registry/]repository[:tag][@digest]`, with Docker's defaults.

use std::fmt;

use super::digest::Digest;

/// Where names without a registry lead.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The repository prefix of names there without an owner.
const DEFAULT_OWNER: &str = "library";
/// The tag of names without tag and digest.
const DEFAULT_TAG: &str = "latest";

/// A normalised name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Registry: host, perhaps with a port.
    pub registry: String,
    /// Repository.
    pub repository: String,
    /// Tag; there is one unless there is a digest.
    pub tag: Option<String>,
    /// Digest of the manifest or index; wins over the tag.
    pub digest: Option<Digest>,
}

/// A name that is none.
#[derive(Debug, thiserror::Error)]
#[error("couldn't parse image name {name:?}: invalid reference format{detail}")]
pub struct ReferenceError {
    name: String,
    detail: &'static str,
}

impl Reference {
    /// Parses and normalises.
    pub fn parse(name: &str) -> Result<Self, ReferenceError> {
        let failed = |detail| ReferenceError {
            name: name.to_owned(),
            detail,
        };
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => {
                let digest = Digest::parse(digest).map_err(|_| failed(": invalid digest"))?;
                (rest, Some(digest))
            }
            None => (name, None),
        };
        // A colon after the last slash begins a tag; one before belongs to the registry's port.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(failed(": invalid tag"));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest.to_owned()),
            _ => (DEFAULT_REGISTRY, path.to_owned()),
        };
        let registry = if registry == "index.docker.io" {
            DEFAULT_REGISTRY
        } else {
            registry
        };
        let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("{DEFAULT_OWNER}/{repository}")
        } else {
            repository
        };
        if repository.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(failed(": repository name must be lowercase"));
        }
        if !is_repository(&repository) {
            return Err(failed(""));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag,
            digest,
        })
    }

    /// Registry and repository.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Name and tag, if it has one: an entry of `RepoTags`.
    pub fn tagged(&self) -> Option<String> {
        Some(format!("{}:{}", self.name(), self.tag.as_ref()?))
    }

    /// Name with a digest: an entry of `RepoDigests`.
    pub fn with_digest(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.name())
    }

    /// What follows `manifests/` in a registry's URL.
    pub fn manifest_name(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_registry(first: &str) -> bool {
    (first.contains(['.', ':']) || first == "localhost")
        && first.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && first
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_'))
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_repository(repository: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    repository.len() <= 255
        && repository.split('/').all(|part| {
            part.starts_with(alphanumeric)
                && part.ends_with(alphanumeric)
                && part
                    .chars()
                    .all(|c| alphanumeric(c) || matches!(c, '.' | '_' | '-'))
                && !part.contains("..")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, expected) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("index.docker.io/me/app:1", "docker.io/me/app:1".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("localhost:5000/app:v1", "localhost:5000/app:v1".to_owned()),
            (
                "registry.k8s.io/pause:3.10",
                "registry.k8s.io/pause:3.10".to_owned(),
            ),
            (&format!("a/b@{digest}"), format!("docker.io/a/b@{digest}")),
            (
                &format!("nginx:1@{digest}"),
                format!("docker.io/library/nginx:1@{digest}"),
            ),
        ] {
            assert_eq!(
                Reference::parse(name).unwrap().to_string(),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "UPPER",
            "a//b",
            "a:",
            "a@sha256:12",
            "-a",
            "a..b",
            "a b",
            "../etc",
        ] {
            assert!(Reference::parse(name).is_err(), "{name}");
        }
    }
}
