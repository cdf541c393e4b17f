//! A webhook configured by a file in kubeconfig form: `--authentication-token-webhook-config-file`,
//! `--authorization-webhook-config-file`, `--audit-webhook-config-file`; and the users that admission webhooks are called as.
//!
//! The cluster is the webhook, the user is this server. Relative paths are relative to the file's directory. What would need another
//! program (`exec`, `auth-provider`) is refused, and so is a proxy.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use apimachinery::Object;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;

use super::{ClientConfig, Credentials, Target, Trust};
use crate::lookup;

/// Why such a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// It, or a file it names, cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no kubeconfig, or not one that can be used here.
    #[error("invalid configuration: {0}")]
    Invalid(String),
}

/// Reads a file, and those that it names.
pub fn read(path: &Path) -> Result<ClientConfig, KubeconfigError> {
    of_tree(&parse(path)?, directory(path))
}

/// As whom the server appears to which webhook: the users of a file whose names are hosts, with wildcards, as admission webhooks
/// are configured with.
#[derive(Clone, Debug, Default)]
pub struct Users {
    by_name: BTreeMap<String, Credentials>,
    /// The user of the current context.
    current: Option<String>,
}

impl Users {
    /// Reads a file, and those that it names.
    pub fn read(path: &Path) -> Result<Self, KubeconfigError> {
        let tree = parse(path)?;
        let nobody = Object::new();
        let by_name = lookup::objects(&tree, &["users"]).map(|entry| {
            let user = lookup::map(entry, &["user"]).unwrap_or(&nobody);
            let name = lookup::text(entry, &["name"]).to_owned();
            Ok((name, credentials(user, directory(path))?))
        });
        let current = match lookup::text(&tree, &["current-context"]) {
            "" => None,
            name => lookup::objects(&tree, &["contexts"])
                .find(|context| lookup::text(context, &["name"]) == name)
                .map(|context| lookup::text(context, &["context", "user"]).to_owned()),
        };
        Ok(Self {
            by_name: by_name.collect::<Result<_, KubeconfigError>>()?,
            current,
        })
    }

    /// The credentials for a host with its port: of the user of that name, of `*.` and a part of it, the same without the port if it is
    /// 443, of `*`, of the current context; else none.
    pub fn credentials(&self, host_port: &str) -> Credentials {
        let plain = host_port.strip_suffix(":443");
        let found = [Some(host_port), plain]
            .into_iter()
            .flatten()
            .find_map(|host| self.of_host(host))
            .or_else(|| self.by_name.get("*"))
            .or_else(|| self.by_name.get(self.current.as_deref()?));
        found.cloned().unwrap_or_default()
    }

    fn of_host(&self, host: &str) -> Option<&Credentials> {
        let parents = host
            .match_indices('.')
            .filter_map(|(dot, _)| self.by_name.get(&format!("*{}", &host[dot..])));
        self.by_name.get(host).into_iter().chain(parents).next()
    }
}

fn parse(path: &Path) -> Result<Object, KubeconfigError> {
    let text = file(path)?;
    let text = std::str::from_utf8(&text).map_err(|error| invalid(error.to_string()))?;
    let tree: Value = serde_saphyr::from_str(text).map_err(|error| invalid(error.to_string()))?;
    match tree {
        Value::Object(tree) => Ok(tree),
        _ => Err(invalid("it is no mapping")),
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn of_tree(tree: &Object, directory: &Path) -> Result<ClientConfig, KubeconfigError> {
    let context = match lookup::text(tree, &["current-context"]) {
        "" => return Err(invalid("no configuration has been provided")),
        name => named(tree, "contexts", "context", name)?,
    };
    let cluster = named(
        tree,
        "clusters",
        "cluster",
        lookup::text(context, &["cluster"]),
    )?;
    let nobody = Object::new();
    let user = match lookup::text(context, &["user"]) {
        "" => &nobody,
        name => named(tree, "users", "user", name)?,
    };
    if !lookup::text(cluster, &["proxy-url"]).is_empty() {
        return Err(invalid("proxy-url is not supported for webhooks"));
    }
    let server = lookup::text(cluster, &["server"]);
    if server.is_empty() {
        return Err(invalid("cluster has no server defined"));
    }
    let authorities = data_or_file(cluster, "certificate-authority", directory)?;
    let insecure = lookup::flag(cluster, &["insecure-skip-tls-verify"]).unwrap_or(false);
    let trust = match authorities {
        Some(_) if insecure => {
            return Err(invalid(
                "specifying a root certificates file with the insecure flag is not allowed",
            ));
        }
        Some(pem) => Trust::Authorities(pem),
        None if insecure => Trust::Anything,
        None => Trust::System,
    };
    let name = lookup::text(cluster, &["tls-server-name"]);
    Ok(ClientConfig {
        target: Target::Url(server.to_owned()),
        trust,
        server_name: (!name.is_empty()).then(|| name.to_owned()),
        credentials: credentials(user, directory)?,
    })
}

/// What an entry of `users` says.
fn credentials(user: &Object, directory: &Path) -> Result<Credentials, KubeconfigError> {
    if let Some(field) = ["exec", "auth-provider"]
        .iter()
        .find(|field| user.contains_key(**field))
    {
        return Err(invalid(format!("{field} is not supported for webhooks")));
    }
    let certificate = data_or_file(user, "client-certificate", directory)?;
    let key = data_or_file(user, "client-key", directory)?;
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(invalid("client-certificate and client-key go together")),
    };
    let text = |field: &str| {
        let text = lookup::text(user, &[field]);
        (!text.is_empty()).then(|| text.to_owned())
    };
    Ok(Credentials {
        certificate,
        token: text("token"),
        token_file: text("tokenFile").map(|file| directory.join(file)),
        basic: text("username").map(|user| (user, text("password").unwrap_or_default())),
    })
}

/// The entry of a name in one of the lists.
fn named<'a>(
    tree: &'a Object,
    list: &str,
    field: &str,
    name: &str,
) -> Result<&'a Object, KubeconfigError> {
    lookup::objects(tree, &[list])
        .find(|entry| lookup::text(entry, &["name"]) == name)
        .and_then(|entry| lookup::map(entry, &[field]))
        .ok_or_else(|| invalid(format!("{field} {name:?} does not exist")))
}

