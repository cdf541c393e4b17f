//! Objects with long lists are judged in time that grows with their length and not with its square: three megabytes of a body hold tens of
//! thousands of items, and while one object is judged others wait.

#![allow(
    clippy::unwrap_used,
    reason = "what the test stands on fails by panicking, as a test does"
)]

use std::fs;

use api::kinds::TABLE;
use apimachinery::Object;
use serde_json::{Value, json};

/// What an object of so many items needs that has a list of `long`, beside one that has a quarter of them: 4 if time grows with the length, 16
/// if it grows with the square.
const MOST: f64 = 9.0;
const LONG: usize = 16_000;
/// What the clock may miss.
const CLOCK: f64 = 10e6;

/// CPU time of this thread.
fn nanoseconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

fn judged(resource: &str, rest: &Value) -> f64 {
    let row = TABLE
        .iter()
        .find(|row| row.gvr.resource == resource && row.gvr.version == "v1")
        .expect("a built-in kind");
    let mut object: Object = rest.as_object().cloned().unwrap_or_default();
    object.insert("kind".into(), row.gvk.kind.as_ref().into());
    if !object.contains_key("metadata") {
        let metadata = json!({"name": "a", "namespace": "n", "uid": "u"});
        object.insert("metadata".into(), metadata);
    }
    let before = nanoseconds();
    row.strategy.default(&mut object);
    row.strategy.prepare_for_create(&mut object);
    api::meta::remove_duplicate_owner_references(&mut object);
    let mut errors = api::meta::validate_any(&object, true);
    errors.extend(row.strategy.validate(&object));
    row.strategy.warnings(&object, None);
    let _ = apimachinery::status::aggregate(&errors);
    nanoseconds() - before
}

fn list(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

fn pod(spec: Value) -> Value {
    let mut whole = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}});
    let more = spec.as_object().cloned().unwrap_or_default();
    whole["spec"].as_object_mut().unwrap().extend(more);
    whole
}

fn container(member: &str, items: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i"});
    container[member] = items;
    pod(json!({"containers": [container]}))
}

type Case = (&'static str, &'static str, fn(usize) -> Value);

const CASES: &[Case] = &[
    ("owner references", "configmaps", |n| {
        let reference =
            |i| json!({"apiVersion": "v1", "kind": "P", "name": "x", "uid": format!("{i}")});
        json!({"metadata": {"name": "a", "ownerReferences": list(n, reference)}})
    }),
    ("labels that are wrong", "configmaps", |n| {
        let labels: Object = (0..n).map(|i| (format!("-{i}"), "v".into())).collect();
        json!({"metadata": {"name": "a", "namespace": "n", "labels": labels}})
    }),
    ("containers", "pods", |n| {
        let named = |i| json!({"name": format!("c{i}"), "image": "i"});
        pod(json!({"containers": list(n / 4, named)}))
    }),
    ("init containers", "pods", |n| {
        let named = |i| json!({"name": format!("i{i}"), "image": "i"});
        pod(json!({"initContainers": list(n / 4, named)}))
    }),
    ("volumes", "pods", |n| {
        let named = |i| json!({"name": format!("v{i}"), "emptyDir": {}});
        pod(json!({"volumes": list(n, named)}))
    }),
    ("mounts", "pods", |n| {
        let mount = |i| json!({"name": "v", "mountPath": format!("/{i}")});
        container("volumeMounts", list(n, mount))
    }),
    ("ports", "pods", |n| {
        let port = |i| json!({"name": format!("p{i}"), "containerPort": i + 1, "hostPort": i + 1});
        container("ports", list(n, port))
    }),
    ("environment", "pods", |n| {
        let variable = |i| json!({"name": format!("e{i}"), "value": "x"});
        container("env", list(n, variable))
    }),
    ("spreading", "pods", |n| {
        let constraint = |i| json!({"maxSkew": 1, "topologyKey": format!("k{i}"), "whenUnsatisfiable": "DoNotSchedule"});
        pod(json!({"topologySpreadConstraints": list(n, constraint)}))
    }),
    ("gates", "pods", |n| {
        let gate = |i| json!({"name": format!("a.b/{i}")});
        pod(json!({"schedulingGates": list(n, gate)}))
    }),
    ("host aliases", "pods", |n| {
        let alias = |i| json!({"ip": format!("1.1.{}.{}", i / 256, i % 256), "hostnames": ["h"]});
        pod(json!({"hostAliases": list(n, alias)}))
    }),
    ("pull secrets", "pods", |n| {
        let secret = |i| json!({"name": format!("s{i}")});
        pod(json!({"imagePullSecrets": list(n, secret)}))
    }),
    ("claims to devices", "pods", |n| {
        let claim = |i| json!({"name": format!("c{i}"), "resourceClaimName": "x"});
        pod(json!({"resourceClaims": list(n, claim)}))
    }),
    ("sysctls", "pods", |n| {
        let sysctl = |i| json!({"name": format!("a.b{i}"), "value": "1"});
        pod(json!({"securityContext": {"sysctls": list(n, sysctl)}}))
    }),
    ("ports of a service", "services", |n| {
        let port = |i| json!({"name": format!("p{i}"), "port": i + 1, "protocol": "TCP"});
        json!({"spec": {"clusterIP": "1.2.3.4", "ports": list(n, port)}})
    }),
    ("taints", "nodes", |n| {
        let taint = |i| json!({"key": format!("k{i}"), "effect": "NoSchedule"});
        json!({"metadata": {"name": "a"}, "spec": {"taints": list(n, taint)}})
    }),
];

#[test]
fn long_lists_take_time_in_proportion() {
    let mut found = Vec::new();
    for (name, resource, object) in CASES {
        let ratio = || {
            let short = judged(resource, &object(LONG / 4));
            judged(resource, &object(LONG)) / short.max(CLOCK)
        };
        // A page fault or an interrupt in the short run is no growth.
        let least = (0..3).map(|_| ratio()).fold(f64::INFINITY, f64::min);
        if least > MOST {
            found.push(format!(
                "{name}: {least:.1} times as long for four times as many"
            ));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// How many bytes its complaints show.
fn shown(resource: &str, object: &Value) -> usize {
    let row = TABLE
        .iter()
        .find(|row| row.gvr.resource == resource && row.gvr.version == "v1")
        .expect("a built-in kind");
    let object = object.as_object().unwrap();
    let mut errors = api::meta::validate_any(object, true);
    errors.extend(row.strategy.validate(object));
    let shown = errors.iter().map(|error| error.body().len()).sum();
    assert!(shown > 0, "{resource} is refused");
    shown
}

#[test]
fn complaints_that_each_show_a_whole_list_have_a_bound() {
    let controller = |i| json!({"apiVersion": "v1", "kind": "P", "name": "x", "uid": format!("{i}"), "controller": true});
    let owned = json!({"metadata": {"name": "a", "ownerReferences": list(LONG, controller)}});
    assert!(shown("configmaps", &owned) < 32 << 20);
    let claim = |i| json!({"name": format!("c{i}"), "resourceClaimName": "x"});
    let other = |i| json!({"name": format!("d{i}")});
    let mut pod = container("resources", json!({"claims": list(LONG, other)}));
    pod["spec"]["resourceClaims"] = list(LONG, claim);
    assert!(shown("pods", &pod) < 32 << 20);
}
