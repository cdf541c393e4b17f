//! Events as a whole: what a request's record becomes at each stage, and what of it is written.

use std::{sync::Mutex, time::Duration};

use apimachinery::status::Status;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{backend::MemorySink, *};
use crate::{authn::Peer, body::Body, request_info::RequestInfo, user::UserInfo};

fn batch(mode: Mode) -> BatchConfig {
    BatchConfig {
        mode,
        buffer_size: 2,
        max_size: 100,
        max_wait: Duration::from_secs(30),
        throttle: None,
        truncate: None,
    }
}

struct Fixture {
    audit: Arc<Audit>,
    written: Arc<Mutex<Vec<Vec<Bytes>>>>,
    tasks: TaskGroup,
    metrics: Registry,
}

impl Fixture {
    fn new(policy: &str, config: BatchConfig) -> Self {
        let metrics = Registry::new();
        let tasks = TaskGroup::new(&CancellationToken::new());
        let sink = MemorySink::default();
        let written = Arc::clone(&sink.0);
        let backend = Backend::start(
            "log",
            config,
            log::Format::Json,
            Box::new(sink),
            &metrics,
            &tasks,
        );
        let policy = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{policy}");
        let policy = Policy::parse(policy.as_bytes()).unwrap();
        let clock = Clock::manual("2026-01-02T03:04:05.678901Z".parse().unwrap());
        let audit = Arc::new(Audit::new(policy, vec![backend], &clock, &metrics));
        Self {
            audit,
            written,
            tasks,
            metrics,
        }
    }

    fn events(&self) -> Vec<Value> {
        let written = self.written.lock().unwrap();
        let events = written.iter().flatten();
        events
            .map(|event| serde_json::from_slice(event).unwrap())
            .collect()
    }
}

fn context(method: &str, uri: &str) -> Context {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("audit-id", "the-id")
        .header("user-agent", "kubectl/v1.36")
        .header("x-forwarded-for", "10.0.0.1, nonsense")
        .body(())
        .unwrap();
    let (parts, ()) = request.into_parts();
    let peer = Peer {
        address: Some("10.0.0.2:1234".parse().unwrap()),
        ..Peer::default()
    };
    let mut context = Context::new(&parts, peer);
    context.info = RequestInfo::parse(&parts.method, &parts.uri);
    context.user = UserInfo {
        name: "alice".to_owned(),
        groups: vec!["system:authenticated".to_owned()],
        ..UserInfo::default()
    };
    context
}

#[tokio::test]
async fn an_event_has_upstreams_fields() {
    let fixture = Fixture::new(
        "omitManagedFields: true\nrules: [{level: RequestResponse}]",
        batch(Mode::Blocking),
    );
    let mut context = context("POST", "/api/v1/namespaces/a/configmaps?dryRun=All");
    let record = fixture.audit.begin(&context).unwrap();
    fixture.audit.received(&record).await.unwrap();
    context.impersonator = Some(std::mem::replace(
        &mut context.user,
        UserInfo {
            name: "bob".to_owned(),
            ..UserInfo::default()
        },
    ));
    record.note(&context);
    context.annotate("authorization.k8s.io/decision", "allow");
    let object = json!({"metadata": {"name": "c", "managedFields": [{}]}});
    let request = Request::post("/").header("content-type", "application/json");
    let request = request.body(Body::from(object.to_string())).unwrap();
    let _ = record.listen_request(request, &context.info);
    let response = Response::builder().header("content-type", "application/json");
    let response = response.body(Body::from(object.to_string())).unwrap();
    let _ = record.listen_response(response);
    record.note_outcome(201, None);
    record.completed().await;
    let events = fixture.events();
    let mut expected = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "the-id",
        "stage": "RequestReceived", "requestURI": "/api/v1/namespaces/a/configmaps?dryRun=All", "verb": "create",
        "user": {"username": "alice", "groups": ["system:authenticated"]}, "sourceIPs": ["10.0.0.1", "10.0.0.2"],
        "userAgent": "kubectl/v1.36", "objectRef": {"resource": "configmaps", "namespace": "a", "apiVersion": "v1"},
        "requestReceivedTimestamp": "2026-01-02T03:04:05.678901Z", "stageTimestamp": "2026-01-02T03:04:05.678901Z",
    });
    assert_eq!(events[0], expected);
    expected["stage"] = json!("ResponseComplete");
    expected["impersonatedUser"] = json!({"username": "bob"});
    expected["authenticationMetadata"] = json!({});
    expected["objectRef"]["name"] = json!("c");
    expected["requestObject"] = json!({"metadata": {"name": "c"}});
    expected["responseObject"] = json!({"metadata": {"name": "c"}});
    expected["responseStatus"] = json!({"metadata": {}, "code": 201});
    expected["annotations"] = json!({"authorization.k8s.io/decision": "allow"});
    let mut found = events[1].clone();
    if found.get("authenticationMetadata").is_none() {
        found["authenticationMetadata"] = json!({});
    }
    assert_eq!(found, expected);
    fixture.tasks.shutdown().await;
}

