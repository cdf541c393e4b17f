//! A whole server in this process: patches of all sorts, and what is wrong with them, in upstream's order and words.

#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on fails by panicking, as a test does"
)]

mod cluster;

use cluster::Cluster;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// The code, the answer and its warnings.
type Answer = (StatusCode, Value, Vec<String>);

async fn patch(cluster: &Cluster, sort: &str, path: &str, text: &str) -> Answer {
    let media_type = match sort {
        "apply" => "application/apply-patch+yaml".to_owned(),
        sort => format!("application/{sort}+json"),
    };
    let headers = [("content-type", &*media_type)];
    let body = bytes::Bytes::from(text.to_owned()).into();
    let answer = cluster.call(Method::PATCH, path, &headers, body).await;
    let warnings = answer.headers().get_all("warning").iter();
    let warnings = warnings.map(|w| w.to_str().unwrap().to_owned()).collect();
    let code = answer.status();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (
        code,
        serde_json::from_slice(&bytes).unwrap_or_default(),
        warnings,
    )
}

async fn with_config_map(name: &str) -> (Cluster, String) {
    let cluster = Cluster::start().await;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}});
    cluster.create(CONFIG_MAPS, object).await;
    (cluster, format!("{CONFIG_MAPS}/{name}"))
}

/// Where nothing is to be told of the text, a library merges that says nothing of it either.
#[tokio::test]
async fn texts_of_merge_patches_are_told_of_to_those_who_ask() {
    let (cluster, path) = with_config_map("texts").await;
    for (text, lenient, strict) in [
        (
            "{",
            "Invalid JSON Patch",
            "error decoding patch: unexpected end of JSON input",
        ),
        (
            "nul",
            "Invalid JSON Patch",
            "error decoding patch: invalid character ' ' in literal null (expecting 'l')",
        ),
        (
            "5",
            "Invalid JSON Patch",
            "error decoding patch: json: cannot unmarshal number into Go value of type map[string]interface {}",
        ),
        ("null", "Invalid JSON Patch", "Invalid JSON Patch"),
    ] {
        for (validation, message) in [("Ignore", lenient), ("Strict", strict)] {
            let path = format!("{path}?fieldValidation={validation}");
            let (code, answer, _) = patch(&cluster, "merge-patch", &path, text).await;
            assert_eq!(code, StatusCode::BAD_REQUEST, "{text}");
            assert_eq!(answer["message"], message, "{text}");
        }
    }
    // A list takes the object's place, and is none.
    let path = format!("{path}?fieldValidation=Ignore");
    let (code, answer, _) = patch(&cluster, "merge-patch", &path, "[]").await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.contains("couldn't get version/kind; json parse error"),
        "{message}"
    );
    cluster.stop().await;
}

