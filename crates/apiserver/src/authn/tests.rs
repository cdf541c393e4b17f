use std::{sync::Arc, time::Duration};

use base::Clock;
use serde_json::{Value, json};

use super::*;
use crate::{
    memory_reader::{MemoryReader, object},
    reader::ObjectReader,
    request_info::RequestInfo,
    tokens::{Issuer, PrivateKey, TokenRequest, private_key, public_keys},
    virtual_resource::{Question, VirtualResource as _},
};

const ISSUER: &str = "https://kubernetes.default.svc";

fn key() -> (PrivateKey, String) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    (
        private_key(pair.serialize_pem().as_bytes()).unwrap(),
        pair.public_key_pem(),
    )
}

struct World {
    clock: Clock,
    metrics: base::metrics::Registry,
    reader: Arc<MemoryReader>,
    accounts: ServiceAccountTokens,
    requests: TokenRequest,
}

fn world() -> World {
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let reader = MemoryReader::with([
        (
            "serviceaccounts",
            json!({"metadata": {"name": "sa", "namespace": "ns", "uid": "u1"}}),
        ),
        ("nodes", json!({"metadata": {"name": "n1", "uid": "u3"}})),
        (
            "pods",
            json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u2"},
                "spec": {"serviceAccountName": "sa", "nodeName": "n1"}}),
        ),
    ]);
    let (signing, public_pem) = key();
    let dynamic: Arc<dyn ObjectReader> = Arc::clone(&reader) as _;
    let metrics = base::metrics::Registry::new();
    let accounts = ServiceAccountTokens {
        issuers: vec![ISSUER.to_owned()],
        keys: public_keys(public_pem.as_bytes()).unwrap(),
        audiences: vec![ISSUER.to_owned()],
        reader: Arc::clone(&dynamic),
        writer: None,
        clock: clock.clone(),
        metrics: ServiceAccountMetrics::new(&metrics),
        verified: VerifiedTokens::default(),
    };
    let requests = TokenRequest {
        issuer: Arc::new(Issuer {
            issuer: ISSUER.to_owned(),
            key: signing,
            clock: clock.clone(),
        }),
        audiences: vec![ISSUER.to_owned()],
        max_seconds: None,
        extend_expiration: true,
        reader: dynamic,
    };
    World {
        clock,
        metrics,
        reader,
        accounts,
        requests,
    }
}

impl World {
    async fn request(&self, spec: Value) -> Result<Value, apimachinery::status::Status> {
        let info = RequestInfo {
            name: "sa".to_owned(),
            namespace: "ns".to_owned(),
            ..RequestInfo::default()
        };
        let mut object = object(json!({"metadata": {}, "spec": spec}));
        self.requests.default(&mut object);
        let question = Question {
            user: &UserInfo::default(),
            request: &info,
            object,
        };
        self.requests.create(question).await.map(Value::Object)
    }

