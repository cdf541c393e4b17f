//! The cluster's PKI directory: made where it is missing, renewed where it has grown old, kept otherwise.
//!
//! Layout and names are kubeadm's. Authorities and the service account key are never replaced: what they signed
//! would be worthless. Leaf certificates are issued anew when less than a third of their life is left, when the authority is
//! not the one that signed them, or when the addresses they must name have changed.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{KeyPair, PublicKeyData as _};
use x509_parser::{
    extensions::GeneralName,
    pem::parse_x509_pem,
    prelude::{FromDer as _, X509Certificate},
};

use crate::{
    certificate::{Authority, Issued, Subject, Usage},
    files::write_atomically,
};

/// What the certificates must name.
#[derive(Clone, Debug)]
pub struct PkiConfig {
    /// The directory, `<data-dir>/pki`.
    pub directory: PathBuf,
    /// This node's name.
    pub node_name: String,
    /// Addresses under which the API server and the kubelet of this node are reached, the first service address included.
    pub addresses: Vec<IpAddr>,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
}

/// Why there is no PKI.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is there, but is not what it should be.
    #[error("{}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate could not be issued.
    #[error("issuing the certificate of {subject}: {source}")]
    Issue {
        /// Whose.
        subject: String,
        /// Why.
        source: rcgen::Error,
    },
}

/// The credentials of one user of the cluster.
#[derive(Clone)]
pub struct Identity {
    /// Certificate and key.
    pub issued: Issued,
    /// The certificate file.
    pub certificate_path: PathBuf,
    /// The key file.
    pub key_path: PathBuf,
}

impl Identity {
    /// The leaf certificate in DER, as a TLS peer would show it.
    pub fn certificate_der(&self) -> Vec<u8> {
        certificate_der(self.issued.certificate_pem.as_bytes()).unwrap_or_default()
    }
}

/// The first certificate of a PEM file, in DER.
pub fn certificate_der(pem: &[u8]) -> Option<Vec<u8>> {
    parse_x509_pem(pem).ok().map(|(_, pem)| pem.contents)
}

/// From when until when the first certificate of a PEM file is valid.
pub fn certificate_life(pem: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    let validity = certificate.validity();
    Some((
        Timestamp::from_second(validity.not_before.timestamp()).ok()?,
        Timestamp::from_second(validity.not_after.timestamp()).ok()?,
    ))
}

/// Everything that the components of one node need to know and trust each other.
pub struct Pki {
    /// Where it is.
    pub directory: PathBuf,
    /// Signs servers and clients of the cluster; PEM.
    pub ca_pem: String,
    /// The API server's serving certificate.
    pub apiserver: Identity,
    /// As whom the API server speaks to kubelets.
    pub apiserver_kubelet_client: Identity,
    /// As whom the API server speaks to extension API servers.
    pub front_proxy_client: Identity,
    /// The kubelet's serving certificate.
    pub kubelet_server: Identity,
    /// `system:node:<name>`.
    pub kubelet_client: Identity,
    /// `system:kube-controller-manager`.
    pub controller_manager: Identity,
    /// `system:kube-scheduler`.
    pub scheduler: Identity,
    /// `system:kube-proxy`.
    pub proxy: Identity,
    /// `system:coredns`, the reader behind cluster DNS.
    pub dns: Identity,
    /// The administrator, in `system:masters`.
    pub admin: Identity,
}

impl Pki {
    /// Opens the directory, making and renewing what is needed.
    pub fn ensure(config: &PkiConfig, now: Timestamp) -> Result<Self, PkiError> {
        let room = Room {
            directory: &config.directory,
            now,
        };
        let ca = room.authority("ca", "kubernetes")?;
        let front_proxy_ca = room.authority("front-proxy-ca", "front-proxy-ca")?;
        room.service_account_key()?;

        let domain = &config.cluster_domain;
        let mut names: Vec<String> = vec![config.node_name.clone(), "localhost".to_owned()];
        names.extend(
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned),
        );
        names.push(format!("kubernetes.default.svc.{domain}"));
        let apiserver = Subject::server("kube-apiserver", names, config.addresses.clone());
        let node = format!("system:node:{}", config.node_name);
        let mut kubelet_server = Subject::server(
            node.clone(),
            vec![config.node_name.clone()],
            config.addresses.clone(),
        );
        kubelet_server.organization = Some("system:nodes".to_owned());