/// `NAME-data` (base64), or what is in the file `NAME`.
fn data_or_file(
    entry: &Object,
    name: &str,
    directory: &Path,
) -> Result<Option<Bytes>, KubeconfigError> {
    let data = lookup::text(entry, &[&format!("{name}-data")]);
    if !data.is_empty() {
        let bytes = STANDARD
            .decode(data)
            .map_err(|error| invalid(format!("{name}-data: {error}")))?;
        return Ok(Some(bytes.into()));
    }
    match lookup::text(entry, &[name]) {
        "" => Ok(None),
        path => Ok(Some(file(&directory.join(path))?.into())),
    }
}

fn file(path: &Path) -> Result<Vec<u8>, KubeconfigError> {
    std::fs::read(path).map_err(|source| KubeconfigError::Read {
        path: path.to_owned(),
        source,
    })
}

fn invalid(reason: impl Into<String>) -> KubeconfigError {
    KubeconfigError::Invalid(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
apiVersion: v1
kind: Config
current-context: webhook
clusters:
- name: hook
  cluster: {server: "https://hook.example:8443/authenticate", certificate-authority: ca.pem, tls-server-name: inner}
users:
- name: apiserver
  user: {tokenFile: token, client-certificate-data: Yw==, client-key-data: aw==}
contexts:
- name: webhook
  context: {cluster: hook, user: apiserver}
"#;

    #[test]
    fn users_are_found_by_the_webhooks_host() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.kubeconfig");
        let names = [
            "hook.example:8443",
            "hook.example",
            "*.svc",
            "*.web.svc:8443",
            "*",
        ];
        let users: Vec<Value> = names
            .iter()
            .map(|name| serde_json::json!({"name": name, "user": {"token": name}}))
            .collect();
        std::fs::write(&path, serde_json::json!({"users": users}).to_string()).unwrap();
        let users = Users::read(&path).unwrap();
        let cases = [
            ("hook.example:8443", "hook.example:8443"),
            ("hook.example:443", "hook.example"),
            ("hook.example:1", "*"),
            ("a.web.svc:443", "*.svc"),
            ("a.web.svc:8443", "*.web.svc:8443"),
            ("a.svc:8443", "*"),
        ];
        for (host, user) in cases {
            assert_eq!(
                users.credentials(host).token.as_deref(),
                Some(user),
                "{host}"
            );
        }
        assert_eq!(
            Users::default().credentials("a:443"),
            Credentials::default()
        );
    }

    #[test]
    fn the_current_context_counts_and_paths_are_beside_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("webhook.kubeconfig");
        std::fs::write(&path, FILE).unwrap();
        assert!(matches!(read(&path), Err(KubeconfigError::Read { .. })));
        std::fs::write(directory.path().join("ca.pem"), "PEM").unwrap();
        let config = read(&path).unwrap();
        assert_eq!(
            config.target,
            Target::Url("https://hook.example:8443/authenticate".to_owned())
        );
        assert_eq!(config.trust, Trust::Authorities("PEM".into()));
        assert_eq!(config.server_name.as_deref(), Some("inner"));
        assert_eq!(
            config.credentials.token_file,
            Some(directory.path().join("token"))
        );
        assert_eq!(
            config.credentials.certificate,
            Some(("c".into(), "k".into()))
        );
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let check = |from: &str, to: &str| {
            let tree: Value = serde_saphyr::from_str(
                &FILE
                    .replace("certificate-authority: ca.pem, ", "")
                    .replace(from, to),
            )
            .unwrap();
            of_tree(tree.as_object().unwrap(), Path::new("/"))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            check("current-context: webhook", ""),
            "invalid configuration: no configuration has been provided"
        );
        assert_eq!(
            check("cluster: hook,", "cluster: none,"),
            "invalid configuration: cluster \"none\" does not exist"
        );
        assert_eq!(
            check("tokenFile: token", "exec: {}"),
            "invalid configuration: exec is not supported for webhooks"
        );
        assert_eq!(
            check(", client-key-data: aw==", ""),
            "invalid configuration: client-certificate and client-key go together"
        );
    }
}
