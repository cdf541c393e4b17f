//! How a kubelet comes by its certificates: the first with a bootstrap token (`--bootstrap-kubeconfig`), later ones with the one before
//! (`--rotate-certificates`); its serving certificate with its own identity (`--rotate-server-certificates`).
//!
//! Each is a CertificateSigningRequest that the cluster approves and signs. Files and names are upstream's: certificate and key in
//! one file, `kubelet-client-current.pem`, that the kubeconfig points to and every new connection reads.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use base::{Clock, tls::ServingCertificate};
use bootstrap::{CertificateRequest, Issued, Subject, certificate_life, write_atomically};
use client::{Client, Config};
use k8s_openapi::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::json;
use tracing::{info, warn};

const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// Between two looks at a request that waits for its approval.
const POLL: Duration = Duration::from_millis(500);
/// How long one request is waited for before another is made.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Between two tries, and between two looks whether a certificate has grown old.
const RETRY: Duration = Duration::from_secs(2);
const RENEWAL_PERIOD: Duration = Duration::from_secs(600);

/// Where a node keeps its certificates, and whose they are.
#[derive(Clone, Debug)]
pub(crate) struct NodeCertificates {
    pub(crate) directory: PathBuf,
    pub(crate) node_name: String,
    pub(crate) node_ips: Vec<IpAddr>,
    pub(crate) clock: Clock,
}

impl NodeCertificates {
    fn client_file(&self) -> PathBuf {
        self.directory.join("kubelet-client-current.pem")
    }

    fn user(&self) -> String {
        format!("system:node:{}", self.node_name)
    }

