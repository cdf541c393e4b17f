use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use base::TaskGroup;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    memory_reader::MemoryReader,
    tokens::{self, PrivateKey, private_key},
    webhook_client::test_server::TestServer,
};

/// An issuer of our own on loopback: its server, its key, and how often its keys were asked for.
struct TestIssuer {
    server: TestServer,
    key: PrivateKey,
    fetches: Arc<AtomicUsize>,
    /// What it gives to who shows the access token `secret`.
    groups: Arc<Mutex<String>>,
}

fn new_key() -> PrivateKey {
    let pair = rcgen::KeyPair::generate().unwrap();
    private_key(pair.serialize_pem().as_bytes()).unwrap()
}

impl TestIssuer {
    async fn start() -> Self {
        let key = new_key();
        let fetches = Arc::new(AtomicUsize::new(0));
        let groups = Arc::new(Mutex::new(String::new()));
        let (jwk, counted) = (key.public().to_jwk(), Arc::clone(&fetches));
        let given = Arc::clone(&groups);
        let server = TestServer::start(&["localhost"], move |called| {
            let (jwk, counted) = (jwk.clone(), Arc::clone(&counted));
            let given = given.lock().unwrap().clone();
            Box::pin(async move {
                let host = called.head.uri.authority().map(ToString::to_string);
                let host = host.or_else(|| {
                    let host = called.head.headers.get(http::header::HOST)?;
                    Some(host.to_str().ok()?.to_owned())
                });
                let url = format!("https://{}", host.unwrap());
                let answer = match called.head.uri.path() {
                    "/groups" => {
                        let shown = called.head.headers.get(http::header::AUTHORIZATION);
                        return if shown.is_some_and(|shown| shown == "Bearer secret") {
                            (StatusCode::OK, Bytes::from(given))
                        } else {
                            (StatusCode::UNAUTHORIZED, Bytes::new())
                        };
                    }
                    "/.well-known/openid-configuration" => {
                        json!({"issuer": url, "jwks_uri": format!("{url}/keys")})
                    }
                    "/keys" => {
                        counted.fetch_add(1, Ordering::Relaxed);
                        json!({"keys": [jwk]})
                    }
                    _ => return (StatusCode::NOT_FOUND, Bytes::new()),
                };
                (StatusCode::OK, Bytes::from(answer.to_string()))
            })
        })
        .await;
        Self {
            server,
            key,
            fetches,
            groups,
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.server.address.port())
    }

    fn flags(&self) -> OidcFlags {
        OidcFlags {
            issuer_url: self.url(),
            client_id: "kubernetes".to_owned(),
            certificate_authority: self.server.authority.clone(),
            groups_claim: "groups".to_owned(),
            groups_prefix: "oidc:".to_owned(),
            signing_algorithms: vec!["ES256".to_owned()],
            required_claims: vec![("hd".to_owned(), "example.com".to_owned())],
            ..OidcFlags::default()
        }
    }

    fn claims(&self, changes: Value) -> Value {
        let mut claims = json!({
            "iss": self.url(), "aud": "kubernetes", "sub": "alice", "hd": "example.com", "jti": "1",
            "exp": jiff::Timestamp::now().as_second() + 600, "groups": ["a", "b"],
        });
        let changes = changes.as_object().cloned().unwrap();
        claims.as_object_mut().unwrap().extend(changes);
        claims
    }

    fn token(&self, changes: Value) -> String {
        tokens::sign(&self.claims(changes), &self.key).unwrap()
    }
}

fn authenticators(issuers: &[JwtIssuer], clock: Clock) -> Result<JwtAuthenticators, String> {
    let tasks = TaskGroup::new(&CancellationToken::new());
    let clients = WebhookClients::new(Arc::new(MemoryReader::default()), tasks);
    JwtAuthenticators::new(issuers, clients, clock)
}

async fn ask(issuers: &JwtAuthenticators, token: &str) -> Result<Option<Authenticated>, String> {
    issuers.authenticate_token(token).await.map_err(|e| e.0)
}

