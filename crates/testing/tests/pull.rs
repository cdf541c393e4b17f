//! Images from registries that the test itself runs: plain HTTP and TLS; for everybody, with a password, with a token; what users
//! see of an image that cannot be had, and that it comes when its secret does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, sync::Arc};

use base::tls::ServingCertificate;
use bootstrap::{Authority, Subject};
use testing::{Access, Cluster, Image, Kubectl, Options, Registry};

/// The address of the node in its network: not loopback, so that only TLS will do.
const NODE: &str = "172.31.255.1";

fn pod(name: &str, image: &str, secret: Option<&str>) -> String {
    let secrets = secret.map_or(String::new(), |secret| {
        format!("imagePullSecrets: [ {{ name: {secret} }} ]")
    });
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{ name: {name} }}
spec:
  terminationGracePeriodSeconds: 0
  {secrets}
  containers: [ {{ name: c, image: '{image}', command: [ sleep, '1000' ] }} ]
"
    )
}

#[test]
fn images_come_from_registries_of_every_sort() {
    let place = tempfile::tempdir().unwrap();
    let now = jiff::Timestamp::now();
    let authority = Authority::create("registry-ca", now).unwrap();
    let subject = Subject::server("registry", Vec::new(), vec![NODE.parse().unwrap()]);
    let issued = authority.issue(&subject, now).unwrap();
    let bundle = place.path().join("roots.pem");
    fs::write(&bundle, &authority.issued().certificate_pem).unwrap();
    let certificate =
        ServingCertificate::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes())
            .unwrap();
    let tls = Arc::new(certificate).server_config().unwrap();

    let cluster = Cluster::start(Options {
        environment: vec![("SSL_CERT_FILE".to_owned(), bundle.display().to_string())],
        ..Options::default()
    })
    .unwrap();
    let image = Image::busybox().unwrap();
    let serve = |address: &str, access, tls| {
        let door = cluster.netns().door().unwrap();
        let address = address.parse().unwrap();
        Registry::serve(door, address, "team/app", &image, access, tls).unwrap()
    };
    let (user, password) = ("puller".to_owned(), "s3cret".to_owned());
    let open = serve("127.0.0.1:5001", Access::Anonymous, None);
    let (name, word) = (user.clone(), password.clone());
    let basic = Access::Basic {
        user: name,
        password: word,
    };
    let _closed = serve("127.0.0.1:5002", basic, None);
    let _guarded = serve(
        "172.31.255.1:5003",
        Access::Token { user, password },
        Some(tls),
    );

    let k = Kubectl::new(&cluster, "kubectl", "pull");
    k.apply(&pod("open", "127.0.0.1:5001/team/app:v1", None));
    k.wait_ready("pod/open");
    assert_eq!(open.requests().len(), 3, "{:?}", open.requests());
    k.until(
        "get events --field-selector involvedObject.name=open -o jsonpath='{.items[*].message}'",
        "Successfully pulled image \"127.0.0.1:5001/team/app:v1\" in ",
    );

    // Without the password the pod waits, says why, and starts when it has it.
    k.apply(&pod("closed", "127.0.0.1:5002/team/app:v1", Some("word")));
    let waiting =
        "get pod closed -o jsonpath='{.status.containerStatuses[0].state.waiting.reason}'";
    k.until(waiting, "ImagePull");
    let events =
        "get events --field-selector involvedObject.name=closed -o jsonpath='{.items[*].message}'";
    k.until(
        events,
        "Failed to pull image \"127.0.0.1:5002/team/app:v1\": ",
    );
    k.until(events, "Error: ErrImagePull");
    k.until(waiting, "ImagePullBackOff");
    k.until(
        events,
        "Back-off pulling image \"127.0.0.1:5002/team/app:v1\"",
    );
    k.run("create secret docker-registry word --docker-server=127.0.0.1:5002 --docker-username=puller --docker-password=s3cret");
    k.run("wait --for=condition=Ready pod/closed --timeout=60s");

    // TLS, and a token instead of the password.
    k.run(&format!("create secret docker-registry token --docker-server={NODE}:5003 --docker-username=puller --docker-password=s3cret"));
    k.apply(&pod(
        "guarded",
        &format!("{NODE}:5003/team/app:v1"),
        Some("token"),
    ));
    k.wait_ready("pod/guarded");

    // What is not there is not there.
    k.apply(&pod("none", "127.0.0.1:5001/team/app:v2", None));
    let reason = "get pod none -o jsonpath='{.status.containerStatuses[0].state.waiting.message}'";
    k.until(reason, "not found");
    k.run("delete pods --all --timeout=60s");
}
