use http::header::ACCEPT;

use super::*;

fn discovery() -> Discovery {
    let rows = Arc::new(api::served::built_in().to_vec());
    let none = Arc::default();
    Discovery::new(
        move || Arc::clone(&rows),
        move || Arc::clone(&none),
        "127.0.0.1:6443",
    )
}

fn accepting(accept: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, accept.parse().unwrap());
    headers
}

#[test]
fn the_first_clause_that_fits_decides() {
    let v2 = AGGREGATED;
    let v9 = AGGREGATED.replace("v=v2", "v=v9");
    for (accept, expected) in [
        (v2.to_owned(), true),
        (format!("{v2},application/json"), true),
        (format!("{v2};profile=nopeer"), true),
        (format!("{v9},application/json,{v2}"), false),
        ("application/json".to_owned(), false),
        ("*/*".to_owned(), false),
    ] {
        assert_eq!(wants_aggregated(&accepting(&accept)), expected, "{accept}");
    }
}

#[test]
fn a_known_etag_is_answered_without_a_body() {
    let discovery = discovery();
    let ask = |headers: &HeaderMap| {
        discovery
            .respond(&Method::GET, "/apis", headers, &Query::default())
            .unwrap()
            .unwrap()
    };
    let mut headers = accepting(AGGREGATED);
    let first = ask(&headers);
    assert_eq!(first.status(), StatusCode::OK);
    headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
    assert_eq!(ask(&headers).status(), StatusCode::NOT_MODIFIED);
}

#[test]
fn the_storage_version_hash_is_upstreams() {
    let document = discovery().documents().legacy("/api/v1", "").unwrap();
    let (document, _) = document.as_ref();
    let config_maps = crate::lookup::objects(document, &["resources"])
        .find(|entry| crate::lookup::text(entry, &["name"]) == "configmaps")
        .unwrap();
    assert_eq!(
        crate::lookup::text(config_maps, &["storageVersionHash"]),
        "qFsyl6wFWjQ="
    );
}

#[test]
fn other_paths_and_methods() {
    let discovery = discovery();
    let ask = |method: Method, path: &str| {
        discovery.respond(&method, path, &HeaderMap::new(), &Query::default())
    };
    assert_eq!(
        ask(Method::GET, "/apis/apps/v0").unwrap().unwrap_err().code,
        404
    );
    assert!(ask(Method::GET, "/apis/nosuch.example.com").is_none());
    assert!(ask(Method::GET, "/apis/apps/v1/deployments").is_none());
    assert!(ask(Method::GET, "/apis/apps/v1/").unwrap().is_ok());
    // A version has a route of its own; the list of groups cares for no method, as upstream.
    let refused = ask(Method::POST, "/apis/apps/v1").unwrap();
    assert_eq!(refused.unwrap_err().code, 405);
    assert!(ask(Method::POST, "/apis").unwrap().is_ok());
}

#[test]
fn groups_come_in_the_order_of_their_priority() {
    let remote = |group: &str, version: &str, group_priority, version_priority| RemoteVersion {
        group: group.to_owned(),
        version: version.to_owned(),
        group_priority,
        version_priority,
        resources: Arc::default(),
        fresh: true,
    };
    let remote = vec![
        remote("late.example.com", "v1", 10, 1),
        remote("early.example.com", "v1beta1", 17790, 20),
        remote("early.example.com", "v1", 100, 10),
    ];
    let groups = priority::versions_by_group(api::served::built_in(), &remote);
    let names: Vec<&str> = groups.iter().map(|(group, _)| *group).collect();
    // Nothing comes before the way by which others come; after `apps` with 17800 there is room.
    assert_eq!(names[0], "apiregistration.k8s.io");
    let apps = names.iter().position(|name| *name == "apps").unwrap();
    assert_eq!(names[apps + 1], "early.example.com");
    assert_eq!(groups[apps + 1].1, ["v1beta1", "v1"]);
    assert_eq!(names.last(), Some(&"late.example.com"));
}
