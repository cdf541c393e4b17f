//! Containers on the real kernel, through the CRI's traits and real shims.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod node;

use std::{fs, path::Path, time::Duration};

use cri::{Code, RuntimeService as _, Streaming as _, TerminalSize, v1::*};
use node::{Node, context, on_node, script};
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
        assert!(error.message().contains("user namespaces"), "{error}");
        node
    });
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
fn limits_hold_and_oom_is_told() {
    on_node(async |node| {
        let pod = node.pod().await;
        let mut config = script("greedy", "head -c 100000000 /dev/zero | tail");
        config.linux.as_mut().unwrap().resources = Some(LinuxContainerResources {
            memory_limit_in_bytes: 16 << 20,
            cpu_shares: 512,
            cpu_period: 100_000,
            cpu_quota: 50_000,
            oom_score_adj: 900,
            ..LinuxContainerResources::default()
        });
        let (status, _) = node.run(&pod, config.clone()).await;
        assert_eq!(
            (status.exit_code, status.reason.as_str()),
            (137, "OOMKilled"),
            "{status:?}"
        );

        config.metadata.as_mut().unwrap().name = "modest".to_owned();
        config.command[2] = "cat /proc/self/oom_score_adj; sleep 1000".to_owned();
        let id = node.start_container(&pod, config).await;
        let request = ContainerStatsRequest {
            container_id: id.clone(),
        };
        let stats = node
            .runtime
            .container_stats(request)
            .await
            .unwrap()
            .stats
            .unwrap();
        let memory = stats.memory.unwrap();
        assert!(memory.working_set_bytes.unwrap().value > 0);
        assert!(memory.available_bytes.unwrap().value < 16 << 20);
        assert!(stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0);
        let update = UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(LinuxContainerResources {
                memory_limit_in_bytes: 32 << 20,
                ..LinuxContainerResources::default()
            }),
            ..UpdateContainerResourcesRequest::default()
        };
        node.runtime
            .update_container_resources(update)
            .await
            .unwrap();
        let request = ContainerStatsRequest { container_id: id };
        let stats = node
            .runtime
            .container_stats(request)
            .await
            .unwrap()
            .stats
            .unwrap();
        assert!(stats.memory.unwrap().available_bytes.unwrap().value > 16 << 20);
        node
    });
}

#[test]
fn privileges_are_what_was_asked_for() {
    on_node(async |node| {
        let pod = node.pod().await;
        let proc_status =
            "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t '";
        let (_, out) = node.run(&pod, script("default", proc_status)).await;
        let caps = "CapEff:00000000a80425fb\nCapBnd:00000000a80425fb\n";
        assert_eq!(out, format!("{caps}NoNewPrivs:0\nSeccomp:2\n"));

        let mut config = script(
            "bare",
            &format!("{proc_status}; id; touch /x; mkdir /x; unshare -m true"),
        );
        let security = context(&mut config);
        security.capabilities = Some(Capability {
            drop_capabilities: vec!["ALL".to_owned()],
            ..Capability::default()
        });
        security.no_new_privs = true;
        security.readonly_rootfs = true;
        security.run_as_user = Some(Int64Value { value: 33 });
        security.supplemental_groups = vec![7];
        let (status, out) = node.run(&pod, config).await;
        assert!(
            out.contains(
                "CapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n"
            ),
            "{out}"
        );
        assert!(
            out.contains("uid=33(web) gid=34(www) groups=7,34(www),50(media)"),
            "{out}"
        );
        assert_eq!(out.matches("Read-only file system").count(), 2, "{out}");
        assert!(
            out.contains("unshare: ") && out.contains("Operation not permitted"),
            "{out}"
        );
        let user = status.user.unwrap().linux.unwrap();
        assert_eq!(
            (user.uid, user.gid, user.supplemental_groups),
            (33, 34, vec![34, 7, 50])
        );

        let mut config = script(
            "masked",
            "cat /proc/interrupts | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/panic; echo done",
        );
        context(&mut config).masked_paths =
            vec!["/proc/interrupts".to_owned(), "/sys/firmware".to_owned()];
        context(&mut config).readonly_paths = vec!["/proc/sys".to_owned()];
        let (_, out) = node.run(&pod, config).await;
        assert!(
            out.starts_with("0\n0\n") && out.contains("Read-only file system"),
            "{out}"
        );

        let mut config = script(
            "privileged",
            &format!(
                "{proc_status}; mount -t tmpfs none /tmp && echo mounted; ls /dev/vda /dev/loop0 2>/dev/null | wc -l; mkdir /sys/fs/cgroup/memory/x; ls -d /dev/kmsg"
            ),
        );
        context(&mut config).privileged = true;
        let (_, out) = node.run(&pod, config).await;
        assert!(
            out.contains("Seccomp:0\n") && out.contains("/dev/kmsg"),
            "{out}"
        );
        node
    });
}

