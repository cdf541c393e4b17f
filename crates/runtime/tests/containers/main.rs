//! Containers on the real kernel, through the CRI's traits and real shims.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod limits;
#[path = "../node/mod.rs"]
mod node;
mod shims;
mod streams;
mod user_namespaces;
mod volumes;

use std::{fs, time::Duration};

use cri::{RuntimeService as _, Streaming as _, v1::*};
use node::{context, on_node, script};
use tokio::io::AsyncWriteExt as _;

#[test]
fn a_container_runs_logs_and_ends() {
    on_node(async |node| {
        let pod = node.pod().await;
        let config = script(
            "ends",
            "echo out; echo err >&2; hostname; printf unended; exit 3",
        );
        let id = node.create(&pod, config).await;
        assert_eq!(
            node.status(&id).await.state(),
            ContainerState::ContainerCreated
        );
        node.try_start(&id).await.unwrap();
        let status = node.wait(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (3, "Error"));
        assert!(status.created_at <= status.started_at && status.started_at <= status.finished_at);
        let log = fs::read_to_string(&status.log_path).unwrap();
        for line in [
            "stdout F out",
            "stderr F err",
            "stdout F pod-0",
            "stdout P unended",
        ] {
            assert!(log.lines().any(|l| l.ends_with(line)), "{line:?} in {log}");
        }
        let (status, _) = node.run(&pod, script("fine", "true")).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (0, "Completed"));
        let (status, _) = node
            .run(&pod, script("killed", "sh -c 'kill -9 $$'; exit $?"))
            .await;
        assert_eq!(status.exit_code, 137, "{status:?}");
        node
    });
}

#[test]
fn what_cannot_start_says_why() {
    on_node(async |node| {
        let pod = node.pod().await;
        let mut config = script("missing", "");
        config.command = vec!["no-such-program".to_owned()];
        let id = node.create(&pod, config).await;
        let error = node.try_start(&id).await.unwrap_err();
        let words = "exec: \"no-such-program\": executable file not found in $PATH";
        assert!(error.message().contains(words), "{error}");
        let status = node.status(&id).await;
        assert_eq!(
            (status.exit_code, status.reason.as_str()),
            (128, "StartError")
        );
        assert!(status.message.contains(words), "{status:?}");
        let mut config = script("nobody", "id");
        context(&mut config).run_as_username = "nobody".to_owned();
        let id = node.create(&pod, config).await;
        let error = node.try_start(&id).await.unwrap_err();
        assert!(
            error.message().contains("unable to find user nobody"),
            "{error}"
        );
        let mut config = node.pod_config();
        let options = config
            .linux
            .as_mut()
            .unwrap()
            .security_context
            .as_mut()
            .unwrap();
        let options = options.namespace_options.as_mut().unwrap();
        options.userns_options = Some(UserNamespace::default());
        let error = node.try_run_pod(config).await.unwrap_err();
        assert!(error.message().contains("user namespace needs"), "{error}");
        node
    });
}

#[test]
fn pid_namespaces_of_all_kinds() {
    on_node(async |node| {
        let mut config = node.pod_config();
        let options = |pid: NamespaceMode, target: &str| {
            Some(NamespaceOption {
                pid: pid.into(),
                target_id: target.to_owned(),
                ..NamespaceOption::default()
            })
        };
        let linux = config.linux.as_mut().unwrap();
        linux.security_context.as_mut().unwrap().namespace_options =
            options(NamespaceMode::Pod, "");
        let pod = node.run_pod(config).await;
        let mut first = script("first", "sleep 1001");
        context(&mut first).namespace_options = options(NamespaceMode::Pod, "");
        let first = node.start_container(&pod, first).await;
        let mut second = script("second", "ps; echo $$");
        context(&mut second).namespace_options = options(NamespaceMode::Pod, "");
        let (_, out) = node.run(&pod, second).await;
        assert!(
            out.contains("sleep 1001") && !out.ends_with("\n1\n"),
            "{out}"
        );
        let own = node
            .start_container(&pod, script("own", "sleep 1002"))
            .await;
        let mut target = script("target", "ps");
        context(&mut target).namespace_options = options(NamespaceMode::Target, &own);
        let (_, out) = node.run(&pod, target).await;
        assert!(
            out.contains("sleep 1002") && !out.contains("sleep 1001"),
            "{out}"
        );
        let stop = StopContainerRequest {
            container_id: first.clone(),
            timeout: 0,
        };
        node.runtime.stop_container(stop).await.unwrap();
        assert_eq!(node.status(&first).await.exit_code, 137);
        node
    });
}

#[test]
fn stopping_asks_then_kills() {
    on_node(async |node| {
        let pod = node.pod().await;
        let stop = |id: &str, timeout| StopContainerRequest {
            container_id: id.to_owned(),
            timeout,
        };
        let polite = script(
            "polite",
            "trap 'echo bye; exit 4' TERM; echo up; while true; do sleep 0.05; done",
        );
        let id = node.start_container(&pod, polite).await;
        let log = node.status(&id).await.log_path;
        let up = async {
            while !fs::read_to_string(&log).unwrap().contains("up") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), up)
            .await
            .unwrap();
        node.runtime.stop_container(stop(&id, 10)).await.unwrap();
        let status = node.status(&id).await;
        assert_eq!(status.exit_code, 4);
        assert!(fs::read_to_string(&log).unwrap().contains("bye"));
        let deaf = script("deaf", "trap '' TERM; while true; do sleep 0.05; done");
        let id = node.start_container(&pod, deaf).await;
        node.runtime.stop_container(stop(&id, 1)).await.unwrap();
        assert_eq!(node.status(&id).await.exit_code, 137);
        node.runtime.stop_container(stop(&id, 1)).await.unwrap();
        node.runtime
            .stop_container(stop("nothing", 1))
            .await
            .unwrap();
        let remove = RemoveContainerRequest {
            container_id: id.clone(),
        };
        node.runtime.remove_container(remove.clone()).await.unwrap();
        node.runtime.remove_container(remove).await.unwrap();
        let request = ContainerStatusRequest {
            container_id: id,
            verbose: false,
        };
        assert!(
            node.runtime
                .container_status(request)
                .await
                .unwrap_err()
                .is_not_found()
        );
        node
    });
}

#[test]
fn logs_are_rotated() {
    on_node(async |node| {
        let pod = node.pod().await;
        let mut config = script("talker", "echo before; read x; echo after; sleep 1000");
        config.stdin = true;
        let id = node.start_container(&pod, config).await;
        let log = node.status(&id).await.log_path;
        let wait_for = async |text: &str| {
            let waiting = async {
                while !fs::read_to_string(&log).unwrap_or_default().contains(text) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), waiting)
                .await
                .expect(text);
        };
        wait_for("before").await;
        fs::rename(&log, format!("{log}.1")).unwrap();
        let reopen = ReopenContainerLogRequest {
            container_id: id.clone(),
        };
        node.runtime.reopen_container_log(reopen).await.unwrap();
        let request = AttachRequest {
            container_id: id,
            stdin: true,
            ..AttachRequest::default()
        };
        let mut session = node.runtime.attach(request).await.unwrap();
        session
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"go\n")
            .await
            .unwrap();
        wait_for("after").await;
        assert!(!fs::read_to_string(&log).unwrap().contains("before"));
        node
    });
}