    /// Makes `kubeconfig`, if it is not there, with a certificate that the user of `bootstrap` is given for this node.
    pub(crate) async fn join(&self, bootstrap: &Path, kubeconfig: &Path) -> anyhow::Result<()> {
        if kubeconfig.exists() {
            return Ok(());
        }
        let config = Config::from_kubeconfig(bootstrap, None)
            .with_context(|| format!("reading {}", bootstrap.display()))?;
        let Some(ca) = config.tls.ca.as_ref() else {
            bail!("{} names no certificate authority", bootstrap.display());
        };
        let ca_pem =
            String::from_utf8(ca.read()?).context("the certificate authority is not PEM")?;
        let server = config.server.clone();
        let client = Client::from_config(config, "kubelet")?;
        info!(node = self.node_name, server, "asking for a certificate");
        let issued = self.request_client(&client).await?;
        self.keep(&self.client_file(), &issued)?;
        let file = self.client_file();
        let ours = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "default",
            "clusters": [{ "name": "default", "cluster": {
                "server": server,
                "certificate-authority-data": base64(&ca_pem),
            } }],
            "users": [{ "name": "default", "user": { "client-certificate": file, "client-key": file } }],
            "contexts": [{ "name": "default", "context": { "cluster": "default", "user": "default" } }],
        });
        write_atomically(kubeconfig, ours.to_string().as_bytes(), 0o600)
            .with_context(|| format!("writing {}", kubeconfig.display()))
    }

    /// Renews the client certificate while the kubelet runs.
    pub(crate) async fn rotate_client(self, client: Client) {
        loop {
            self.clock
                .sleep_until(self.clock.now() + RENEWAL_PERIOD)
                .await;
            if !self.is_old(&self.client_file()) {
                continue;
            }
            let renewed = match self.request_client(&client).await {
                Ok(issued) => self.keep(&self.client_file(), &issued),
                Err(error) => Err(error),
            };
            if let Err(error) = renewed {
                warn!(
                    error = format!("{error:#}"),
                    "the client certificate could not be renewed"
                );
            }
        }
    }

    /// Serves with a certificate that the cluster has signed, from when it has, and renews it.
    pub(crate) async fn rotate_serving(self, client: Client, serving: Arc<ServingCertificate>) {
        let file = self.directory.join("kubelet-server-current.pem");
        if let Ok(kept) = std::fs::read(&file)
            && !self.is_old(&file)
            && serving.replace(&kept, &kept).is_err()
        {
            warn!(file = %file.display(), "unusable serving certificate");
        }
        loop {
            if self.is_old(&file) {
                let renewed = async {
                    let issued = self.request_serving(&client).await?;
                    self.keep(&file, &issued)?;
                    serving
                        .replace(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes())?;
                    anyhow::Ok(())
                };
                if let Err(error) = renewed.await {
                    warn!(
                        error = format!("{error:#}"),
                        "no serving certificate from the cluster"
                    );
                    self.clock.sleep_until(self.clock.now() + RETRY).await;
                    continue;
                }
                info!("serving with a certificate of the cluster");
            }
            self.clock
                .sleep_until(self.clock.now() + RENEWAL_PERIOD)
                .await;
        }
    }

    /// Whether less than a third of a certificate's life is left, or there is none.
    fn is_old(&self, file: &Path) -> bool {
        let Some((from, until)) = std::fs::read(file)
            .ok()
            .and_then(|pem| certificate_life(&pem))
        else {
            return true;
        };
        let life = until.duration_since(from);
        until.duration_since(self.clock.now()) < life / 3
    }

    fn keep(&self, file: &Path, issued: &Issued) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.directory)
            .with_context(|| format!("making {}", self.directory.display()))?;
        let both = format!("{}{}", issued.certificate_pem, issued.key_pem);
        write_atomically(file, both.as_bytes(), 0o600)
            .with_context(|| format!("writing {}", file.display()))
    }

    async fn request_client(&self, client: &Client) -> anyhow::Result<Issued> {
        let subject = Subject::client(self.user(), Some("system:nodes"));
        self.request(client, KUBELET_CLIENT, "client auth", &subject)
            .await
    }

    async fn request_serving(&self, client: &Client) -> anyhow::Result<Issued> {
        let names = vec![self.node_name.clone()];
        let mut subject = Subject::server(self.user(), names, self.node_ips.clone());
        subject.organization = Some("system:nodes".to_owned());
        self.request(client, KUBELET_SERVING, "server auth", &subject)
            .await
    }

    /// Asks, and waits for the answer.
    async fn request(
        &self,
        client: &Client,
        signer: &str,
        usage: &str,
        subject: &Subject,
    ) -> anyhow::Result<Issued> {
        let request = CertificateRequest::new(subject)?;
        let api = client.api::<CertificateSigningRequest>("");
        let asked = CertificateSigningRequest {
            metadata: ObjectMeta {
                generate_name: Some("csr-".to_owned()),
                ..ObjectMeta::default()
            },
            spec: CertificateSigningRequestSpec {
                request: ByteString(request.request_pem.into_bytes()),
                signer_name: signer.to_owned(),
                usages: Some(vec!["digital signature".to_owned(), usage.to_owned()]),
                ..CertificateSigningRequestSpec::default()
            },
            ..CertificateSigningRequest::default()
        };
        let created = loop {
            match api.create(&asked).await {
                Ok(created) => break created,
                Err(error) if error.is_invalid() => return Err(error.into()),
                // A cluster that is starting does not know its roles yet.
                Err(error) => {
                    warn!(%error, "cannot ask for a certificate yet");
                    self.clock.sleep_until(self.clock.now() + RETRY).await;
                }
            }
        };
        let name = created.metadata.name.unwrap_or_default();
        let until = self.clock.now() + PATIENCE;
        while self.clock.now() < until {
            let status = api.get(&name).await.ok().and_then(|request| request.status);
            let status = status.unwrap_or_default();
            let refusal = status
                .conditions
                .iter()
                .flatten()
                .find(|condition| matches!(condition.type_.as_str(), "Denied" | "Failed"));
            if let Some(refusal) = refusal {
                bail!(
                    "certificate signing request {name}: {}: {}",
                    refusal.type_,
                    refusal.message.as_deref().unwrap_or_default()
                );
            }
            if let Some(certificate) = status.certificate.filter(|pem| !pem.0.is_empty()) {
                return Ok(Issued {
                    certificate_pem: String::from_utf8(certificate.0)
                        .context("the certificate is not PEM")?,
                    key_pem: request.key_pem,
                });
            }
            self.clock.sleep_until(self.clock.now() + POLL).await;
        }
        bail!("certificate signing request {name} was not answered")
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A kubeconfig for a machine that is to join: where the cluster is, whom to trust, and a token.
pub(crate) fn bootstrap_kubeconfig(server: &str, ca_pem: &str, token: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bootstrap",
        "clusters": [{ "name": "bootstrap", "cluster": {
            "server": server,
            "certificate-authority-data": base64(ca_pem),
        } }],
        "users": [{ "name": "bootstrap", "user": { "token": token } }],
        "contexts": [{ "name": "bootstrap", "context": { "cluster": "bootstrap", "user": "bootstrap" } }],
    })
}