    async fn token(&self, spec: Value) -> String {
        self.request(spec).await.unwrap()["status"]["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn why_not(&self, token: &str) -> String {
        match self.accounts.authenticate_token(token).await {
            Ok(found) => panic!("expected a refusal, got {found:?}"),
            Err(error) => error.0,
        }
    }
}

impl World {
    fn counted(&self, sample: &str) -> bool {
        let sample = format!("\n{sample}\n");
        self.metrics.encode().contains(&sample)
    }
}

#[tokio::test]
async fn who_does_not_exchange_a_token_in_time_is_made_known() {
    let world = world();
    let mut spec = to_pod();
    spec["expirationSeconds"] = json!(3607);
    let token = world.token(spec).await;
    let ask = async || world.accounts.authenticate_token(&token).await;
    assert!(ask().await.unwrap().unwrap().annotations.is_empty());
    world.clock.advance(Duration::from_secs(3610));
    let annotations = ask().await.unwrap().unwrap().annotations;
    let told = "subject: system:serviceaccount:ns:sa, seconds after warning threshold: 3";
    assert_eq!(
        annotations,
        [("authentication.k8s.io/stale-token", told.to_owned())]
    );
    assert!(world.counted("serviceaccount_valid_tokens_total 1"));
    assert!(world.counted("serviceaccount_stale_tokens_total 1"));
}

#[tokio::test]
async fn tokens_of_secrets_are_good_as_long_as_the_secret_says_so() {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let world = world();
    let claims = json!({
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:ns:sa",
        "kubernetes.io/serviceaccount/namespace": "ns",
        "kubernetes.io/serviceaccount/secret.name": "s",
        "kubernetes.io/serviceaccount/service-account.name": "sa",
        "kubernetes.io/serviceaccount/service-account.uid": "u1",
    });
    let token = crate::tokens::sign(&claims, &world.requests.issuer.key).unwrap();
    let ask = async || world.accounts.authenticate_token(&token).await;
    assert!(ask().await.is_err(), "there is no such secret");
    let secret = |labels: Value, token: &str| {
        let metadata = json!({"name": "s", "namespace": "ns", "uid": "u9", "labels": labels});
        json!({"metadata": metadata, "data": {"token": BASE64_STANDARD.encode(token)}})
    };
    world.reader.put("secrets", secret(json!({}), &token));
    let found = ask().await.unwrap().unwrap();
    assert_eq!(found.user.name, "system:serviceaccount:ns:sa");
    let manual = "authentication.k8s.io/legacy-token-manual-secret";
    assert_eq!(found.annotations, [(manual, "s".to_owned())]);
    assert!(found.warnings.is_empty());
    // One that its service account names was made by a controller.
    let account = json!({
        "metadata": {"name": "sa", "namespace": "ns", "uid": "u1"}, "secrets": [{"name": "s"}],
    });
    world.reader.put("serviceaccounts", account);
    let found = ask().await.unwrap().unwrap();
    let automatic = "authentication.k8s.io/legacy-token-autogenerated-secret";
    assert_eq!(found.annotations, [(automatic, "s".to_owned())]);
    assert_eq!(found.warnings.len(), 1);
    let since = json!({"kubernetes.io/legacy-token-invalid-since": "2026-01-01"});
    world.reader.put("secrets", secret(since, &token));
    let error = ask().await.unwrap_err().0;
    assert!(
        error.starts_with(
            "the token in secret ns/s for service account ns/sa has been marked invalid."
        ),
        "{error}"
    );
    world.reader.put("secrets", secret(json!({}), "another"));
    assert!(ask().await.is_err());
    for sample in [
        "serviceaccount_legacy_tokens_total 2",
        "serviceaccount_legacy_manual_token_uses_total 1",
        "serviceaccount_legacy_auto_token_uses_total 1",
        "serviceaccount_invalid_legacy_auto_token_uses_total 1",
    ] {
        assert!(world.counted(sample), "{sample}");
    }
}

fn to_pod() -> Value {
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u2"}})
}

#[tokio::test]
async fn a_bound_token_says_who_and_where() {
    let world = world();
    let token = world.token(to_pod()).await;
    let user = world
        .accounts
        .authenticate_token(&token)
        .await
        .unwrap()
        .unwrap()
        .user;
    assert_eq!(
        (user.name.as_str(), user.uid.as_str()),
        ("system:serviceaccount:ns:sa", "u1")
    );
    assert_eq!(
        user.groups,
        ["system:serviceaccounts", "system:serviceaccounts:ns"]
    );
    assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
    assert_eq!(user.extra["authentication.kubernetes.io/node-name"], ["n1"]);
    assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("JTI="));
}