#[tokio::test]
async fn an_issuers_token_names_a_user() {
    let issuer = TestIssuer::start().await;
    let all = authenticators(&[issuer.flags().to_issuer()], Clock::system()).unwrap();
    let found = ask(&all, &issuer.token(json!({}))).await.unwrap().unwrap();
    let user = found.user;
    assert_eq!(user.name, format!("{}#alice", issuer.url()));
    assert_eq!(user.groups, ["oidc:a", "oidc:b"]);
    assert_eq!(
        user.extra["authentication.kubernetes.io/credential-id"],
        ["JTI=1"]
    );
    // Another token is verified with the keys at hand; another issuer's is left to others.
    let token = issuer.token(json!({"sub": "bob", "groups": "c", "aud": ["x", "kubernetes"]}));
    assert_eq!(
        ask(&all, &token).await.unwrap().unwrap().user.groups,
        ["oidc:c"]
    );
    assert_eq!(issuer.fetches.load(Ordering::Relaxed), 1);
    let foreign = issuer.token(json!({"iss": "https://elsewhere.example"}));
    assert!(ask(&all, &foreign).await.unwrap().is_none());
    assert!(ask(&all, "abc").await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said() {
    let issuer = TestIssuer::start().await;
    let all = authenticators(&[issuer.flags().to_issuer()], Clock::system()).unwrap();
    for (changes, expected) in [
        (
            json!({"aud": "other"}),
            "oidc: verify token: oidc: expected audience in",
        ),
        (
            json!({"aud": 7}),
            "oidc: verify token: oidc: expected audience in",
        ),
        (
            json!({"exp": 1}),
            "oidc: verify token: oidc: token is expired",
        ),
        (
            json!({"exp": null}),
            "oidc: verify token: oidc: token is expired",
        ),
        (
            json!({"nbf": 99_999_999_999_i64}),
            "oidc: verify token: oidc: current time",
        ),
        (
            json!({"sub": 1}),
            "oidc: parse username claims \"sub\": not a string",
        ),
        (
            json!({"groups": [1]}),
            "oidc: parse groups claim \"groups\"",
        ),
        (
            json!({"hd": "evil.example"}),
            "oidc: required claim hd value does not match. Got = evil.example, want = example.com",
        ),
        (json!({"hd": null}), "oidc: parse claim hd: not a string"),
    ] {
        let error = ask(&all, &issuer.token(changes.clone())).await.unwrap_err();
        assert!(error.starts_with(expected), "{changes}: {error}");
    }
}

/// Unsigned, signed by somebody else, signed in a way that nobody asked for, tampered with.
#[tokio::test]
async fn forged_tokens_are_refused_and_do_not_make_us_hammer_the_issuer() {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
    let issuer = TestIssuer::start().await;
    let all = authenticators(&[issuer.flags().to_issuer()], Clock::system()).unwrap();
    let genuine = issuer.token(json!({}));
    let claims = genuine.split('.').nth(1).unwrap().to_owned();
    let signature = genuine.rsplit('.').next().unwrap().to_owned();
    let header = |header: Value| BASE64.encode(header.to_string());
    let kid = issuer.key.public().id();
    let forged = [
        format!("{}.{claims}.", header(json!({"alg": "none"}))),
        format!(
            "{}.{claims}.{signature}",
            header(json!({"alg": "HS256", "kid": kid}))
        ),
        format!(
            "{}.{claims}.{signature}",
            header(json!({"alg": "ES256", "kid": "other"}))
        ),
        format!(
            "{}.{claims}.{}",
            header(json!({"alg": "ES256", "kid": kid})),
            BASE64.encode([0; 64])
        ),
        tokens::sign(&issuer.claims(json!({})), &new_key()).unwrap(),
        tokens::sign(&issuer.claims(json!({"sub": "admin"})), &new_key()).unwrap(),
    ];
    for token in &forged {
        assert!(ask(&all, token).await.is_err(), "{token}");
    }
    assert!(issuer.fetches.load(Ordering::Relaxed) <= 1);
    let oversized = format!("{genuine}{}", "A".repeat(1 << 20));
    assert!(ask(&all, &oversized).await.unwrap().is_none());
    assert!(ask(&all, &genuine).await.unwrap().is_some());
}

#[tokio::test]
async fn keys_are_fetched_again_after_a_while() {
    let issuer = TestIssuer::start().await;
    let clock = Clock::manual(jiff::Timestamp::now());
    let all = authenticators(&[issuer.flags().to_issuer()], clock.clone()).unwrap();
    assert!(ask(&all, &issuer.token(json!({}))).await.is_ok());
    let unknown = tokens::sign(&issuer.claims(json!({})), &new_key()).unwrap();
    for expected in [1, 1, 2, 2] {
        if issuer.fetches.load(Ordering::Relaxed) < expected {
            clock.advance(Duration::from_secs(11));
        }
        assert!(ask(&all, &unknown).await.is_err());
        assert_eq!(issuer.fetches.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_harms_its_own_tokens_alone() {
    let issuer = TestIssuer::start().await;
    let mut distrusted = issuer.flags().to_issuer();
    let other = TestIssuer::start().await;
    distrusted.issuer.certificate_authority = other.server.authority.clone();
    let all = authenticators(&[distrusted, other.flags().to_issuer()], Clock::system()).unwrap();
    assert!(ask(&all, &issuer.token(json!({}))).await.is_err());
    assert!(ask(&all, &other.token(json!({}))).await.unwrap().is_some());
}

#[test]
fn configurations_are_read_strictly() {
    let header = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
    let parse = |rest: &str| AuthenticationConfiguration::parse(&format!("{header}{rest}"));
    let complaints = |rest: &str| -> Vec<String> {
        let own = ["https://kubernetes.default.svc".to_owned()];
        let errors = parse(rest).unwrap().validate(&own);
        errors.iter().map(ToString::to_string).collect()
    };
    let issuer = "jwt:\n- issuer: {url: 'https://a.example', audiences: [x]}\n  claimMappings:\n    username: {claim: sub, prefix: ''}\n";
    assert_eq!(complaints(issuer), [""; 0]);
    assert!(parse("jwtt: []\n").is_err());
    assert!(AuthenticationConfiguration::parse("kind: Pod\napiVersion: v1\n").is_err());
    for (rest, expected) in [
        (
            "jwt:\n- issuer: {url: 'http://a.example', audiences: [x]}\n  claimMappings: {username: {claim: sub}}\n",
            vec![
                "jwt[0].issuer.url: Invalid value: \"http://a.example\": URL scheme must be https",
                "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing",
            ],
        ),
        (
            "jwt:\n- issuer: {url: 'https://a.example', audiences: [x, y]}\n  claimMappings: {username: {claim: sub, prefix: ''}}\n",
            vec![
                "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences",
            ],
        ),
        (
            "jwt:\n- issuer: {url: 'https://a.example', audiences: [x]}\n  claimMappings: {username: {claim: sub, prefix: ''}}\n  claimValidationRules: [{claim: a}, {claim: a}, {expression: 'true'}, {expression: 'true'}]\n  userValidationRules: [{expression: 'true'}, {expression: 'true'}]\n",
            vec![
                "jwt[0].claimValidationRules[1].claim: Duplicate value: \"a\"",
                "jwt[0].claimValidationRules[3].expression: Duplicate value: \"true\"",
                "jwt[0].userValidationRules[1].expression: Duplicate value: \"true\"",
            ],
        ),
        (
            "anonymous: {enabled: false, conditions: [{path: /livez}]}\n",
            vec![
                "anonymous.conditions: Invalid value: 1: enabled should be set to true when conditions are defined",
            ],
        ),
    ] {
        assert_eq!(complaints(rest), expected, "{rest}");
    }
}

#[tokio::test]
async fn expressions_map_and_judge() {
    let issuer = TestIssuer::start().await;
    let indented = issuer.server.authority.replace('\n', "\n        ");
    let text = format!(
        r#"apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: {}
    audiences: [kubernetes]
    certificateAuthority: |
        {indented}
  claimValidationRules:
  - expression: 'claims.exp - claims.iat <= 86400'
    message: too long a life
  claimMappings:
    username: {{expression: 'claims.sub + ":" + claims.?realm.orValue("none")'}}
    groups: {{expression: 'claims.groups.map(g, "x:" + g)'}}
    uid: {{claim: sub}}
    extra:
    - {{key: example.com/realm, valueExpression: 'claims.?realm.orValue("")'}}
  userValidationRules:
  - expression: "!user.username.startsWith('system:')"
    message: not one of ours
"#,
        issuer.url()
    );
    let config = AuthenticationConfiguration::parse(&text).unwrap();
    assert_eq!(config.validate(&[]).len(), 0);
    let all = authenticators(&config.jwt, Clock::system()).unwrap();
    let now = jiff::Timestamp::now().as_second();
    let token = issuer.token(json!({"iat": now, "realm": "r"}));
    let user = ask(&all, &token).await.unwrap().unwrap().user;
    assert_eq!(
        (user.name.as_str(), user.uid.as_str()),
        ("alice:r", "alice")
    );
    assert_eq!(user.groups, ["x:a", "x:b"]);
    assert_eq!(user.extra["example.com/realm"], ["r"]);
    for (changes, expected) in [
        (
            json!({"iat": 1}),
            "oidc: error evaluating claim validation expression: validation expression 'claims.exp - claims.iat <= 86400' failed: too long a life",
        ),
        (
            json!({"iat": now, "sub": "system:masters"}),
            "oidc: error evaluating user info validation rule: validation expression '!user.username.startsWith('system:')' failed: not one of ours",
        ),
        (
            json!({"iat": now, "sub": 7}),
            "oidc: error evaluating username claim expression:",
        ),
    ] {
        let error = ask(&all, &issuer.token(changes)).await.unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    let refused = |username: &str| {
        let mut config = config.jwt[0].clone();
        config.claim_mappings.username.expression = username.to_owned();
        authenticators(&[config], Clock::system()).err()
    };
    assert!(
        refused("claims.email")
            .unwrap()
            .contains("claims.email_verified must be used")
    );
    assert!(refused("claims.email_verified ? claims.email : ''").is_none());
    for broken in ["claims.", "1 + 1", "nothing"] {
        assert!(refused(broken).is_some(), "{broken}");
    }
}

#[test]
fn a_rule_has_to_come_to_a_truth_value() {
    let rule =
        |text| super::expression::Expression::of_claims(text, super::expression::Wanted::Bool);
    assert!(rule("claims.verified == true").is_ok());
    assert!(
        rule("claims.verified")
            .err()
            .unwrap()
            .ends_with("must evaluate to bool")
    );
}

#[tokio::test]
async fn groups_may_be_kept_elsewhere() {
    let issuer = TestIssuer::start().await;
    let all = authenticators(&[issuer.flags().to_issuer()], Clock::system()).unwrap();
    let elsewhere = |number: u32, token: &str| {
        let endpoint = format!("{}/groups", issuer.url());
        let mut claims = issuer.claims(json!({
            "jti": number.to_string(),
            "_claim_names": {"groups": "s1"},
            "_claim_sources": {"s1": {"endpoint": endpoint, "access_token": token}},
        }));
        claims.as_object_mut().unwrap().remove("groups");
        tokens::sign(&claims, &issuer.key).unwrap()
    };
    let given = |changes| *issuer.groups.lock().unwrap() = issuer.token(changes);
    given(json!({"groups": ["x"]}));
    let found = ask(&all, &elsewhere(1, "secret")).await.unwrap().unwrap();
    assert_eq!(found.user.groups, ["oidc:x"]);
    // Groups that stand in the token are not looked for.
    let token = issuer.token(json!({"_claim_names": {"groups": "s1"}, "jti": "2"}));
    let found = ask(&all, &token).await.unwrap().unwrap();
    assert_eq!(found.user.groups, ["oidc:a", "oidc:b"]);

    let refused = async |token: &str| ask(&all, token).await.unwrap_err();
    let expand = "oidc: could not expand distributed claims: ";
    let error = refused(&elsewhere(3, "wrong")).await;
    let wanted = format!("{expand}while getting distributed claim \"groups\": ");
    assert!(error.starts_with(&wanted), "{error}");
    given(json!({"groups": ["x"], "aud": "other"}));
    let error = refused(&elsewhere(4, "secret")).await;
    let wanted = format!("{expand}verify distributed claim token: oidc: expected audience in");
    assert!(error.starts_with(&wanted), "{error}");
    let forger = new_key();
    let forged = tokens::sign(&issuer.claims(json!({})), &forger).unwrap();
    *issuer.groups.lock().unwrap() = forged;
    let error = refused(&elsewhere(5, "secret")).await;
    let wanted = format!("{expand}verify distributed claim token: failed to verify");
    assert!(error.starts_with(&wanted), "{error}");
    for (garbage, wanted) in [
        ("", "malformed token"),
        ("a.b.c", "malformed token"),
        ("\u{1}", "malformed token"),
    ] {
        garbage.clone_into(&mut issuer.groups.lock().unwrap());
        let error = refused(&elsewhere(6, "secret")).await;
        assert!(error.contains(wanted), "{error}");
    }
    let token = issuer.token(json!({"groups": ["x"]}));
    let mut claims = issuer.claims(json!({"_claim_names": {"groups": "s1"}}));
    claims.as_object_mut().unwrap().remove("groups");
    let unnamed = tokens::sign(&claims, &issuer.key).unwrap();
    assert_eq!(
        refused(&unnamed).await,
        format!("{expand}oidc: no claim sources")
    );
    claims["_claim_sources"] = json!({"s2": {"JWT": token}});
    let missing = tokens::sign(&claims, &issuer.key).unwrap();
    assert!(
        refused(&missing)
            .await
            .contains("source s1 missing in _claims_sources")
    );
}
