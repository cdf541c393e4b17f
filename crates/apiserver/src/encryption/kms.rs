//! KMS v2: keys that a plugin holds, spoken to over gRPC on a Unix socket (KEP-3299).
//!
//! The plugin encrypts a *seed* for us; every value is encrypted with a key of its own, made of the seed and 32 random bytes (HKDF-SHA256, expand alone). So the
//! plugin is asked once for a seed, not once for a value: to encrypt, whenever its key has been rotated; to decrypt, for each seed that is not known yet.
//!
//! Bounds: [`MAX_SEEDS`] seeds are kept; a call takes no longer than the configured timeout.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prost::Message as _;
use tonic::transport::{Channel, Endpoint};

use super::{
    ciphers::{Cipher, CipherError},
    metrics::{self, Metrics},
};
use crate::unix_connector::UnixConnector;

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
mod v2 {
    tonic::include_proto!("v2");
}

use v2::{
    DecryptRequest, EncryptRequest, EncryptedDekSourceType, EncryptedObject, StatusRequest,
    key_management_service_client::KeyManagementServiceClient,
};

/// How many seeds are remembered.
const MAX_SEEDS: usize = 1000;
/// How often the plugin is asked which key it uses.
const STATUS_PERIOD: Duration = Duration::from_secs(60);
/// How long a seed is used for writing while the plugin does not answer.
const SEED_LIFE: Duration = Duration::from_secs(180);
/// How long it counts as well when it has said so, and as unwell when it has not.
const WELL_FOR: Duration = Duration::from_secs(20);
const UNWELL_FOR: Duration = Duration::from_secs(3);
/// Bytes of a key's id.
const MAX_KEY_ID: usize = 1024;
/// Random bytes that a value's key is made with.
const INFO: usize = 32;
const SEED: usize = 32;
const GCM_NONCE: usize = 12;
const HKDF: i32 = EncryptedDekSourceType::HkdfSha256XnonceAesGcmSeed as i32;

/// Why a value is not encrypted or decrypted by a plugin's key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KmsError {
    /// The plugin refuses, or does not answer.
    #[error("KMS plugin: {0}")]
    Plugin(Box<tonic::Status>),
    /// It is unwell.
    #[error("{0}")]
    Unhealthy(String),
    /// What is stored is not of this provider.
    #[error("stored value: {0}")]
    Malformed(String),
    /// The cipher refuses.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// There is no randomness.
    #[error("no randomness: {0}")]
    Random(String),
}

impl KmsError {
    /// As metrics show it.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Plugin(status) => metrics::code(status),
            _ => metrics::NOT_GRPC,
        }
    }
}

impl From<tonic::Status> for KmsError {
    fn from(status: tonic::Status) -> Self {
        Self::Plugin(Box::new(status))
    }
}

/// A seed that values are written with.
#[derive(Clone)]
struct Seed {
    bytes: [u8; SEED],
    key_id: String,
    source: Vec<u8>,
    annotations: HashMap<String, Vec<u8>>,
    /// When the plugin last said that this is its key.
    confirmed: Instant,
}