#[test]
fn volumes_and_files_of_the_pod() {
    on_node(async |node| {
        let (ours, theirs) = (node.dir.join("volume"), node.dir.join("file"));
        fs::create_dir(&ours).unwrap();
        fs::write(ours.join("from-node"), "node").unwrap();
        fs::write(&theirs, "a file").unwrap();
        let mut config = node.pod_config();
        config.dns_config = Some(DnsConfig {
            servers: vec!["10.96.0.10".to_owned()],
            searches: vec!["svc.cluster.local".to_owned()],
            options: vec!["ndots:5".to_owned()],
        });
        let pod = node.run_pod(config).await;
        let mount = |path: &Path, to: &str, readonly| Mount {
            host_path: path.display().to_string(),
            container_path: to.to_owned(),
            readonly,
            ..Mount::default()
        };
        let mut config = script(
            "mounts",
            "cat /etc/resolv.conf /data/from-node /data/sub/file; echo; echo back > /data/back; echo no > /ro/no; echo shared > /dev/shm/x",
        );
        config.mounts = vec![
            mount(&theirs, "/data/sub/file", false),
            mount(&ours, "/data", false),
            mount(&ours, "/ro", true),
        ];
        let (_, out) = node.run(&pod, config).await;
        assert!(
            out.contains("search svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"),
            "{out}"
        );
        assert!(
            out.contains("nodea file") && out.contains("Read-only file system"),
            "{out}"
        );
        assert_eq!(fs::read_to_string(ours.join("back")).unwrap(), "back\n");
        assert!(!ours.join("no").exists());
        let (_, out) = node.run(&pod, script("neighbour", "cat /dev/shm/x")).await;
        assert_eq!(out, "shared\n", "containers of a pod share /dev/shm");
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

async fn list(node: &Node) -> (Vec<PodSandbox>, Vec<Container>) {
    let pods = node
        .runtime
        .list_pod_sandbox(ListPodSandboxRequest::default())
        .await
        .unwrap();
    let containers = node
        .runtime
        .list_containers(ListContainersRequest::default())
        .await
        .unwrap();
    (pods.items, containers.containers)
}

#[test]
fn everything_is_found_again_after_a_restart() {
    on_node(async |mut node| {
        let pod = node.pod().await;
        let running = node
            .start_container(&pod, script("running", "sleep 1000"))
            .await;
        let created = node.create(&pod, script("created", "true")).await;
        let (ended, _) = node.run(&pod, script("ended", "exit 9")).await;
        let mut waits = script("waits", "read x; exit 6");
        waits.stdin = true;
        waits.stdin_once = true;
        let waits = node.start_container(&pod, waits).await;
        let before = list(&node).await;
        let status = node.status(&running).await;
        let session = node
            .runtime
            .attach(AttachRequest {
                container_id: waits.clone(),
                stdin: true,
                ..AttachRequest::default()
            })
            .await
            .unwrap();
        node.restart().await;
        drop(session);
        assert_eq!(list(&node).await, before);
        assert_eq!(node.status(&running).await, status);
        assert_eq!(node.status(&ended.id).await, ended);
        assert_eq!(node.exec(&running, "echo still").await.stdout, b"still\n");
        node.try_start(&created).await.unwrap();
        assert_eq!(node.wait(&created).await.exit_code, 0);
        node
    });
}

#[test]
fn a_dead_shim_is_a_dead_pod() {
    on_node(async |node| {
        let mut events = node.runtime.container_events().await.unwrap();
        let pod = node.pod().await;
        let id = node
            .start_container(&pod, script("victim", "sleep 1000"))
            .await;
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: pod.clone(),
            verbose: true,
        };
        let status = node
            .runtime
            .pod_sandbox_status(request.clone())
            .await
            .unwrap();
        assert_eq!(
            status.status.unwrap().state(),
            PodSandboxState::SandboxReady
        );
        let shim = rustix::process::Pid::from_raw(status.info["pid"].parse().unwrap()).unwrap();
        rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
        let status = node.wait(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (255, "Error"));
        let gone = async {
            loop {
                let event = events.recv().await.unwrap();
                let not_ready =
                    event.pod_sandbox_status.unwrap().state() == PodSandboxState::SandboxNotready;
                if event.container_id == pod && not_ready {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone)
            .await
            .expect("the pod's end is told");
        node
    });
}

#[test]
fn a_shim_is_small_and_a_start_is_quick() {
    on_node(async |node| {
        let pod = node.pod().await;
        let mut fastest = Duration::MAX;
        for number in 0..10 {
            let id = node
                .create(&pod, script(&format!("c{number}"), "sleep 1000"))
                .await;
            let start = std::time::Instant::now();
            node.try_start(&id).await.unwrap();
            fastest = fastest.min(start.elapsed());
        }
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: pod.clone(),
            verbose: true,
        };
        let info = node.runtime.pod_sandbox_status(request).await.unwrap().info;
        let status = fs::read_to_string(format!("/proc/{}/status", info["pid"])).unwrap();
        let anonymous = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        let kilobytes: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
        println!(
            "start {fastest:?}\n{}",
            status
                .lines()
                .filter(|l| l.contains("Rss"))
                .collect::<Vec<_>>()
                .join("\n")
        );
        assert!(kilobytes < 1024, "shim has {kilobytes} kB of its own");
        assert!(
            fastest < Duration::from_millis(30),
            "fastest start took {fastest:?}"
        );
        node
    });
}

#[test]
fn a_noisy_container_starves_nobody() {
    on_node(async |node| {
        let pod = node.pod().await;
        let noisy = node
            .start_container(&pod, script("noisy", "seq 1 100000000"))
            .await;
        let (_, out) = node
            .run(&pod, script("quiet", "for i in 1 2 3; do echo $i; done"))
            .await;
        assert_eq!(out, "1\n2\n3\n");
        assert_eq!(node.exec(&noisy, "echo exec").await.stdout, b"exec\n");
        let stop = StopContainerRequest {
            container_id: noisy,
            timeout: 0,
        };
        node.runtime.stop_container(stop).await.unwrap();
        node
    });
}

#[test]
fn events_tell_a_pods_life_in_order() {
    on_node(async |node| {
        use ContainerEventType::{
            ContainerCreatedEvent as Created, ContainerDeletedEvent as Deleted,
            ContainerStartedEvent as Started, ContainerStoppedEvent as Stopped,
        };
        let mut events = node.runtime.container_events().await.unwrap();
        let pod = node.pod().await;
        let (ended, _) = node.run(&pod, script("short", "exit 2")).await;
        let remove = RemovePodSandboxRequest {
            pod_sandbox_id: pod.clone(),
        };
        node.runtime.remove_pod_sandbox(remove).await.unwrap();
        let mut seen = Vec::new();
        while let Ok(event) = events.try_recv() {
            if event.container_event_type() == Stopped && event.container_id == ended.id {
                assert_eq!(event.containers_statuses, std::slice::from_ref(&ended));
            }
            seen.push((event.container_id == pod, event.container_event_type()));
        }
        let expected = [
            (true, Created),
            (true, Started),
            (false, Created),
            (false, Started),
            (false, Stopped),
            (true, Stopped),
            (false, Deleted),
            (true, Deleted),
        ];
        assert_eq!(seen, expected);
        assert_eq!(list(&node).await, (Vec::new(), Vec::new()));
        node
    });
}

#[test]
fn many_pods_and_execs_at_once() {
    on_node(async |node| {
        let descriptors = |pid: &str| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let start = std::time::Instant::now();
        let pods = futures_util::future::join_all((0..20).map(async |_| {
            let pod = node.pod().await;
            (
                node.start_container(&pod, script(&format!("in-{pod}"), "sleep 1000"))
                    .await,
                pod,
            )
        }))
        .await;
        println!("20 pods in {:?}", start.elapsed());
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: pods[0].1.clone(),
            verbose: true,
        };
        let shim = node.runtime.pod_sandbox_status(request).await.unwrap().info["pid"].clone();
        let before = descriptors(&shim);
        let start = std::time::Instant::now();
        futures_util::future::join_all((0..200).map(async |number| {
            let (container, _) = &pods[number % pods.len()];
            let done = node
                .exec(container, &format!("echo {number}; exit {}", number % 7))
                .await;
            assert_eq!(done.stdout, format!("{number}\n").into_bytes());
            assert_eq!(done.exit_code, i32::try_from(number % 7).unwrap());
        }))
        .await;
        println!("200 execs in {:?}", start.elapsed());
        let settled = async {
            while descriptors(&shim) != before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), settled)
            .await
            .expect("execs leave nothing open");
        node
    });
}

/// A shared mount of the test's own on the node; gone with it.
struct SharedMount(std::path::PathBuf);

impl SharedMount {
    fn new(path: std::path::PathBuf) -> Self {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        fs::create_dir(&path).unwrap();
        mount(c"none", &path, c"tmpfs", MountFlags::empty(), None).unwrap();
        mount_change(&path, MountPropagationFlags::SHARED).unwrap();
        Self(path)
    }
}

impl Drop for SharedMount {
    fn drop(&mut self) {
        linux::mounts::detach(&self.0).unwrap();
    }
}

#[test]
fn mounts_propagate_as_far_as_they_were_asked_to() {
    on_node(async |node| {
        use rustix::mount::{MountFlags, mount};
        let shared = SharedMount::new(node.dir.join("shared"));
        for name in ["inner", "later"] {
            fs::create_dir(shared.0.join(name)).unwrap();
        }
        let pod = node.pod().await;
        let volume = |propagation: MountPropagation| Mount {
            host_path: shared.0.display().to_string(),
            container_path: "/shared".to_owned(),
            propagation: propagation.into(),
            ..Mount::default()
        };
        let container = async |name: &str, propagation| {
            let mut config = script(name, "sleep 1000");
            config.mounts = vec![volume(propagation)];
            context(&mut config).privileged = true;
            node.start_container(&pod, config).await
        };
        let both = container("both", MountPropagation::PropagationBidirectional).await;
        let from = container("from", MountPropagation::PropagationHostToContainer).await;
        let none = container("none", MountPropagation::PropagationPrivate).await;

        let later = shared.0.join("later");
        mount(c"none", &later, c"tmpfs", MountFlags::empty(), None).unwrap();
        fs::write(later.join("file"), "").unwrap();
        let sees =
            async |id: &str, path: &str| node.exec(id, &format!("ls {path}")).await.exit_code == 0;
        assert!(sees(&both, "/shared/later/file").await);
        assert!(sees(&from, "/shared/later/file").await);
        assert!(!sees(&none, "/shared/later/file").await);

        let inside = "mount -t tmpfs none /shared/inner && touch /shared/inner/file";
        assert_eq!(node.exec(&from, inside).await.exit_code, 0);
        assert!(!shared.0.join("inner/file").exists());
        assert_eq!(node.exec(&both, inside).await.exit_code, 0);
        assert!(shared.0.join("inner/file").exists());
        drop(shared);
        node
    });
}
