use async_trait::async_trait;

use super::*;
use crate::{
    authz::{AlwaysAllow, Attributes, Decision},
    user::AUTHENTICATED,
};

/// Allows what is listed, as `verb resource/subresource name`.
struct Allows(&'static [&'static str]);

#[async_trait]
impl Authorizer for Allows {
    async fn authorize(&self, attributes: Attributes<'_>) -> (Decision, String) {
        let request = attributes.request;
        let mut resource = request.resource.clone();
        if !request.subresource.is_empty() {
            resource = format!("{resource}/{}", request.subresource);
        }
        let asked = format!("{} {resource} {}", request.verb, request.name);
        let allowed = self.0.contains(&asked.trim());
        let decision = if allowed {
            Decision::Allow
        } else {
            Decision::NoOpinion
        };
        (decision, String::new())
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn list_pods() -> RequestInfo {
    RequestInfo {
        is_resource: true,
        verb: "list".to_owned(),
        resource: "pods".to_owned(),
        ..RequestInfo::default()
    }
}

async fn act(
    allows: &'static [&'static str],
    pairs: &[(&'static str, &str)],
) -> Result<Impersonated, Status> {
    let asker = UserInfo {
        name: "system:serviceaccount:ci:agent".to_owned(),
        extra: [(
            "authentication.kubernetes.io/node-name".to_owned(),
            vec!["n1".to_owned()],
        )]
        .into(),
        ..UserInfo::default()
    };
    Impersonator::new(Arc::new(Allows(allows)), metrics())
        .impersonate(&mut headers(pairs), &asker, &list_pods())
        .await
        .map(Option::unwrap)
}

#[tokio::test]
async fn parts_are_taken_from_the_headers() {
    let mut headers = headers(&[
        ("impersonate-user", "system:serviceaccount:ns:sa"),
        ("impersonate-extra-example.com%2fscope", "a"),
    ]);
    let impersonator = Impersonator::new(Arc::new(AlwaysAllow), metrics());
    let user = impersonator
        .impersonate(&mut headers, &UserInfo::default(), &list_pods())
        .await
        .unwrap()
        .unwrap()
        .user;
    let expected = [
        "system:serviceaccounts",
        "system:serviceaccounts:ns",
        AUTHENTICATED,
    ];
    assert_eq!(user.groups, expected);
    assert_eq!(user.extra["example.com/scope"], ["a"]);
    assert!(headers.is_empty());
}

#[tokio::test]
async fn nothing_goes_without_a_user() {
    let refusal = act(&[], &[("impersonate-group", "g")]).await.unwrap_err();
    assert_eq!(refusal.code, 400);
    assert_eq!(
        refusal.message,
        "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"g\"}, Extra:map[string][]string(nil)} without impersonating a user name"
    );
}

#[tokio::test]
async fn a_constrained_asker_needs_the_action_and_the_identity() {
    let alice = &[("impersonate-user", "alice")];
    let found = act(
        &[
            "impersonate-on:user-info:list pods",
            "impersonate:user-info users alice",
        ],
        alice,
    )
    .await
    .unwrap();
    assert_eq!(found.constraint.as_deref(), Some("impersonate:user-info"));
    assert_eq!(found.user.groups, [AUTHENTICATED]);
    for missing in [
        &["impersonate:user-info users alice"][..],
        &["impersonate-on:user-info:list pods"],
        &[
            "impersonate-on:user-info:get pods",
            "impersonate:user-info users alice",
        ],
    ] {
        assert_eq!(act(missing, alice).await.unwrap_err().code, 403);
    }
    let found = act(&["impersonate users alice"], alice).await.unwrap();
    assert_eq!(found.constraint, None);
}

#[tokio::test]
async fn the_first_refusal_is_told() {
    let refusal = act(&[], &[("impersonate-user", "alice")])
        .await
        .unwrap_err();
    assert_eq!(
        refusal.message,
        "pods is forbidden: User \"system:serviceaccount:ci:agent\" cannot impersonate-on:user-info:list resource \"pods\" in API group \"\" at the cluster scope"
    );
}

#[tokio::test]
async fn a_pod_may_be_its_own_node_but_no_other() {
    let allowed = &[
        "impersonate-on:associated-node:list pods",
        "impersonate:associated-node nodes *",
    ];
    let found = act(allowed, &[("impersonate-user", "system:node:n1")])
        .await
        .unwrap();
    assert_eq!(found.user.name, "system:node:n1");
    assert_eq!(found.user.groups, ["system:nodes", AUTHENTICATED]);
    for others in [
        &[("impersonate-user", "system:node:n2")][..],
        &[
            ("impersonate-user", "system:node:n1"),
            ("impersonate-group", "system:masters"),
        ],
    ] {
        assert_eq!(act(allowed, others).await.unwrap_err().code, 403);
    }
}

#[tokio::test]
async fn nobody_becomes_a_superuser_by_a_constrained_way() {
    let pairs = &[
        ("impersonate-user", "alice"),
        ("impersonate-group", "system:masters"),
    ];
    let constrained = &[
        "impersonate-on:user-info:list pods",
        "impersonate:user-info users alice",
        "impersonate:user-info groups system:masters",
    ];
    let refusal = act(constrained, pairs).await.unwrap_err();
    assert!(
        refusal
            .message
            .ends_with("impersonating the system:masters group is not allowed")
    );
    let legacy = &[
        "impersonate users alice",
        "impersonate groups system:masters",
    ];
    assert!(act(legacy, pairs).await.is_ok());
}

fn metrics() -> ImpersonationMetrics {
    ImpersonationMetrics::new(&base::metrics::Registry::new())
}