        let client = |name: &str, user: &str, group: Option<&str>| {
            room.leaf(&ca, name, &Subject::client(user, group))
        };
        Ok(Self {
            directory: config.directory.clone(),
            ca_pem: ca.issued().certificate_pem.clone(),
            apiserver: room.leaf(&ca, "apiserver", &apiserver)?,
            apiserver_kubelet_client: client(
                "apiserver-kubelet-client",
                "kube-apiserver-kubelet-client",
                Some("system:masters"),
            )?,
            front_proxy_client: room.leaf(
                &front_proxy_ca,
                "front-proxy-client",
                &Subject::client("front-proxy-client", None),
            )?,
            kubelet_server: room.leaf(&ca, "kubelet", &kubelet_server)?,
            kubelet_client: client("kubelet-client", &node, Some("system:nodes"))?,
            controller_manager: client(
                "controller-manager",
                "system:kube-controller-manager",
                None,
            )?,
            scheduler: client("scheduler", "system:kube-scheduler", None)?,
            proxy: client("kube-proxy", "system:kube-proxy", None)?,
            dns: client("dns", "system:coredns", None)?,
            admin: client("admin", "kubernetes-admin", Some("system:masters"))?,
        })
    }

    /// A file of the PKI by its name, such as `ca.crt` or `sa.key`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The directory and the time at which it is entered.
struct Room<'a> {
    directory: &'a Path,
    now: Timestamp,
}

impl Room<'_> {
    fn authority(&self, name: &str, common_name: &str) -> Result<Authority, PkiError> {
        let issue = |source| PkiError::Issue {
            subject: common_name.to_owned(),
            source,
        };
        match self.read_pair(name)? {
            Some(issued) => Authority::from_pem(issued).map_err(|error| PkiError::Malformed {
                path: self.certificate_path(name),
                problem: format!("not a certificate authority with its key: {error}"),
            }),
            None => {
                let authority = Authority::create(common_name, self.now).map_err(issue)?;
                self.write_pair(name, authority.issued())?;
                Ok(authority)
            }
        }
    }

    fn leaf(
        &self,
        authority: &Authority,
        name: &str,
        subject: &Subject,
    ) -> Result<Identity, PkiError> {
        let kept = self
            .read_pair(name)?
            .filter(|issued| is_current(&issued.certificate_pem, authority, subject, self.now));
        let issued = match kept {
            Some(issued) => issued,
            None => {
                let issued =
                    authority
                        .issue(subject, self.now)
                        .map_err(|source| PkiError::Issue {
                            subject: subject.common_name.clone(),
                            source,
                        })?;
                self.write_pair(name, &issued)?;
                issued
            }
        };
        Ok(Identity {
            issued,
            certificate_path: self.certificate_path(name),
            key_path: self.key_path(name),
        })
    }

    /// The key that signs service account tokens, `sa.key`, and its public half.
    fn service_account_key(&self) -> Result<(), PkiError> {
        let (key_path, public_path) = (self.key_path("sa"), self.directory.join("sa.pub"));
        let key = match read(&key_path)? {
            Some(pem) => KeyPair::from_pem(&pem).map_err(|error| PkiError::Malformed {
                path: key_path,
                problem: format!("not a private key: {error}"),
            })?,
            None => {
                let key = KeyPair::generate().map_err(|source| PkiError::Issue {
                    subject: "sa".to_owned(),
                    source,
                })?;
                self.write(&key_path, &key.serialize_pem(), 0o600)?;
                key
            }
        };
        if read(&public_path)?.is_none() {
            let public = Pem::new("PUBLIC KEY", key.subject_public_key_info());
            let pem =
                pem::encode_config(&public, EncodeConfig::new().set_line_ending(LineEnding::LF));
            self.write(&public_path, &pem, 0o644)?;
        }
        Ok(())
    }

    fn certificate_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.crt"))
    }

    fn key_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.key"))
    }

    /// Both files; `None` unless both are there. The key is written first, so a lone key is a start that was cut short.
    fn read_pair(&self, name: &str) -> Result<Option<Issued>, PkiError> {
        let certificate = read(&self.certificate_path(name))?;
        let key = read(&self.key_path(name))?;
        Ok(certificate
            .zip(key)
            .map(|(certificate_pem, key_pem)| Issued {
                certificate_pem,
                key_pem,
            }))
    }

    fn write_pair(&self, name: &str, issued: &Issued) -> Result<(), PkiError> {
        self.write(&self.key_path(name), &issued.key_pem, 0o600)?;
        self.write(&self.certificate_path(name), &issued.certificate_pem, 0o644)
    }

    fn write(&self, path: &Path, content: &str, mode: u32) -> Result<(), PkiError> {
        write_atomically(path, content.as_bytes(), mode).map_err(|source| PkiError::File {
            path: path.to_owned(),
            source,
        })
    }
}

fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Whether a leaf may be kept: signed by this authority, young enough, and naming all that `subject` names.
fn is_current(pem: &str, authority: &Authority, subject: &Subject, now: Timestamp) -> bool {
    let Ok((_, leaf)) = parse_x509_pem(pem.as_bytes()) else {
        return false;
    };
    let Ok((_, leaf)) = X509Certificate::from_der(&leaf.contents) else {
        return false;
    };
    let Ok((_, ca)) = parse_x509_pem(authority.issued().certificate_pem.as_bytes()) else {
        return false;
    };
    let Ok((_, ca)) = X509Certificate::from_der(&ca.contents) else {
        return false;
    };
    if leaf.verify_signature(Some(ca.public_key())).is_err() {
        return false;
    }
    let (from, to) = (
        leaf.validity().not_before.timestamp(),
        leaf.validity().not_after.timestamp(),
    );
    let renew_from = Timestamp::from_second(to - (to - from) / 3).unwrap_or(Timestamp::MIN);
    if now >= renew_from
        || now + SignedDuration::from_secs(1)
            < Timestamp::from_second(from).unwrap_or(Timestamp::MAX)
    {
        return false;
    }
    let name = leaf
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok());
    // What was issued with other groups (by an older version) is not what is wanted now.
    let group = leaf
        .subject()
        .iter_organization()
        .next()
        .and_then(|group| group.as_str().ok());
    name == Some(&subject.common_name)
        && group == subject.organization.as_deref()
        && (subject.usage == Usage::Client || names_all(&leaf, subject))
}

fn names_all(leaf: &X509Certificate<'_>, subject: &Subject) -> bool {
    let Ok(Some(names)) = leaf.subject_alternative_name() else {
        return false;
    };
    let (mut dns, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for name in &names.value.general_names {
        match name {
            GeneralName::DNSName(name) => {
                dns.insert((*name).to_owned());
            }
            GeneralName::IPAddress(bytes) => {
                if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                    addresses.insert(IpAddr::from(v4));
                } else if let Ok(v6) = <[u8; 16]>::try_from(*bytes) {
                    addresses.insert(IpAddr::from(v6));
                }
            }
            _ => {}
        }
    }
    subject.dns_names.iter().all(|name| dns.contains(name))
        && subject
            .addresses
            .iter()
            .all(|address| addresses.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(directory: &Path, address: &str) -> PkiConfig {
        PkiConfig {
            directory: directory.to_owned(),
            node_name: "n1".to_owned(),
            addresses: vec![address.parse().unwrap()],
            cluster_domain: "cluster.local".to_owned(),
        }
    }

    #[test]
    fn a_second_start_keeps_everything() {
        let directory = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let first = Pki::ensure(&config(directory.path(), "10.0.0.1"), now).unwrap();
        let second = Pki::ensure(&config(directory.path(), "10.0.0.1"), now).unwrap();
        assert_eq!(
            first.apiserver.issued.certificate_pem,
            second.apiserver.issued.certificate_pem
        );
        assert_eq!(first.ca_pem, second.ca_pem);
        assert!(first.path("sa.pub").exists());
    }

    #[test]
    fn a_new_address_or_old_age_renews_the_leaf_but_not_the_authority() {
        let directory = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let first = Pki::ensure(&config(directory.path(), "10.0.0.1"), now).unwrap();
        let moved = Pki::ensure(&config(directory.path(), "10.0.0.2"), now).unwrap();
        assert_ne!(
            first.apiserver.issued.certificate_pem,
            moved.apiserver.issued.certificate_pem
        );
        assert_eq!(
            first.admin.issued.certificate_pem,
            moved.admin.issued.certificate_pem
        );
        let later = now + SignedDuration::from_hours(24 * 300);
        let renewed = Pki::ensure(&config(directory.path(), "10.0.0.2"), later).unwrap();
        assert_ne!(
            moved.admin.issued.certificate_pem,
            renewed.admin.issued.certificate_pem
        );
        assert_eq!(moved.ca_pem, renewed.ca_pem);
    }

    #[test]
    fn damaged_authority_is_an_error_that_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let pki = Pki::ensure(&config(directory.path(), "10.0.0.1"), now).unwrap();
        fs::write(pki.path("ca.crt"), "garbage").unwrap();
        let error = Pki::ensure(&config(directory.path(), "10.0.0.1"), now)
            .err()
            .unwrap();
        assert!(error.to_string().contains("ca.crt"), "{error}");
    }
}
