use super::*;

fn open_api() -> OpenApi {
    OpenApi::new(
        api::served::built_in(),
        "test",
        HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"),
    )
}

fn ask(path: &str, query: &str) -> Response<Body> {
    open_api()
        .respond(path, &HeaderMap::new(), &Query::parse(query))
        .unwrap()
        .unwrap()
}

#[test]
fn every_reference_has_a_schema() {
    let open_api = open_api();
    for name in open_api.documents.keys() {
        let document = v3::document(name, &open_api.rows);
        let schemas = document["components"]
            .get("schemas")
            .cloned()
            .unwrap_or_default();
        let text = document.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let referred = reference.split('"').next().unwrap();
            assert!(schemas.get(referred).is_some(), "{name}: {referred}");
        }
        assert!(!document["paths"].as_object().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn a_pod_is_described() {
    let document = v3::document("api/v1", api::served::built_in());
    let container = &document["components"]["schemas"]["io.k8s.api.core.v1.Container"];
    assert_eq!(container["required"], json!(["name"]));
    let ports = &container["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
    assert_eq!(
        ports["x-kubernetes-list-map-keys"],
        json!(["containerPort", "protocol"])
    );
    let read = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["get"];
    assert_eq!(read["operationId"], "readCoreV1NamespacedPod");
    assert_eq!(read["x-kubernetes-group-version-kind"]["kind"], "Pod");
}

#[test]
fn what_a_value_may_be_is_told_where_it_stands() {
    let document = v3::document("api/v1", api::served::built_in());
    let of = |name: &str| &document["components"]["schemas"][format!("io.k8s.api.core.v1.{name}")];
    let modes = &of("PersistentVolumeSpec")["properties"]["accessModes"];
    assert_eq!(modes.get("enum"), None);
    assert_eq!(modes["items"]["enum"][0], "ReadOnlyMany");
    let claim = &of("PersistentVolumeSpec")["properties"]["claimRef"];
    assert_eq!(claim["x-kubernetes-map-type"], "granular");
    let union = json!([{"discriminator": "type", "fields-to-discriminateBy": {"localhostProfile": "LocalhostProfile"}}]);
    assert_eq!(of("SeccompProfile")["x-kubernetes-unions"], union);
    let signals = &of("Lifecycle")["properties"]["stopSignal"]["enum"];
    assert!(signals.as_array().unwrap().contains(&json!("SIGRTMIN+1")));
    // Left out where it is empty, and by default empty.
    assert_eq!(
        of("LocalObjectReference")["properties"]["name"]["default"],
        ""
    );
    let certificates = v3::document("apis/certificates.k8s.io/v1", api::served::built_in());
    let usages = &certificates["components"]["schemas"]["io.k8s.api.certificates.v1.CertificateSigningRequestSpec"]
        ["properties"]["usages"];
    assert_eq!(usages["items"]["enum"][1], "cert sign");
}

#[test]
fn types_and_fields_say_what_they_are() {
    let document = v3::document("api/v1", api::served::built_in());
    let schemas = &document["components"]["schemas"];
    let said = |schema: &Value| {
        schema["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let pod = &schemas["io.k8s.api.core.v1.Pod"];
    assert!(said(pod).starts_with("Pod is "));
    // Beside a reference.
    assert!(said(&pod["properties"]["spec"]).starts_with("Specification "));
    let list = &schemas["io.k8s.api.core.v1.PodList"];
    assert!(said(list).contains("kind Pod"));
    assert_eq!(
        said(&list["properties"]["kind"]),
        said(&pod["properties"]["kind"])
    );
    let container = &schemas["io.k8s.api.core.v1.Container"];
    let policy = said(&container["properties"]["imagePullPolicy"]);
    assert!(policy.contains("\n - `\"IfNotPresent\"`"), "{policy}");
    // References stand alone in v2, but for what is said of them.
    let v2 = v2::document(api::served::built_in(), &[], Vec::new());
    let spec = &v2["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"];
    assert_eq!(said(spec), said(&pod["properties"]["spec"]));
    assert_eq!(spec["$ref"], "#/definitions/io.k8s.api.core.v1.PodSpec");
}

#[test]
fn an_older_hash_is_sent_on() {
    let index = ask("/openapi/v3", "");
    assert_eq!(index.status(), StatusCode::OK);
    let moved = ask("/openapi/v3/apis/apps/v1", "hash=OLD");
    assert_eq!(moved.status(), StatusCode::MOVED_PERMANENTLY);
    let location = moved.headers()[header::LOCATION]
        .to_str()
        .unwrap()
        .to_owned();
    let (path, query) = location.split_once('?').unwrap();
    let found = ask(path, query);
    assert_eq!(found.status(), StatusCode::OK);
    assert_eq!(found.headers()[header::CACHE_CONTROL], "public, immutable");
    assert_eq!(
        ask("/openapi/v3/apis/nosuch/v1", "").status(),
        StatusCode::NOT_FOUND
    );
}

#[test]
fn documents_come_in_two_encodings() {
    let open_api = open_api();
    for (path, name) in [("/openapi/v2", "v2"), ("/openapi/v3/apis/apps/v1", "v3")] {
        let ask = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            let query = Query::parse("");
            let answer = open_api.respond(path, &headers, &query);
            let answer = answer.unwrap().unwrap();
            let media_type = answer.headers().get(header::CONTENT_TYPE);
            let media_type = media_type.map(|value| value.to_str().unwrap().to_owned());
            (answer.status().as_u16(), media_type)
        };
        let json = (200, Some(JSON.to_owned()));
        let media_type = format!("application/com.github.proto-openapi.spec.{name}.v1.0+protobuf");
        let older = media_type.replace(".v1.0", "@v1.0");
        let protobuf = (200, Some(media_type.clone()));
        assert_eq!(ask("*/*"), json);
        assert_eq!(ask("text/html, application/json;q=0.9, */*;q=0.8"), json);
        assert_eq!(ask(&media_type), protobuf);
        assert_eq!(ask(&older), protobuf);
        assert_eq!(ask(&format!("application/json;q=0.5,{older}")), protobuf);
        assert_eq!(ask("text/html"), (406, None));
    }
}

#[derive(Debug)]
struct Nothing;

impl api::Strategy for Nothing {}

fn widgets(kind: &str) -> Arc<ServedResource> {
    let gvk = apimachinery::gvk::GroupVersion::new("example.com", "v1").kind(kind.to_owned());
    Arc::new(ServedResource {
        gvr: gvk
            .group_version()
            .resource(format!("{}s", kind.to_lowercase())),
        list_kind: format!("{kind}List").into(),
        singular: kind.to_lowercase().into(),
        scope: api::Scope::Namespaced,
        short_names: Vec::new(),
        categories: Vec::new(),
        verbs: api::kind::verbs::ALL,
        subresources: Vec::new(),
        storage: None,
        strategy: api::StrategyRef::Shared(Arc::new(Nothing)),
        gvk,
    })
}

fn definition(name: &str) -> Option<Object> {
    let kind = match name {
        "widgets.example.com" => "Widget",
        "gadgets.example.com" => "Gadget",
        _ => return None,
    };
    let value = json!({"spec": {
        "group": "example.com",
        "names": {"plural": format!("{}s", kind.to_lowercase()), "kind": kind, "listKind": format!("{kind}List")},
        "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}}]}});
    value.as_object().cloned()
}

#[test]
fn what_users_define_is_described_while_it_is_served() {
    let served = Arc::new(std::sync::Mutex::new(Arc::new(vec![widgets("Widget")])));
    let rows = Arc::clone(&served);
    let open_api = open_api().with_custom(move || Arc::clone(&rows.lock().unwrap()), definition);
    let hash = || {
        let current = open_api.custom.current();
        let document = current.document("apis/example.com/v1");
        document.map(|d| d.document.hash.clone())
    };
    let current = open_api.custom.current();
    let custom = current.document("apis/example.com/v1").unwrap();
    let document = open_api.custom.v3(&custom.rows);
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        [
            "/apis/example.com/v1/namespaces/{namespace}/widgets",
            "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}",
            "/apis/example.com/v1/widgets",
        ]
    );
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in document.to_string().split("#/components/schemas/").skip(1) {
        let referred = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(referred), "{referred}");
    }
    assert!(schemas.contains_key("com.example.v1.Widget"));
    // The deletion of many is told with what lists take.
    let item = &document["paths"][paths[0].as_str()];
    let names = |method: &str| {
        let parameters = item[method]["parameters"].as_array().into_iter().flatten();
        parameters
            .map(|p| p["name"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("delete"), names("get"));
    assert!(item["delete"].get("requestBody").is_none());
    let options = &schemas["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"];
    let kinds = options["x-kubernetes-group-version-kind"]
        .as_array()
        .unwrap();
    assert_eq!(kinds.len(), 53);
    let before = hash();
    assert_eq!(hash(), before);
    let first = served.lock().unwrap()[0].clone();
    *served.lock().unwrap() = Arc::new(vec![first, widgets("Gadget")]);
    assert_ne!(hash(), before);
    *served.lock().unwrap() = Arc::new(Vec::new());
    assert_eq!(hash(), None);
}