#[tokio::test]
async fn a_refusal_is_written_with_its_status() {
    let fixture = Fixture::new(
        "omitStages: [RequestReceived]\nrules: [{level: Metadata}]",
        batch(Mode::Blocking),
    );
    let context = context("GET", "/api/v1/namespaces/a/pods/p");
    let record = fixture.audit.begin(&context).unwrap();
    fixture.audit.received(&record).await.unwrap();
    let status = Status::bad_request("no");
    record.note_outcome(400, Some(&status));
    record.completed().await;
    let unauthenticated = fixture.audit.begin(&context).unwrap();
    unauthenticated.note_unauthenticated(&context, &Status::unauthorized("Unauthorized"));
    unauthenticated.refused().await;
    let deletion = fixture.audit.begin(&context).unwrap();
    let deleted: Status =
        serde_json::from_value(json!({"kind": "Status", "status": "Success"})).unwrap();
    deletion.note_outcome(200, Some(&deleted));
    deletion.completed().await;
    let events = fixture.events();
    let refused = json!({"metadata": {}, "status": "Failure", "message": "no", "reason": "BadRequest", "code": 400});
    assert_eq!(events[0]["responseStatus"], refused);
    let unknown = json!({"metadata": {}, "status": "Failure", "message": "Authentication failed, no credentials provided", "code": 401});
    assert_eq!(
        (&events[1]["stage"], &events[1]["responseStatus"]),
        (&json!("ResponseStarted"), &unknown)
    );
    let deleted = json!({"metadata": {}, "status": "Success", "code": 200});
    assert_eq!(events[2]["responseStatus"], deleted);
    assert_eq!(events.len(), 3);
    fixture.tasks.shutdown().await;
}

#[tokio::test]
async fn a_full_buffer_loses_events_and_holds_up_nobody() {
    let fixture = Fixture::new("rules: [{level: Metadata}]", batch(Mode::Batch));
    let record = fixture.audit.begin(&context("GET", "/version")).unwrap();
    record.note_outcome(200, None);
    // Nothing is written before this task waits: two fit, one is lost.
    for _ in 0..3 {
        record.sent();
    }
    let shown = fixture.metrics.encode();
    assert!(
        shown.contains("apiserver_audit_error_total{plugin=\"log\"} 1"),
        "{shown}"
    );
    assert!(shown.contains("apiserver_audit_event_total 3"), "{shown}");
    // What is held is written at the end.
    fixture.tasks.shutdown().await;
    assert_eq!(fixture.events().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn batches_are_written_when_they_are_full_or_old() {
    let mut config = batch(Mode::Batch);
    (config.buffer_size, config.max_size) = (100, 3);
    let fixture = Fixture::new("rules: [{level: Metadata}]", config);
    let record = fixture.audit.begin(&context("GET", "/version")).unwrap();
    record.note_outcome(200, None);
    for _ in 0..4 {
        record.sent();
    }
    let sizes = || {
        fixture
            .written
            .lock()
            .unwrap()
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>()
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sizes(), [3]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(sizes(), [3, 1]);
    fixture.tasks.shutdown().await;
}

#[tokio::test]
async fn what_is_too_large_loses_its_objects() {
    let mut config = batch(Mode::Blocking);
    config.truncate = Some(Truncate {
        max_event_size: 1000,
        max_batch_size: 2000,
    });
    let fixture = Fixture::new("rules: [{level: Request}]", config);
    let context = context("POST", "/api/v1/namespaces/a/configmaps");
    let record = fixture.audit.begin(&context).unwrap();
    let object = json!({"metadata": {"name": "c"}, "data": {"k": "x".repeat(2000)}});
    let request = Request::post("/").header("content-type", "application/json");
    let request = request.body(Body::from(object.to_string())).unwrap();
    let _ = record.listen_request(request, &context.info);
    record.note_outcome(201, None);
    record.completed().await;
    let events = fixture.events();
    assert!(events[0].get("requestObject").is_none());
    assert_eq!(events[0]["annotations"]["audit.k8s.io/truncated"], "true");
    fixture.tasks.shutdown().await;
}

#[tokio::test]
async fn a_strict_log_that_cannot_be_written_refuses() {
    struct Broken;
    #[async_trait::async_trait]
    impl backend::Sink for Broken {
        async fn write(&mut self, _: Vec<Bytes>) -> Result<(), String> {
            Err("no space left".to_owned())
        }
    }
    let metrics = Registry::new();
    let tasks = TaskGroup::new(&CancellationToken::new());
    for (mode, outcome) in [(Mode::BlockingStrict, Err(Lost)), (Mode::Blocking, Ok(()))] {
        let backend = Backend::start(
            "log",
            batch(mode),
            log::Format::Json,
            Box::new(Broken),
            &metrics,
            &tasks,
        );
        let policy = Policy::parse(
            b"{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}",
        );
        let audit = Arc::new(Audit::new(
            policy.unwrap(),
            vec![backend],
            &Clock::system(),
            &metrics,
        ));
        let record = audit.begin(&context("GET", "/version")).unwrap();
        assert_eq!(audit.received(&record).await, outcome);
    }
    tasks.shutdown().await;
}