#[tokio::test]
async fn a_token_dies_with_what_it_is_bound_to() {
    let world = world();
    let token = world.token(to_pod()).await;
    let pod = |metadata: Value| json!({"metadata": metadata, "spec": {"serviceAccountName": "sa"}});
    world.reader.put(
        "pods",
        pod(json!({"name": "p", "namespace": "ns", "uid": "other"})),
    );
    assert_eq!(
        world.why_not(&token).await,
        "pod UID (other) does not match service account pod ref claim (u2)"
    );
    let ending = json!({"name": "p", "namespace": "ns", "uid": "u2", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    world.reader.put("pods", pod(ending));
    assert!(
        world.accounts.authenticate_token(&token).await.is_ok(),
        "a pod that ends may still speak"
    );
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(
        world.why_not(&token).await,
        "service account token has been invalidated"
    );
    let unbound = world.token(json!({})).await;
    world.reader.put(
        "serviceaccounts",
        json!({"metadata": {"name": "sa", "namespace": "ns", "uid": "other"}}),
    );
    assert_eq!(
        world.why_not(&unbound).await,
        "service account UID (other) does not match claim (u1)"
    );
}

#[tokio::test]
async fn times_and_audiences_are_kept() {
    let world = world();
    let token = world.token(json!({"expirationSeconds": 600})).await;
    world.clock.advance(Duration::from_secs(660));
    assert!(
        world.accounts.authenticate_token(&token).await.is_ok(),
        "clocks may differ by a minute"
    );
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(
        world.why_not(&token).await,
        "service account token has expired"
    );
    let foreign = world.token(json!({"audiences": ["vault"]})).await;
    assert!(
        world
            .why_not(&foreign)
            .await
            .contains("invalid for the target audiences")
    );
    let asked = ["vault".to_owned()];
    let found = world
        .accounts
        .authenticate_for(&foreign, &asked)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.audiences, asked);
}

#[tokio::test]
async fn the_kubelets_odd_request_lasts_a_year() {
    let world = world();
    let mut spec = to_pod();
    spec["expirationSeconds"] = json!(3607);
    let answer = world.request(spec).await.unwrap();
    assert_eq!(
        answer["status"]["expirationTimestamp"],
        "2026-01-01T01:00:07Z"
    );
    world.clock.advance(Duration::from_secs(7200));
    let token = answer["status"]["token"].as_str().unwrap();
    assert!(
        world
            .accounts
            .authenticate_token(token)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn requests_are_checked() {
    let world = world();
    let bound = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}});
    world.reader.put(
        "pods",
        json!({"metadata": {"name": "q", "namespace": "ns"}, "spec": {"serviceAccountName": "x"}}),
    );
    for (spec, code, message) in [
        (
            json!({"expirationSeconds": 10}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes",
        ),
        (bound("Pod", "nosuch", ""), 404, "pods \"nosuch\" not found"),
        (
            bound("Pod", "p", "old"),
            409,
            "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (old) does not match the UID in record. The object might have been deleted and then recreated",
        ),
        (
            bound("Pod", "q", ""),
            400,
            "cannot bind token for serviceaccount \"sa\" to pod running with different serviceaccount name.",
        ),
        (
            bound("Service", "s", ""),
            400,
            "cannot bind token to object of type /v1, Kind=Service",
        ),
    ] {
        let refusal = world.request(spec).await.unwrap_err();
        assert_eq!((refusal.code, refusal.message.as_str()), (code, message));
    }
}

#[tokio::test]
async fn tampered_and_foreign_tokens() {
    let world = world();
    let token = world.token(json!({})).await;
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert!(
        world
            .why_not(&format!("{signed}.AAAA"))
            .await
            .contains("cryptographic primitive")
    );
    let other = self::world();
    let foreign = other.token(json!({})).await;
    assert!(world.why_not(&foreign).await.contains("no keys found"));
    for not_ours in ["", "abc", "a.b.c", "bootstrap.0123456789abcdef"] {
        assert!(
            world
                .accounts
                .authenticate_token(not_ours)
                .await
                .unwrap()
                .is_none(),
            "{not_ours}"
        );
    }
}

#[tokio::test]
async fn bootstrap_tokens_are_looked_up_by_their_id() {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let secret = |changes: &[(&str, &str)]| {
        let mut data = vec![
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("expiration", "2026-01-02T00:00:00Z"),
            ("auth-extra-groups", "system:bootstrappers:x"),
        ];
        for (name, value) in changes {
            data.retain(|(known, _)| known != name);
            data.push((name, value));
        }
        let data: serde_json::Map<String, Value> = data
            .into_iter()
            .map(|(name, value)| (name.to_owned(), BASE64_STANDARD.encode(value).into()))
            .collect();
        json!({"metadata": {"namespace": "kube-system", "name": "bootstrap-token-abcdef"},
            "type": "bootstrap.kubernetes.io/token", "data": data})
    };
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    for (changes, token, good) in [
        (&[][..], "abcdef.0123456789abcdef", true),
        (&[], "abcdef.0123456789abcdeX", false),
        (&[], "abcdef.0123456789abcde0", false),
        (
            &[("expiration", "2025-01-01T00:00:00Z")],
            "abcdef.0123456789abcdef",
            false,
        ),
        (&[("expiration", "soon")], "abcdef.0123456789abcdef", false),
        (
            &[("usage-bootstrap-authentication", "false")],
            "abcdef.0123456789abcdef",
            false,
        ),
        (
            &[("auth-extra-groups", "system:masters")],
            "abcdef.0123456789abcdef",
            false,
        ),
    ] {
        let reader: Arc<dyn ObjectReader> = MemoryReader::with([("secrets", secret(changes))]);
        let tokens = BootstrapTokens {
            reader,
            clock: clock.clone(),
        };
        let found = tokens.authenticate_token(token).await.unwrap();
        assert_eq!(found.is_some(), good, "{changes:?} {token}");
        if let Some(found) = found {
            assert_eq!(found.user.name, "system:bootstrap:abcdef");
            assert_eq!(
                found.user.groups,
                ["system:bootstrappers", "system:bootstrappers:x"]
            );
        }
    }
}

/// An authority, and a client certificate of it.
fn certificates(
    common_name: &str,
    organizations: &[&str],
    usage: rcgen::ExtendedKeyUsagePurpose,
) -> (String, Vec<u8>) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let mut leaf = CertificateParams::new(Vec::new()).unwrap();
    leaf.distinguished_name.remove(DnType::CommonName);
    leaf.distinguished_name
        .push(DnType::CommonName, common_name);
    if let [organization] = organizations {
        leaf.distinguished_name
            .push(DnType::OrganizationName, *organization);
    }
    leaf.extended_key_usages = vec![usage];
    let leaf = leaf
        .signed_by(&KeyPair::generate().unwrap(), &issuer)
        .unwrap();
    (ca_certificate.pem(), leaf.der().to_vec())
}

