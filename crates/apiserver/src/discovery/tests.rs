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

/// As `kubectl` asks.
const AGGREGATED_JSON: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[test]
fn the_best_clause_that_asks_for_the_aggregated_form_decides() {
    let discovery = discovery();
    let answer = |path: &str, accept: &str| {
        let (headers, query) = (accepting(accept), Query::default());
        let answer = discovery.respond(&Method::GET, path, &headers, &query);
        match answer.unwrap() {
            Ok(response) => response.headers()[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .to_owned(),
            Err(status) => status.code.to_string(),
        }
    };
    let v2 = AGGREGATED_JSON;
    let v9 = v2.replace("v=v2", "v=v9");
    let [yaml, protobuf] = [Encoding::Yaml, Encoding::Protobuf]
        .map(|e| v2.replace("application/json", e.media_type()));
    let any = v2.replace("application/json", "*/*");
    let range = v2.replace("application/json", "application/*");
    for (path, accept, expected) in [
        ("/apis", v2, v2),
        ("/apis", &format!("{v2},application/json"), v2),
        ("/apis", &format!("{v2};profile=nopeer"), v2),
        ("/apis", &format!("{v9},application/json,{v2}"), v2),
        (
            "/apis",
            &format!("{v9},application/json"),
            "application/json",
        ),
        ("/apis", &v9, "406"),
        ("/apis", "application/json", "application/json"),
        ("/apis", "*/*", "application/json"),
        ("/apis", &yaml, &yaml),
        ("/apis", &protobuf, &protobuf),
        ("/apis", &format!("{yaml},{v2}"), &yaml),
        ("/apis", &format!("application/yaml,{any}"), v2),
        ("/apis", &any, v2),
        ("/apis", &range, v2),
        ("/api", &any, v2),
        ("/api/", v2, v2),
        // The route takes no such range, and what lies below `/apis/` knows the older form only.
        ("/api", &range, "406"),
        ("/apis/", v2, "406"),
        (
            "/apis/",
            &format!("{v2},application/json"),
            "application/json",
        ),
    ] {
        assert_eq!(answer(path, accept), expected, "{path} {accept}");
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
    let mut headers = accepting(AGGREGATED_JSON);
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
