//! The store with encryption in front: what is stored, what is read, rotation, staleness, what cannot be read.

use etcd::Compare;
use tokio_util::sync::CancellationToken;

use super::*;

const CBC: &str =
    "aescbc: {keys: [{name: k1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}";
const GCM: &str = "aesgcm: {keys: [{name: k2, secret: AAECAwQFBgcICQoLDA0ODw==}]}";
const BOX: &str =
    "secretbox: {keys: [{name: k3, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}";

fn configuration(resources: &str, providers: &[&str]) -> EncryptionConfiguration {
    let providers: Vec<String> = providers.iter().map(|p| format!("  - {p}\n")).collect();
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: {resources}\n  providers:\n{}",
        providers.concat()
    );
    EncryptionConfiguration::parse(text.as_bytes()).unwrap()
}

struct Fixture {
    raw: Arc<dyn Kv>,
    store: EncryptedKv,
    tasks: TaskGroup,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new(configuration: &EncryptionConfiguration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tasks = TaskGroup::new(&CancellationToken::new());
        let settings = etcd::embedded::Config::new(directory.path());
        let raw = etcd::Embedded::open(settings, base::Clock::system(), &tasks).unwrap();
        let raw: Arc<dyn Kv> = raw;
        let metrics = Metrics::new(&base::metrics::Registry::new());
        let store =
            EncryptedKv::new(Arc::clone(&raw), configuration, tasks.clone(), metrics).unwrap();
        Self {
            raw,
            store,
            tasks,
            _directory: directory,
        }
    }

    async fn put(&self, key: &'static str, value: &'static str) {
        let put = Op::Put {
            key: Bytes::from(key),
            value: Bytes::from(value),
            lease: LeaseId(0),
        };
        let txn = Txn {
            compare: Vec::<Compare>::new(),
            success: vec![put],
            failure: Vec::new(),
        };
        self.store.txn(txn).await.unwrap();
    }

    async fn stored(&self, key: &'static str) -> Bytes {
        get(&*self.raw, key).await
    }

    async fn read(&self, key: &'static str) -> Bytes {
        get(&self.store, key).await
    }
}

async fn get(kv: &dyn Kv, key: &'static str) -> Bytes {
    let range = RangeRequest::new(KeyRange::key(Bytes::from(key)));
    kv.range(range).await.unwrap().kvs[0].value.clone()
}

const SECRET: &str = "/registry/secrets/default/a";
const CONFIG: &str = "/registry/configmaps/default/a";

#[tokio::test]
async fn what_is_configured_is_encrypted_and_the_rest_is_not() {
    for (provider, prefix) in [
        (CBC, "k8s:enc:aescbc:v1:k1:"),
        (GCM, "k8s:enc:aesgcm:v1:k2:"),
        (BOX, "k8s:enc:secretbox:v1:k3:"),
    ] {
        let fixture = Fixture::new(&configuration("[secrets]", &[provider, "identity: {}"]));
        let mut watch = fixture
            .store
            .watch(WatchRequest {
                range: KeyRange::prefix("/registry/"),
                start: Some(Revision(2)),
                buffer: 8,
            })
            .await
            .unwrap();
        fixture.put(SECRET, "hidden").await;
        fixture.put(CONFIG, "plain").await;
        let stored = fixture.stored(SECRET).await;
        assert!(stored.starts_with(prefix.as_bytes()), "{stored:?}");
        assert!(!stored.windows(6).any(|window| window == b"hidden"));
        assert_eq!(fixture.stored(CONFIG).await, "plain");
        assert_eq!(fixture.read(SECRET).await, "hidden");
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let batch = watch.recv().await.unwrap().unwrap();
            seen.extend(batch.changes.into_iter().map(|c| c.new.unwrap().value));
        }
        assert_eq!(seen, ["hidden", "plain"]);
        fixture.tasks.shutdown().await;
    }
}

