//! Kubeconfig files: read, merged, written.
//!
//! Kept as a tree, so that fields this code does not know (other tools' extensions, exec plugins) survive a merge. Comments do
//! not, as with kubectl.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use thiserror::Error;

use crate::config::{Auth, Config, Pem, TlsConfig};

/// Why a kubeconfig is of no use.
#[derive(Debug, Error)]
pub enum KubeconfigError {
    /// Not readable or writable.
    #[error("cannot {verb} kubeconfig {path}: {source}")]
    Io {
        /// `read`, `write`.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not YAML, or not a mapping.
    #[error("kubeconfig {path} is malformed: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A reference to nowhere.
    #[error("{sort} {name:?} does not exist in the kubeconfig")]
    Missing {
        /// `context`, `cluster`, `user`.
        sort: &'static str,
        /// Its name.
        name: String,
    },
    /// A field without which there is no connection, or one that cannot be used.
    #[error("invalid kubeconfig: {0}")]
    Invalid(String),
}

/// The lists of named entries, with the field that holds the entry.
const SECTIONS: [(&str, &str); 3] = [
    ("clusters", "cluster"),
    ("users", "user"),
    ("contexts", "context"),
];

/// A kubeconfig, and the file it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Kubeconfig {
    tree: Value,
    /// Paths in it are relative to this file's directory.
    path: PathBuf,
}

impl Default for Kubeconfig {
    fn default() -> Self {
        Self {
            tree: json!({ "apiVersion": "v1", "kind": "Config" }),
            path: PathBuf::new(),
        }
    }
}

impl From<Value> for Kubeconfig {
    fn from(tree: Value) -> Self {
        Self {
            tree,
            path: PathBuf::new(),
        }
    }
}

impl Kubeconfig {
    /// The user's file: the first of `$KUBECONFIG`, otherwise `~/.kube/config`.
    pub fn default_path() -> Option<PathBuf> {
        if let Some(list) = env::var_os("KUBECONFIG")
            && let Some(first) = env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
        {
            return Some(first);
        }
        env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"))
    }

    /// Parses YAML (or JSON); an empty document is an empty configuration.
    pub fn parse(yaml: &str, path: impl Into<PathBuf>) -> Result<Self, KubeconfigError> {
        let path = path.into();
        if yaml.trim().is_empty() {
            return Ok(Self {
                path,
                ..Self::default()
            });
        }
        match serde_saphyr::from_str::<Value>(yaml) {
            Ok(tree @ Value::Object(_)) => Ok(Self { tree, path }),
            Ok(_) => Err(KubeconfigError::Malformed {
                path,
                reason: "not a mapping".to_owned(),
            }),
            Err(error) => Err(KubeconfigError::Malformed {
                path,
                reason: error.to_string(),
            }),
        }
    }

