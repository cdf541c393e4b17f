use super::*;

fn open_api() -> OpenApi {
    OpenApi::new(
        api::kinds::TABLE,
        "test",
        HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"),
    )
}

fn ask(path: &str, query: &str) -> Response<Body> {
    open_api()
        .respond(&Method::GET, path, &HeaderMap::new(), &Query::parse(query))
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
    let document = v3::document("api/v1", api::kinds::TABLE);
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
fn types_and_fields_say_what_they_are() {
    let document = v3::document("api/v1", api::kinds::TABLE);
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
    let v2 = v2::document(api::kinds::TABLE);
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