/// It is of the internal version then, which has no names for its fields.
#[tokio::test]
async fn without_a_version_no_field_is_known() {
    let (cluster, path) = with_config_map("versionless").await;
    let text = r#"{"apiVersion": null}"#;
    let (code, answer, warnings) = patch(&cluster, "merge-patch", &path, text).await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(
        warnings,
        [
            r#"299 - "unknown field \"data\"""#,
            r#"299 - "unknown field \"metadata\"""#
        ]
    );
    let strict = format!("{path}?fieldValidation=Strict");
    let (_, answer, _) = patch(&cluster, "merge-patch", &strict, text).await;
    let message = answer["message"].as_str().unwrap();
    assert!(
        message
            .ends_with(r#"strict decoding error: unknown field "data", unknown field "metadata""#),
        "{message}"
    );
    let text = r#"{"apiVersion": null, "kind": "Other"}"#;
    let (_, answer, _) = patch(&cluster, "merge-patch", &path, text).await;
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.ends_with(
            r#"no kind "Other" is registered for the internal version of group "" in scheme "pkg/api/legacyscheme/scheme.go:30""#
        ),
        "{message}"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn strategic_patches_are_shown_as_they_are_left_and_judged_in_the_order_of_fields() {
    let (cluster, path) = with_config_map("strategic").await;
    for (text, message) in [
        (
            r#"{"immutable": {"k": null}}"#,
            r#""map[immutable:map[]]": unrecognized type: bool"#,
        ),
        (
            r#"{"$patch": "merge"}"#,
            "unknown patch type: merge in map: map[$patch:merge]",
        ),
        (
            r#"{"metadata": {"creationTimestamp": [], "finalizers": {}}}"#,
            "json: cannot unmarshal array into Go value of type string",
        ),
    ] {
        let (_, answer, _) = patch(&cluster, "strategic-merge-patch", &path, text).await;
        let told = answer["message"].as_str().unwrap();
        assert!(told.ends_with(message), "{told}");
    }
    // Text is no set of fields, nor one of ours.
    let entry = json!({"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": "x"});
    let text = json!({"metadata": {"managedFields": [entry]}}).to_string();
    let replaced =
        json!([{"op": "replace", "path": "/metadata/managedFields", "value": [entry]}]).to_string();
    let (_, before) = cluster.get(&path).await;
    for (sort, text) in [
        ("strategic-merge-patch", &text),
        ("merge-patch", &text),
        ("json-patch", &replaced),
    ] {
        let (code, answer, _) = patch(&cluster, sort, &path, text).await;
        assert_eq!((code, &answer), (StatusCode::OK, &before), "{sort}");
    }
    cluster.stop().await;
}

/// Through the converter from trees to structs, as Go cuts numbers off.
#[tokio::test]
async fn numbers_that_are_too_great_are_cut_off_and_judged() {
    let cluster = Cluster::start().await;
    let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let object = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "p"}, "value": 5});
    cluster.create(path, object.clone()).await;
    let path = format!("{path}/p");
    let text = r#"{"value": 4294967301}"#;
    let (code, answer, _) = patch(&cluster, "strategic-merge-patch", &path, text).await;
    assert_eq!((code, &answer["value"]), (StatusCode::OK, &json!(5)));
    let (code, _, _) = patch(&cluster, "merge-patch", &path, text).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let mut applied = object;
    applied["value"] = json!(4_294_967_301_i64);
    let path = format!("{path}?fieldManager=m&force=true");
    let (code, answer, _) = patch(&cluster, "apply", &path, &applied.to_string()).await;
    assert_eq!((code, &answer["value"]), (StatusCode::OK, &json!(5)));
    cluster.stop().await;
}

#[tokio::test]
async fn whoever_has_no_name_is_unknown() {
    let (cluster, path) = with_config_map("unknown").await;
    let headers = [
        ("content-type", "application/merge-patch+json"),
        ("user-agent", ""),
    ];
    let body = Some(json!({"data": {"k": "w"}}));
    let answer = cluster.send(Method::PATCH, &path, &headers, body).await;
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    let managers = answer["metadata"]["managedFields"].as_array().unwrap();
    assert!(
        managers.iter().any(|entry| entry["manager"] == "unknown"),
        "{answer}"
    );
    cluster.stop().await;
}

async fn with_widget(spec: Value) -> Cluster {
    let cluster = Cluster::start().await;
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer"}, "any": {"x-kubernetes-preserve-unknown-fields": true},
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
    }});
    let scale =
        json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    let version = json!({
        "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": scale},
    });
    cluster
        .define(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced", "versions": [version],
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            },
        }))
        .await;
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec});
    cluster.create(WIDGETS, widget).await;
    cluster
}

#[tokio::test]
async fn what_is_of_no_type_may_be_anything_to_who_applies() {
    let cluster = with_widget(json!({})).await;
    let path = format!("{WIDGETS}/w?fieldManager=m");
    for any in [json!([1, {"a": "b"}]), json!("x"), json!({"a": [1]})] {
        let config =
            json!({"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"any": any}})
                .to_string();
        let (code, answer, _) = patch(&cluster, "apply", &path, &config).await;
        assert_eq!((code, &answer["spec"]["any"]), (StatusCode::OK, &any));
    }
    cluster.stop().await;
}

/// Those of who creates are dropped.
#[tokio::test]
async fn nulls_that_are_applied_to_custom_resources_are_judged() {
    let cluster = with_widget(json!({"replicas": null})).await;
    let config =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"replicas": null}});
    let path = format!("{WIDGETS}/w?fieldManager=m");
    let (code, answer, _) = patch(&cluster, "apply", &path, &config.to_string()).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let message = answer["message"].as_str().unwrap();
    let told = r#"spec.replicas: Invalid value: "null": spec.replicas in body must be of type integer: "null""#;
    assert!(message.contains(told), "{message}");
    cluster.stop().await;
}