#[tokio::test]
async fn client_certificates_name_user_and_groups() {
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let ask = async |ca: &str, leaf: &[u8], clock: Clock| {
        let metrics = base::metrics::Registry::new();
        let verifier = ChainVerifier::new(ca.as_bytes(), clock).unwrap();
        let authenticator = ClientCertificates::new(Arc::new(verifier), &metrics);
        let peer = Peer {
            certificates: [leaf.to_vec()].into(),
            address: None,
        };
        authenticator
            .authenticate(&http::HeaderMap::new(), &peer, "/api")
            .await
    };
    let (ca, leaf) = certificates("alice", &["admins"], ClientAuth);
    let user = ask(&ca, &leaf, Clock::system())
        .await
        .unwrap()
        .unwrap()
        .user;
    assert_eq!(
        (user.name.as_str(), user.groups),
        ("alice", vec!["admins".to_owned()])
    );
    let (other_ca, _) = certificates("x", &[], ClientAuth);
    assert!(ask(&other_ca, &leaf, Clock::system()).await.is_err());
    let long_gone = Clock::manual("4097-01-01T00:00:00Z".parse().unwrap());
    assert!(ask(&ca, &leaf, long_gone).await.is_err());
    let (ca, server) = certificates("alice", &[], ServerAuth);
    assert!(ask(&ca, &server, Clock::system()).await.is_err());
    assert!(ChainVerifier::new(b"", Clock::system()).is_err());
}