/// A plugin.
pub(super) struct Kms {
    name: String,
    metrics: Metrics,
    client: KeyManagementServiceClient<Channel>,
    /// What new values are written with. Held across the calls that make it, so that it is made once.
    current: tokio::sync::Mutex<Option<Seed>>,
    current_key_id: Mutex<String>,
    /// Seeds by what is stored of them.
    known: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    /// When it was last asked how it is, and what it said.
    checked: tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Kms {
    /// At a Unix socket (`@name` is an abstract one). Nothing is dialled yet.
    pub(super) fn new(name: &str, socket: &str, timeout: Duration, metrics: Metrics) -> Self {
        let endpoint = Endpoint::from_static("http://kms")
            .timeout(timeout)
            .connect_timeout(timeout);
        let channel = endpoint.connect_with_connector_lazy(UnixConnector(socket.to_owned()));
        Self {
            name: name.to_owned(),
            metrics,
            client: KeyManagementServiceClient::new(channel),
            current: tokio::sync::Mutex::default(),
            current_key_id: Mutex::default(),
            known: Mutex::default(),
            checked: tokio::sync::Mutex::default(),
        }
    }

    pub(super) async fn encrypt(&self, plain: &[u8], place: &[u8]) -> Result<Vec<u8>, KmsError> {
        let seed = self.seed().await?;
        let mut random = [0; INFO + GCM_NONCE];
        getrandom::fill(&mut random).map_err(|error| KmsError::Random(error.to_string()))?;
        let (info, nonce) = random.split_at(INFO);
        let mut encrypted_data = info.to_vec();
        encrypted_data.extend(derived(&seed.bytes, info)?.encrypt(plain, place, nonce)?);
        let object = EncryptedObject {
            encrypted_data,
            key_id: seed.key_id,
            encrypted_dek_source: seed.source,
            annotations: seed.annotations,
            encrypted_dek_source_type: HKDF,
        };
        Ok(object.encode_to_vec())
    }

    pub(super) async fn decrypt(&self, data: &[u8], place: &[u8]) -> Result<Vec<u8>, KmsError> {
        let object = read(data)?;
        let key = self.source_of(&object).await?;
        if object.encrypted_dek_source_type != HKDF {
            return Ok(Cipher::aes_gcm(&key)?.decrypt(&object.encrypted_data, place)?);
        }
        let (info, body) = object
            .encrypted_data
            .split_at_checked(INFO)
            .ok_or(CipherError::TooShort)?;
        Ok(derived(&key, info)?.decrypt(body, place)?)
    }

    /// Whether a value is of another key than the plugin uses now, as far as that is known.
    pub(super) fn is_stale(&self, data: &[u8]) -> bool {
        let current = self
            .current_key_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        read(data).is_ok_and(|object| {
            object.encrypted_dek_source_type != HKDF
                || !current.is_empty() && object.key_id != *current
        })
    }

    /// Whether it is well, as it has said a moment ago. A key that it has changed meanwhile is used from here on.
    pub(super) async fn check(&self) -> Result<(), String> {
        let mut checked = self.checked.lock().await;
        if let Some((at, outcome)) = checked.as_ref() {
            let holds = if outcome.is_ok() {
                WELL_FOR
            } else {
                UNWELL_FOR
            };
            if at.elapsed() < holds {
                return outcome.clone();
            }
        }
        let renewed = self.renew(&mut *self.current.lock().await).await;
        let outcome = renewed.map_err(|error| match error {
            KmsError::Plugin(status) => format!(
                "failed to perform status section of the healthz check for KMS Provider {}, error: {status}",
                self.name
            ),
            error => format!("kmsv2 Provider {} is not healthy, error: {error}", self.name),
        });
        *checked = Some((Instant::now(), outcome.clone()));
        outcome
    }

    /// The seed to write with, made anew when the plugin's key has changed.
    async fn seed(&self) -> Result<Seed, KmsError> {
        let mut current = self.current.lock().await;
        let age = current.as_ref().map(|seed| seed.confirmed.elapsed());
        if age.is_none_or(|age| age >= STATUS_PERIOD) {
            match self.renew(&mut current).await {
                Err(error) if age.is_some_and(|age| age < SEED_LIFE) => {
                    tracing::warn!(%error, "a KMS plugin does not say which key it uses");
                }
                outcome => outcome?,
            }
        }
        let missing = || KmsError::Unhealthy("it has given no key".to_owned());
        current.clone().ok_or_else(missing)
    }

    /// Asks which key the plugin uses; makes a seed with it if it is another one.
    async fn renew(&self, current: &mut Option<Seed>) -> Result<(), KmsError> {
        let key_id = self.key_id().await?;
        if let Some(seed) = current.as_mut().filter(|seed| seed.key_id == key_id) {
            seed.confirmed = Instant::now();
            return Ok(());
        }
        let seed = self.new_seed().await?;
        self.remember(&seed.source, &seed.bytes);
        seed.key_id.clone_into(
            &mut self
                .current_key_id
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        *current = Some(seed);
        Ok(())
    }

    /// The plugin's key, if it is well.
    async fn key_id(&self) -> Result<String, KmsError> {
        let mut client = self.client.clone();
        let asked = client.status(StatusRequest {});
        let status = self.call("/v2.KeyManagementService/Status", asked).await?;
        let mut complaints = Vec::new();
        if status.healthz != "ok" {
            complaints.push(format!("got unexpected healthz status: {}", status.healthz));
        }
        if !matches!(status.version.as_str(), "v2" | "v2beta1") {
            let version = &status.version;
            complaints.push(format!("expected KMSv2 API version v2, got {version}"));
        }
        match status.key_id.len() {
            0 => complaints.push("keyID is empty".to_owned()),
            1..=MAX_KEY_ID => {}
            length => complaints.push(format!(
                "keyID is {length} bytes, which exceeds the max size of {MAX_KEY_ID}"
            )),
        }
        match complaints.as_slice() {
            [] => Ok(status.key_id),
            [one] => Err(KmsError::Unhealthy(one.clone())),
            many => Err(KmsError::Unhealthy(format!("[{}]", many.join(", ")))),
        }
    }

    /// A call, timed.
    async fn call<T>(
        &self,
        method: &str,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, KmsError> {
        let start = Instant::now();
        let answer = call.await;
        let code = answer.as_ref().map_or_else(metrics::code, |_| metrics::OK);
        self.metrics
            .called(&self.name, method, code, start.elapsed());
        Ok(answer?.into_inner())
    }

    async fn new_seed(&self) -> Result<Seed, KmsError> {
        let mut bytes = [0; SEED];
        getrandom::fill(&mut bytes).map_err(|error| KmsError::Random(error.to_string()))?;
        let request = EncryptRequest {
            plaintext: bytes.to_vec(),
            uid: uuid::Uuid::new_v4().to_string(),
        };
        let mut client = self.client.clone();
        let asked = client.encrypt(request);
        let answer = self.call("/v2.KeyManagementService/Encrypt", asked).await?;
        if answer.key_id.is_empty() || answer.ciphertext.is_empty() {
            return Err(KmsError::Unhealthy(
                "it answered without a key or a ciphertext".to_owned(),
            ));
        }
        Ok(Seed {
            bytes,
            key_id: answer.key_id,
            source: answer.ciphertext,
            annotations: answer.annotations,
            confirmed: Instant::now(),
        })
    }

    /// The seed or key that a value was written with.
    async fn source_of(&self, object: &EncryptedObject) -> Result<Vec<u8>, KmsError> {
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&object.encrypted_dek_source).cloned()
        };
        if let Some(key) = known {
            return Ok(key);
        }
        let request = DecryptRequest {
            ciphertext: object.encrypted_dek_source.clone(),
            uid: uuid::Uuid::new_v4().to_string(),
            key_id: object.key_id.clone(),
            annotations: object.annotations.clone(),
        };
        let mut client = self.client.clone();
        let asked = client.decrypt(request);
        let answer = self.call("/v2.KeyManagementService/Decrypt", asked).await?;
        self.remember(&object.encrypted_dek_source, &answer.plaintext);
        Ok(answer.plaintext)
    }

    fn remember(&self, source: &[u8], key: &[u8]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_SEEDS {
            known.clear();
        }
        known.insert(source.to_vec(), key.to_vec());
    }
}

fn read(data: &[u8]) -> Result<EncryptedObject, KmsError> {
    EncryptedObject::decode(data).map_err(|error| KmsError::Malformed(error.to_string()))
}

/// The key of one value.
fn derived(seed: &[u8], info: &[u8]) -> Result<Cipher, KmsError> {
    struct KeyBytes;
    impl ring::hkdf::KeyType for KeyBytes {
        fn len(&self) -> usize {
            32
        }
    }
    let info = [info];
    let prk = ring::hkdf::Prk::new_less_safe(ring::hkdf::HKDF_SHA256, seed);
    let mut key = [0; 32];
    prk.expand(&info, KeyBytes)
        .and_then(|okm| okm.fill(&mut key))
        .map_err(|_| KmsError::Malformed("no key can be derived".to_owned()))?;
    Ok(Cipher::aes_gcm(&key)?)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    };

