//! Into and out of containers: exec, attach, terminals, forwarded ports.

use std::{fs, time::Duration};

use crate::node::{on_node, script};
use cri::{Code, RuntimeService as _, Streaming as _, TerminalSize, v1::*};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn read_until(stream: &mut (impl tokio::io::AsyncRead + Unpin), text: &str) -> String {
    let mut seen = String::new();
    let reading = async {
        let mut buffer = [0_u8; 1024];
        while !seen.contains(text) {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{text:?} does not come, only {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(10), reading).await;
    assert!(
        read.is_ok(),
        "{text:?} does not come in time, only {seen:?}"
    );
    seen
}

#[test]
fn exec_runs_beside_and_ends_in_time() {
    on_node(async |node| {
        let pod = node.pod().await;
        let id = node
            .start_container(&pod, script("long", "sleep 1000"))
            .await;
        let done = node.exec(&id, "echo out; echo err >&2; ps; exit 7").await;
        assert_eq!(done.exit_code, 7);
        assert_eq!(done.stderr, b"err\n");
        let out = String::from_utf8(done.stdout).unwrap();
        assert!(
            out.starts_with("out\n") && out.contains("sleep 1000"),
            "{out}"
        );
        let late = ExecSyncRequest {
            container_id: id.clone(),
            cmd: vec!["sleep".to_owned(), "100".to_owned()],
            timeout: 1,
        };
        assert_eq!(
            node.runtime.exec_sync(late).await.unwrap_err().code(),
            Code::DeadlineExceeded
        );
        let gone =
            "i=0; while ps | grep -q 'sleep 10[0]$'; do i=$((i+1)); [ $i -lt 200 ] || exit 1; done";
        assert_eq!(
            node.exec(&id, gone).await.exit_code,
            0,
            "the late command was killed"
        );
        let missing = ExecSyncRequest {
            container_id: id.clone(),
            cmd: vec!["nope".to_owned()],
            timeout: 5,
        };
        let error = node.runtime.exec_sync(missing).await.unwrap_err();
        assert!(
            error
                .message()
                .contains("executable file not found in $PATH"),
            "{error}"
        );
        node
    });
}

#[test]
fn exec_with_input_and_with_a_terminal() {
    on_node(async |node| {
        let pod = node.pod().await;
        let id = node
            .start_container(&pod, script("long", "sleep 1000"))
            .await;
        let request = |command: &str, tty| ExecRequest {
            container_id: id.clone(),
            cmd: vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()],
            tty,
            stdin: true,
            stdout: true,
            stderr: !tty,
        };
        let mut session = node
            .runtime
            .exec(request("tr a-z A-Z", false))
            .await
            .unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"hello").await.unwrap();
        drop(stdin);
        read_until(&mut session.stdout.take().unwrap(), "HELLO").await;
        assert_eq!(session.exit.await.unwrap(), 0);

        let mut session = node
            .runtime
            .exec(request(
                "echo start; until stty size 2>&1 | grep '37 101'; do :; done; read line; exit 5",
                true,
            ))
            .await
            .unwrap();
        let mut stdout = session.stdout.take().unwrap();
        read_until(&mut stdout, "start").await;
        let size = TerminalSize {
            width: 101,
            height: 37,
        };
        session.resize.take().unwrap().send(size).await.unwrap();
        read_until(&mut stdout, "37 101").await;
        session
            .stdin
            .take()
            .unwrap()
            .write_all(b"\n")
            .await
            .unwrap();
        assert_eq!(session.exit.await.unwrap(), 5);
        node
    });
}

#[test]
fn attach_to_streams_and_to_a_terminal() {
    on_node(async |node| {
        let pod = node.pod().await;
        let mut config = script("reader", "cat; echo end");
        (config.stdin, config.stdin_once) = (true, true);
        let id = node.start_container(&pod, config).await;
        let request = |id: &str, tty| AttachRequest {
            container_id: id.to_owned(),
            stdin: true,
            tty,
            stdout: true,
            stderr: !tty,
        };
        let mut session = node.runtime.attach(request(&id, false)).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"to the container\n").await.unwrap();
        let mut stdout = session.stdout.take().unwrap();
        read_until(&mut stdout, "to the container").await;
        drop(stdin);
        read_until(&mut stdout, "end").await;
        assert_eq!(session.exit.await.unwrap(), 0);

        let mut config = script(
            "terminal",
            "until stty size 2>&1 | grep '20 90'; do :; done; read x; echo got $x",
        );
        (config.stdin, config.tty) = (true, true);
        let id = node.start_container(&pod, config).await;
        let mut session = node.runtime.attach(request(&id, true)).await.unwrap();
        let size = TerminalSize {
            width: 90,
            height: 20,
        };
        session.resize.as_ref().unwrap().send(size).await.unwrap();
        session
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"word\n")
            .await
            .unwrap();
        let seen = read_until(&mut session.stdout.take().unwrap(), "got word").await;
        assert!(seen.contains("20 90"), "{seen}");
        let status = node.wait(&id).await;
        let log = fs::read_to_string(&status.log_path).unwrap();
        assert!(log.contains("stdout F got word"), "{log}");
        node
    });
}

#[test]
fn ports_are_forwarded_into_the_pod() {
    on_node(async |node| {
        let pod = node.pod().await;
        node.start_container(
            &pod,
            script("server", "while true; do echo served | nc -l -p 8080; done"),
        )
        .await;
        let connecting = async {
            loop {
                match node.runtime.port_forward(&pod, 8080).await {
                    Ok(stream) => return stream,
                    Err(error) => {
                        assert!(
                            error
                                .message()
                                .contains("failed to connect to localhost:8080"),
                            "{error}"
                        );
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        };
        let mut stream = tokio::time::timeout(Duration::from_secs(10), connecting)
            .await
            .unwrap();
        read_until(&mut stream, "served").await;
        node
    });
}