    /// Reads a file.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, KubeconfigError> {
        let path = path.into();
        match fs::read_to_string(&path) {
            Ok(yaml) => Self::parse(&yaml, path),
            Err(source) => Err(KubeconfigError::Io {
                verb: "read",
                path,
                source,
            }),
        }
    }

    /// Reads a file, or starts an empty one where there is none.
    pub fn read_or_default(path: impl Into<PathBuf>) -> Result<Self, KubeconfigError> {
        match Self::read(path) {
            Err(KubeconfigError::Io { path, source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(Self {
                    path,
                    ..Self::default()
                })
            }
            other => other,
        }
    }

    /// Takes over all clusters, users and contexts of `other` under their names, and its current context if it has one.
    /// Everything else stays as it is.
    pub fn merge(&mut self, other: &Self) {
        for (section, _) in SECTIONS {
            for entry in other.entries(section) {
                let name = entry["name"].as_str().unwrap_or_default();
                self.remove_entry(section, name);
                self.entries_mut(section).push(entry.clone());
            }
        }
        if let Some(context) = other.current_context() {
            self.tree["current-context"] = json!(context);
        }
    }

    /// Removes a context with its cluster and user, where no other context uses them; unsets it as the current one.
    pub fn remove_context(&mut self, name: &str) {
        let Ok(context) = self.entry("contexts", "context", name).cloned() else {
            return;
        };
        self.remove_entry("contexts", name);
        for (section, field) in [("clusters", "cluster"), ("users", "user")] {
            let Some(target) = context[field].as_str() else {
                continue;
            };
            let still_used = self
                .entries("contexts")
                .iter()
                .any(|c| c["context"][field].as_str() == Some(target));
            if !still_used {
                self.remove_entry(section, target);
            }
        }
        if self.current_context() == Some(name) {
            self.tree["current-context"] = json!("");
        }
    }

    /// Writes to `path`, readable by the owner alone, and never half: a new file replaces the old one.
    pub fn write(&self, path: &Path) -> Result<(), KubeconfigError> {
        let fail = |source| KubeconfigError::Io {
            verb: "write",
            path: path.to_owned(),
            source,
        };
        // A symlink stays one: its target is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if let Some(directory) = target
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            fs::create_dir_all(directory).map_err(fail)?;
        }
        let mut temporary = target.clone().into_os_string();
        temporary.push(format!(".tmp{}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(fail)?;
        file.write_all(self.to_yaml()?.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(fail)?;
        fs::rename(&temporary, &target).map_err(fail)
    }

    /// As YAML.
    pub fn to_yaml(&self) -> Result<String, KubeconfigError> {
        serde_saphyr::to_string(&self.tree)
            .map_err(|error| KubeconfigError::Invalid(error.to_string()))
    }

    /// The name of the current context.
    pub fn current_context(&self) -> Option<&str> {
        self.tree["current-context"]
            .as_str()
            .filter(|name| !name.is_empty())
    }

    /// What is needed to connect, by the current context or the one named.
    pub fn config(&self, context: Option<&str>) -> Result<Config, KubeconfigError> {
        let name = context
            .or_else(|| self.current_context())
            .ok_or_else(|| KubeconfigError::Invalid("no current context is set".to_owned()))?;
        let context = self.entry("contexts", "context", name)?;
        let cluster = self.entry(
            "clusters",
            "cluster",
            context["cluster"].as_str().unwrap_or_default(),
        )?;
        let server = cluster["server"]
            .as_str()
            .ok_or_else(|| KubeconfigError::Invalid("the cluster has no server".to_owned()))?;
        let user = match context["user"].as_str() {
            None | Some("") => &Value::Null,
            Some(user) => self.entry("users", "user", user)?,
        };
        if user.get("exec").is_some() || user.get("auth-provider").is_some() {
            return Err(KubeconfigError::Invalid(
                "credential plugins are not supported".to_owned(),
            ));
        }
        let identity = match (
            self.pem(user, "client-certificate")?,
            self.pem(user, "client-key")?,
        ) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                let reason = "client-certificate and client-key must be specified together";
                return Err(KubeconfigError::Invalid(reason.to_owned()));
            }
        };
        // As client-go: the file has precedence.
        let auth = match (user["tokenFile"].as_str(), user["token"].as_str()) {
            (Some(file), _) => Auth::TokenFile(self.resolve(file)),
            (None, Some(token)) => Auth::Token(token.to_owned()),
            (None, None) => Auth::None,
        };
        Ok(Config {
            server: server.to_owned(),
            tls: TlsConfig {
                ca: self.pem(cluster, "certificate-authority")?,
                insecure_skip_verify: cluster["insecure-skip-tls-verify"]
                    .as_bool()
                    .unwrap_or_default(),
                server_name: cluster["tls-server-name"].as_str().map(str::to_owned),
                client_identity: identity,
            },
            auth,
            namespace: context["namespace"].as_str().map(str::to_owned),
        })
    }

    /// `<field>-data`, or the file that `<field>` names.
    fn pem(&self, entry: &Value, field: &str) -> Result<Option<Pem>, KubeconfigError> {
        if let Some(data) = entry[format!("{field}-data")]
            .as_str()
            .filter(|data| !data.is_empty())
        {
            return match STANDARD.decode(data) {
                Ok(pem) => Ok(Some(Pem::Inline(pem))),
                Err(error) => Err(KubeconfigError::Invalid(format!("{field}-data: {error}"))),
            };
        }
        Ok(entry[field]
            .as_str()
            .filter(|path| !path.is_empty())
            .map(|path| Pem::File(self.resolve(path))))
    }

    fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn entries(&self, section: &str) -> &[Value] {
        self.tree[section]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn entries_mut(&mut self, section: &str) -> &mut Vec<Value> {
        let list = &mut self.tree[section];
        if !list.is_array() {
            *list = json!([]);
        }
        list.as_array_mut().expect("it has just been made an array")
    }

    fn remove_entry(&mut self, section: &str, name: &str) {
        self.entries_mut(section)
            .retain(|entry| entry["name"].as_str() != Some(name));
    }

    fn entry(
        &self,
        section: &'static str,
        field: &'static str,
        name: &str,
    ) -> Result<&Value, KubeconfigError> {
        self.entries(section)
            .iter()
            .find(|entry| entry["name"].as_str() == Some(name))
            .map(|entry| &entry[field])
            .ok_or_else(|| KubeconfigError::Missing {
                sort: field,
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "
apiVersion: v1
kind: Config
current-context: work
preferences: {colors: true}
clusters:
- name: work
  cluster: {server: 'https://work:6443', certificate-authority: ca.crt, extensions: [{name: minikube, extension: {x: 1}}]}
contexts:
- name: work
  context: {cluster: work, user: me, namespace: dev}
users:
- name: me
  user: {tokenFile: token}
";

    fn ours() -> Kubeconfig {
        json!({
            "current-context": "ironclad",
            "clusters": [{"name": "ironclad", "cluster": {"server": "https://127.0.0.1:6443"}}],
            "contexts": [{"name": "ironclad", "context": {"cluster": "ironclad", "user": "ironclad-admin"}}],
            "users": [{"name": "ironclad-admin", "user": {"token": "t"}}],
        })
        .into()
    }

    #[test]
    fn merging_keeps_what_is_unknown() {
        let mut config = Kubeconfig::parse(THEIRS, "/home/me/.kube/config").unwrap();
        config.merge(&ours());
        config.merge(&ours());
        let again = Kubeconfig::parse(&config.to_yaml().unwrap(), "/home/me/.kube/config").unwrap();
        assert_eq!(again.current_context(), Some("ironclad"));
        assert_eq!(again.tree["preferences"]["colors"], json!(true));
        assert_eq!(
            again.tree["clusters"][0]["cluster"]["extensions"][0]["extension"]["x"],
            json!(1)
        );
        assert_eq!(again.entries("contexts").len(), 2);
        let work = again.config(Some("work")).unwrap();
        assert_eq!(work.namespace.as_deref(), Some("dev"));
        assert!(work.tls.ca == Some(Pem::File("/home/me/.kube/ca.crt".into())));
        assert!(
            matches!(work.auth, Auth::TokenFile(path) if path == Path::new("/home/me/.kube/token"))
        );
        assert!(matches!(again.config(None).unwrap().auth, Auth::Token(token) if token == "t"));
    }

    #[test]
    fn removing_a_context_takes_its_own_entries_alone() {
        let mut config = Kubeconfig::parse(THEIRS, "config").unwrap();
        config.merge(&ours());
        config.remove_context("ironclad");
        assert_eq!(config.entries("users").len(), 1);
        assert_eq!(config.current_context(), None);
        assert!(config.config(Some("work")).is_ok());
        assert!(matches!(
            config.config(Some("nope")),
            Err(KubeconfigError::Missing {
                sort: "context",
                ..
            })
        ));
    }
}
