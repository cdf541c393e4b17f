//! What flows: logs, exec, attach, cp and port-forward.

use std::{io::Read as _, process::Stdio};

use testing::Kubectl;

pub(crate) fn exec_attach_copy_forward(k: &Kubectl<'_>) {
    k.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: box}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: box
    image: "busybox.test/busybox:1"
    stdin: true
    command: [sh, -c, "mkdir /tmp/w; echo forwarded > /tmp/w/index.html; httpd -p 8080 -h /tmp/w; while read line; do echo heard $line; done; exec sleep 1000"]
    ports: [{containerPort: 8080}]
"#,
    );
    k.wait_ready("pod/box");

    assert_eq!(k.run("exec box -- echo hello"), "hello");
    let both = k.output("exec box -- sh -c 'echo out; echo err >&2; exit 42'");
    assert_eq!(both.status.code(), Some(42));
    assert_eq!(both.stdout, b"out\n");
    assert!(
        String::from_utf8_lossy(&both.stderr).starts_with("err\n"),
        "{}",
        String::from_utf8_lossy(&both.stderr)
    );
    assert_eq!(
        k.run_with("exec -i box -- wc -c", &"x".repeat(300_000)),
        "300000"
    );
    let terminal = k
        .shell("script -qec \"$KUBECTL exec -it box -- sh -c 'test -t 0 && stty size && echo terminal'\" /dev/null < /dev/null")
        .output()
        .expect("sh runs");
    let terminal = String::from_utf8_lossy(&terminal.stdout).into_owned();
    assert!(terminal.contains("terminal"), "{terminal:?}");
    k.refuses("exec box -- /no/such", "no such file or directory");
    k.refuses("exec absent -- true", r#"pods "absent" not found"#);

    // attach: standard input reaches the process, its output comes back.
    let attached = k
        .shell("(sleep 1; echo you; sleep 1) | timeout 3 $KUBECTL attach -i box")
        .output()
        .expect("sh runs");
    let attached = String::from_utf8_lossy(&attached.stdout).into_owned();
    assert!(attached.contains("heard you"), "{attached:?}");

    // cp, both ways, byte for byte.
    let copied = k
        .shell("head -c 3000000 /dev/urandom > sent && $KUBECTL cp sent box:/tmp/sent && $KUBECTL cp box:/tmp/sent back && cmp sent back && echo same")
        .output()
        .expect("sh runs");
    let copied = format!(
        "{}{}",
        String::from_utf8_lossy(&copied.stdout),
        String::from_utf8_lossy(&copied.stderr)
    );
    assert!(copied.contains("same"), "{copied}");

    forward(k);
    k.run("delete pod box --wait=true");
}

fn forward(k: &Kubectl<'_>) {
    let mut forwarding = k
        .command("port-forward pod/box :8080")
        .stderr(Stdio::null())
        .spawn()
        .expect("sh runs");
    let mut stdout = forwarding.stdout.take().expect("a pipe was asked for");
    let mut said = String::new();
    let mut chunk = [0; 256];
    while !said.contains('\n') {
        let read = stdout.read(&mut chunk).expect("it is a pipe");
        assert_ne!(read, 0, "port-forward ended: {said}");
        said.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    let port: String = said
        .trim_start_matches("Forwarding from 127.0.0.1:")
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    for _ in 0..3 {
        let fetched = k
            .shell(&format!(
                "curl --silent --show-error --max-time 5 http://127.0.0.1:{port}"
            ))
            .output()
            .expect("sh runs");
        assert_eq!(
            String::from_utf8_lossy(&fetched.stdout),
            "forwarded\n",
            "{said}{}",
            String::from_utf8_lossy(&fetched.stderr)
        );
    }
    forwarding.kill().expect("it runs");
    forwarding.wait().expect("it is ours");
}

pub(crate) fn logs(k: &Kubectl<'_>) {
    k.run("run talker --image=busybox.test/busybox:1 --restart=Never -- sh -c 'for i in $(seq 1 20); do echo line $i; sleep 0.1; done; echo problem >&2'");
    k.until(
        "get pod talker -o jsonpath='{.status.containerStatuses[0].state}'",
        "startedAt",
    );
    // -f ends when the container does, and has missed nothing.
    let followed = k.run("logs -f talker");
    assert_eq!(followed.lines().count(), 21, "{followed}");
    assert!(followed.ends_with("line 20\nproblem"), "{followed}");
    assert_eq!(k.run("logs talker --tail=2"), "line 20\nproblem");
    assert_eq!(k.run("logs talker --limit-bytes=6"), "line 1");
    assert!(
        k.run("logs talker --timestamps --tail=1")
            .contains("Z problem")
    );
    assert_eq!(k.run("logs talker --since=1h | wc -l"), "21");
    k.until("get pod talker -o jsonpath='{.status.phase}'", "Succeeded");
    k.refuses(
        "logs talker -c other",
        "container other is not valid for pod talker",
    );
    k.run("create deployment two --image=busybox.test/busybox:1 --replicas=2 -- sh -c 'echo from $HOSTNAME; sleep 1000'");
    k.run("rollout status deployment/two --timeout=40s");
    let all = k.run("logs -l app=two --prefix");
    assert_eq!(all.matches("from two-").count(), 2, "{all}");
    k.shows("logs deployment/two --all-pods=true", &["from two-"]);
}