    use base::TaskGroup;
    use tokio::net::UnixListener;
    use tonic::{Request, Response, Status};

    use super::*;
    use v2::{
        DecryptResponse, EncryptResponse, StatusResponse,
        key_management_service_server::{KeyManagementService, KeyManagementServiceServer},
    };

    /// A plugin that turns bytes around, and counts.
    #[derive(Clone, Default)]
    struct Plugin {
        unwell: Arc<AtomicBool>,
        encrypted: Arc<AtomicUsize>,
        decrypted: Arc<AtomicUsize>,
    }

    fn kms(socket: &std::path::Path, metrics: &base::metrics::Registry) -> Kms {
        let timeout = Duration::from_secs(20);
        Kms::new(
            "mine",
            socket.to_str().unwrap(),
            timeout,
            Metrics::new(metrics),
        )
    }

    /// A plugin that listens at `socket`.
    fn serve(socket: &std::path::Path, plugin: Plugin, tasks: &TaskGroup) {
        let listener = UnixListener::bind(socket).unwrap();
        let incoming = futures_util::stream::unfold(listener, |listener| async {
            Some((listener.accept().await.map(|(stream, _)| stream), listener))
        });
        let server = tonic::transport::Server::builder()
            .add_service(KeyManagementServiceServer::new(plugin));
        tasks.spawn_cancellable("plugin", async move {
            let _ = server.serve_with_incoming(incoming).await;
        });
    }

    fn reversed(bytes: &[u8]) -> Vec<u8> {
        bytes.iter().rev().copied().collect()
    }