#[tokio::test]
async fn keys_are_rotated_by_their_order() {
    let fixture = Fixture::new(&configuration("[secrets]", &["identity: {}"]));
    let key = Bytes::from(SECRET);
    fixture.put(SECRET, "hidden").await;
    assert_eq!(fixture.stored(SECRET).await, "hidden");
    let steps: [(&[&str], bool); 4] = [
        (&["identity: {}", CBC], false),
        (&[CBC, "identity: {}"], true),
        (&[GCM, CBC, "identity: {}"], true),
        (&[BOX, GCM], true),
    ];
    for (providers, stale) in steps {
        fixture
            .store
            .reconfigure(&configuration("[secrets]", providers))
            .unwrap();
        assert_eq!(
            fixture.store.is_stale(&key).await.unwrap(),
            stale,
            "{providers:?}"
        );
        assert_eq!(fixture.read(SECRET).await, "hidden");
        fixture.put(SECRET, "hidden").await;
        assert!(!fixture.store.is_stale(&key).await.unwrap());
    }
    fixture.tasks.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_decrypted_harms_nobody_else() {
    let fixture = Fixture::new(&configuration("[secrets]", &[GCM]));
    fixture.put(SECRET, "hidden").await;
    fixture.put("/registry/secrets/default/b", "other").await;
    // Moved to another key by hand: its place is authenticated.
    let moved = fixture.stored(SECRET).await;
    let put = Op::Put {
        key: Bytes::from("/registry/secrets/default/c"),
        value: moved.clone(),
        lease: LeaseId(0),
    };
    let txn = Txn {
        success: vec![put],
        ..Txn::default()
    };
    fixture.raw.txn(txn).await.unwrap();
    let range = RangeRequest::new(KeyRange::prefix("/registry/secrets/"));
    let values = fixture.store.range(range).await.unwrap().kvs;
    let values: Vec<Bytes> = values.into_iter().map(|kv| kv.value).collect();
    assert_eq!(values, [Bytes::from("hidden"), Bytes::from("other"), moved]);
    fixture.tasks.shutdown().await;
}

#[test]
fn resources_are_told_by_their_keys() {
    let name =
        |key: &str| resource_of(key.as_bytes()).map(|r| format!("{}.{}", r.resource, r.group));
    for (key, expected) in [
        ("/registry/secrets/default/a", Some("secrets.")),
        ("/registry/services/specs/default/a", Some("services.")),
        ("/registry/deployments/default/a", Some("deployments.apps")),
        (
            "/registry/example.com/widgets/default/a",
            Some("widgets.example.com"),
        ),
        ("/registry/ranges/serviceips", None),
        ("/elsewhere/secrets/a/b", None),
    ] {
        assert_eq!(name(key).as_deref(), expected, "{key}");
    }
}

#[tokio::test]
async fn wildcards_cover_groups_and_everything() {
    for (resources, key, encrypted) in [
        ("['*.']", SECRET, true),
        ("['*.']", "/registry/deployments/default/a", false),
        ("['*.apps']", "/registry/deployments/default/a", true),
        ("['*.*']", "/registry/example.com/widgets/default/a", true),
        (
            "[widgets.example.com]",
            "/registry/example.com/widgets/default/a",
            true,
        ),
        ("['*.*']", "/registry/ranges/serviceips", false),
    ] {
        let fixture = Fixture::new(&configuration(resources, &[GCM]));
        fixture.put(key, "value").await;
        let stored = fixture.stored(key).await;
        assert_eq!(
            stored.starts_with(b"k8s:enc:"),
            encrypted,
            "{resources} {key}"
        );
        assert_eq!(fixture.read(key).await, "value");
        fixture.tasks.shutdown().await;
    }
}

#[test]
fn what_cannot_be_configured_is_refused() {
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n";
    for (rest, expected) in [
        ("resources: []", "at least one resources entry"),
        (
            "resources: [{resources: [], providers: [{identity: {}}]}]",
            "resources is a mandatory field",
        ),
        (
            "resources: [{resources: [secrets], providers: []}]",
            "provider is a mandatory field",
        ),
        (
            "resources: [{resources: ['*'], providers: [{identity: {}}]}]",
            "use '*.' to encrypt all",
        ),
        (
            "resources: [{resources: [secrets, '*.'], providers: [{identity: {}}]}]",
            "overlapping resources",
        ),
        (
            "resources: [{resources: [secrets, secrets], providers: [{identity: {}}]}]",
            "cannot be specified multiple times",
        ),
        (
            "resources: [{resources: [Secrets], providers: [{identity: {}}]}]",
            "capital letters",
        ),
        (
            "resources: [{resources: [secrets], providers: [{identity: {}, aescbc: {keys: []}}]}]",
            "more than one provider",
        ),
        (
            "resources: [{resources: [secrets], providers: [{}]}]",
            "does not contain any of the expected providers",
        ),
        (
            "resources: [{resources: [secrets], providers: [{aescbc: {keys: []}}]}]",
            "keys is a mandatory field",
        ),
        (
            "resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: a, secret: '!'}]}}]}]",
            "must be base64 encoded",
        ),
        (
            "resources: [{resources: [secrets], providers: [{secretbox: {keys: [{name: a, secret: AAAA}]}}]}]",
            "expected one of [32]",
        ),
        (
            "resources: [{resources: [secrets], providers: [{kms: {name: a, endpoint: 'unix:///x'}}]}]",
            "KMS v1 is not supported",
        ),
        (
            "resources: [{resources: [secrets], providers: [{kms: {apiVersion: v2, name: a, endpoint: 'tcp://x'}}]}]",
            "only unix is supported",
        ),
        (
            "resources: [{resources: [secrets], providers: [{rot13: {}}]}]",
            "unknown field",
        ),
    ] {
        let error = EncryptionConfiguration::parse(format!("{head}{rest}").as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{rest}: {error}");
        assert!(!error.to_string().contains("AAAA"), "secrets are not shown");
    }
}