/// What a patched custom resource says it is, is asked when all of it has been read.
#[tokio::test]
async fn custom_resources_are_read_before_they_are_asked_what_they_are() {
    let cluster = with_widget(json!({})).await;
    let path = format!("{WIDGETS}/w");
    let text = r#"{"apiVersion": null, "metadata": {"finalizers": 5}}"#;
    let (code, answer, _) = patch(&cluster, "merge-patch", &path, text).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    let text = r#"[{"op": "remove", "path": "/apiVersion", "extra": 1}]"#;
    let (code, answer, warnings) = patch(&cluster, "json-patch", &path, text).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
    assert_eq!(
        warnings,
        [r#"299 - "json patch unknown field \"[0].extra\"""#]
    );
    // Through the status it may say what it likes.
    let text = r#"{"kind": "Other", "status": {"replicas": 1}}"#;
    for (subresource, code) in [
        ("", StatusCode::UNPROCESSABLE_ENTITY),
        ("/status", StatusCode::OK),
    ] {
        let path = format!("{path}{subresource}");
        let (answered, answer, _) = patch(&cluster, "merge-patch", &path, text).await;
        assert_eq!(answered, code, "{answer}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn nobody_owns_metadata_through_the_status_of_a_custom_resource() {
    let cluster = with_widget(json!({})).await;
    let config = json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"labels": {"l": "v"}}, "status": {"replicas": 1},
    });
    let path = format!("{WIDGETS}/w/status?fieldManager=m");
    let (code, answer, _) = patch(&cluster, "apply", &path, &config.to_string()).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    let entries = answer["metadata"]["managedFields"].as_array().unwrap();
    let own = entries
        .iter()
        .find(|entry| entry["manager"] == "m")
        .unwrap();
    assert_eq!(own["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
    cluster.stop().await;
}

/// Upstream cannot make a custom resource of a Scale: what is applied to one may say what is so, and no more.
#[tokio::test]
async fn the_scale_of_a_custom_resource_may_be_applied_as_it_is() {
    let cluster = with_widget(json!({"replicas": 2})).await;
    let scale = |replicas: i64| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w"}, "spec": {"replicas": replicas}}).to_string()
    };
    let unconvertible = "failed to convert new object (/w; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1";
    for (query, text, code, message) in [
        (
            "",
            scale(2),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            "?fieldManager=m",
            "{}".to_owned(),
            400,
            "invalid object type: /, Kind=",
        ),
        (
            "?fieldManager=m",
            scale(3),
            409,
            "Apply failed with 1 conflict: conflict with \"test\" using autoscaling/v1: .spec.replicas",
        ),
        ("?fieldManager=m&force=true", scale(3), 500, unconvertible),
        ("?fieldManager=m", scale(2), 200, ""),
    ] {
        let path = format!("{WIDGETS}/w/scale{query}");
        let (status, answer, _) = patch(&cluster, "apply", &path, &text).await;
        let told = answer["message"].as_str().unwrap_or_default();
        assert_eq!((status.as_u16(), told), (code, message));
    }
    let (_, widget) = cluster.get(&format!("{WIDGETS}/w")).await;
    let own = &widget["metadata"]["managedFields"][0];
    assert_eq!(
        (&own["manager"], &own["subresource"], &own["fieldsV1"]),
        (
            &json!("m"),
            &json!("scale"),
            &json!({"f:spec": {"f:replicas": {}}})
        )
    );
    // Which version it is of need not be said.
    let path = format!("{WIDGETS}/w/scale");
    for (text, code) in [
        (
            r#"{"apiVersion": null, "spec": {"replicas": 4}}"#,
            StatusCode::OK,
        ),
        (
            r#"{"apiVersion": "", "kind": "Foo"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let (answered, answer, warnings) = patch(&cluster, "merge-patch", &path, text).await;
        assert_eq!(answered, code, "{answer}");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    // What a patch is, is asked before its options are.
    let path = format!("{WIDGETS}/w/scale?force=true");
    let (code, _, _) = patch(&cluster, "strategic-merge-patch", &path, "{}").await;
    assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    cluster.stop().await;
}