    #[tonic::async_trait]
    impl KeyManagementService for Plugin {
        async fn status(
            &self,
            _: Request<StatusRequest>,
        ) -> Result<Response<StatusResponse>, Status> {
            Ok(Response::new(StatusResponse {
                version: "v2".to_owned(),
                healthz: match self.unwell.load(SeqCst) {
                    true => "a fever".to_owned(),
                    false => "ok".to_owned(),
                },
                key_id: "k1".to_owned(),
            }))
        }

        async fn encrypt(
            &self,
            request: Request<EncryptRequest>,
        ) -> Result<Response<EncryptResponse>, Status> {
            self.encrypted.fetch_add(1, SeqCst);
            Ok(Response::new(EncryptResponse {
                ciphertext: reversed(&request.into_inner().plaintext),
                key_id: "k1".to_owned(),
                annotations: HashMap::new(),
            }))
        }

        async fn decrypt(
            &self,
            request: Request<DecryptRequest>,
        ) -> Result<Response<DecryptResponse>, Status> {
            self.decrypted.fetch_add(1, SeqCst);
            let request = request.into_inner();
            if request.key_id != "k1" {
                return Err(Status::not_found("no such key"));
            }
            Ok(Response::new(DecryptResponse {
                plaintext: reversed(&request.ciphertext),
            }))
        }
    }

    #[tokio::test]
    async fn a_plugin_is_asked_for_seeds_and_not_for_values() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("kms.sock");
        let plugin = Plugin::default();
        let tasks = TaskGroup::default();
        serve(&socket, plugin.clone(), &tasks);
        let metrics = base::metrics::Registry::new();
        let kms = self::kms(&socket, &metrics);
        let first = kms.encrypt(b"one", b"/a").await.unwrap();
        let second = kms.encrypt(b"two", b"/b").await.unwrap();
        assert_eq!(plugin.encrypted.load(SeqCst), 1);
        assert_eq!(kms.decrypt(&first, b"/a").await.unwrap(), b"one");
        assert_eq!(plugin.decrypted.load(SeqCst), 0, "it is our own seed");
        // After a restart each seed is asked for once.
        let restarted = self::kms(&socket, &metrics);
        assert_eq!(restarted.decrypt(&first, b"/a").await.unwrap(), b"one");
        assert_eq!(restarted.decrypt(&second, b"/b").await.unwrap(), b"two");
        assert_eq!(plugin.decrypted.load(SeqCst), 1);
        assert!(
            restarted.decrypt(&second, b"/a").await.is_err(),
            "it was moved"
        );
        let mut foreign = read(&first).unwrap();
        foreign.key_id = "k2".to_owned();
        foreign.encrypted_dek_source.push(1);
        let foreign = foreign.encode_to_vec();
        assert!(restarted.decrypt(&foreign, b"/a").await.is_err());
        assert!(kms.is_stale(&foreign) && !kms.is_stale(&first));
        assert!(restarted.decrypt(b"garbage", b"/a").await.is_err());
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn a_plugin_that_is_not_there_is_an_error() {
        let metrics = base::metrics::Registry::new();
        let kms = kms("/nonexistent/kms.sock".as_ref(), &metrics);
        assert!(kms.encrypt(b"one", b"/a").await.is_err());
        let error = kms.check().await.unwrap_err();
        let wanted = "failed to perform status section of the healthz check for KMS Provider mine";
        assert!(error.starts_with(wanted), "{error}");
        let call = "apiserver_envelope_encryption_kms_operations_latency_seconds_count{grpc_status_code=\"Unavailable\",method_name=\"/v2.KeyManagementService/Status\",provider_name=\"mine\"} 2";
        assert!(metrics.encode().contains(call), "{}", metrics.encode());
    }

    #[tokio::test]
    async fn a_plugin_says_how_it_is_now_and_then() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("kms.sock");
        let tasks = TaskGroup::default();
        let plugin = Plugin::default();
        serve(&socket, plugin.clone(), &tasks);
        let metrics = base::metrics::Registry::new();
        let kms = self::kms(&socket, &metrics);
        assert_eq!(kms.check().await, Ok(()));
        plugin.unwell.store(true, SeqCst);
        assert_eq!(kms.check().await, Ok(()), "it was well a moment ago");
        let asked_first_now = self::kms(&socket, &metrics);
        let unwell =
            "kmsv2 Provider mine is not healthy, error: got unexpected healthz status: a fever";
        assert_eq!(asked_first_now.check().await, Err(unwell.to_owned()));
        assert!(asked_first_now.encrypt(b"one", b"/a").await.is_err());
        assert!(
            kms.encrypt(b"one", b"/a").await.is_ok(),
            "its seed lives on"
        );
        tasks.shutdown().await;
    }
}
