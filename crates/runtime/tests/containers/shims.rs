//! What holds when processes die, restart or are many: shims, adoption, events.

use std::{fs, time::Duration};

use crate::node::{Node, on_node, script};
use cri::{RuntimeService as _, Streaming as _, v1::*};

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
        // One more for a moment, as the shim closes a connection after its client: more may go than came.
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
            while descriptors(&shim) > before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), settled)
            .await
            .expect("execs leave nothing open");
        node
    });
}