#[tokio::test]
async fn an_exchanged_authority_ends_what_the_old_one_vouched_for() {
    use rcgen::ExtendedKeyUsagePurpose::ClientAuth;
    let (ca, leaf) = certificates("alice", &[], ClientAuth);
    let (other_ca, other) = certificates("bob", &[], ClientAuth);
    let verifier = ChainVerifier::new(ca.as_bytes(), Clock::system()).unwrap();
    assert!(verifier.verify(std::slice::from_ref(&leaf)).is_ok());
    verifier.replace(other_ca.as_bytes()).unwrap();
    assert!(verifier.verify(std::slice::from_ref(&leaf)).is_err());
    let holder = verifier.verify(&[other]).unwrap().unwrap();
    assert_eq!(holder.common_name.as_deref(), Some("bob"));
    assert!(verifier.replace(b"nonsense").is_err());
}

#[tokio::test]
async fn a_front_proxy_says_for_whom_it_asks_and_nobody_else_does() {
    use rcgen::ExtendedKeyUsagePurpose::ClientAuth;
    let (ca, proxy) = certificates("front-proxy-client", &[], ClientAuth);
    let (_, stranger) = certificates("front-proxy-client", &[], ClientAuth);
    let config = |allowed: &str| RequestHeaderConfig {
        allowed_names: vec![allowed.to_owned()],
        username_headers: vec!["X-Remote-User".to_owned()],
        uid_headers: vec!["X-Remote-Uid".to_owned()],
        group_headers: vec!["X-Remote-Group".to_owned()],
        extra_header_prefixes: vec!["X-Remote-Extra-".to_owned()],
    };
    let mut headers = http::HeaderMap::new();
    for (name, value) in [
        ("x-remote-user", "alice"),
        ("x-remote-uid", "7"),
        ("x-remote-group", "a"),
        ("x-remote-group", "b"),
        ("x-remote-extra-example.com%2fscope", "s"),
    ] {
        headers.append(name, value.parse().unwrap());
    }
    let ask = async |allowed: &str, leaf: Option<&Vec<u8>>, headers: &http::HeaderMap| {
        let verifier = ChainVerifier::new(ca.as_bytes(), Clock::system()).unwrap();
        let peer = Peer {
            certificates: leaf.into_iter().cloned().collect(),
            address: None,
        };
        RequestHeaders::new(config(allowed), Arc::new(verifier))
            .authenticate(headers, &peer, "/api")
            .await
    };
    let found = ask("front-proxy-client", Some(&proxy), &headers).await;
    let user = found.unwrap().unwrap().user;
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("alice", "7"));
    assert_eq!(user.groups, ["a", "b"]);
    assert_eq!(user.extra["example.com/scope"], ["s"]);

    assert!(ask("other", Some(&proxy), &headers).await.is_err());
    assert!(
        ask("front-proxy-client", Some(&stranger), &headers)
            .await
            .is_err()
    );
    assert!(
        ask("front-proxy-client", None, &headers)
            .await
            .unwrap()
            .is_none()
    );
    let nothing = http::HeaderMap::new();
    assert!(
        ask("front-proxy-client", Some(&proxy), &nothing)
            .await
            .unwrap()
            .is_none()
    );
    super::request_header::strip(&mut headers, &config(""));
    assert!(headers.is_empty());
}

/// Keys made by common tools, in every form they come in.
#[test]
fn keys_of_all_forms() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let signing = private_key(pair.serialize_pem().as_bytes()).unwrap();
    let [public] = public_keys(pair.public_key_pem().as_bytes())
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(signing.public().id(), public.id());
    assert_eq!(public.algorithm().name(), "ES384");
    let signature = signing.sign(b"message").unwrap();
    assert!(public.verifies(b"message", &signature));
    assert!(!public.verifies(b"massage", &signature));
    assert_eq!(public.to_jwk()["crv"], "P-384");
    assert!(private_key(b"nonsense").is_err());
    assert!(private_key(pair.public_key_pem().as_bytes()).is_err());
}
