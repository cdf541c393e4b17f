//! Pods with users of their own, on the real kernel: root inside is nobody outside, and files are whose they seem to be.

use std::{fs, os::unix::fs::MetadataExt as _};

use crate::node::{Node, context, on_node, script};
use cri::v1::{IdMapping, Mount, NamespaceMode, UserNamespace};

const HOST: u32 = 300_000;
const LENGTH: u32 = 65_536;

fn mapping() -> Vec<IdMapping> {
    vec![IdMapping {
        host_id: HOST,
        container_id: 0,
        length: LENGTH,
    }]
}

async fn pod_with_own_users(node: &Node, shared_pids: bool) -> String {
    let mut config = node.pod_config();
    let linux = config.linux.as_mut().unwrap();
    let context = linux.security_context.as_mut().unwrap();
    let options = context.namespace_options.as_mut().unwrap();
    if shared_pids {
        options.pid = NamespaceMode::Pod.into();
    }
    options.userns_options = Some(UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: mapping(),
        gids: mapping(),
    });
    node.run_pod(config).await
}

#[test]
fn root_of_a_pod_is_nobody_on_the_node() {
    on_node(async |node| {
        let pod = pod_with_own_users(&node, false).await;
        let volume = node.dir.join("volume");
        fs::create_dir_all(&volume).unwrap();
        fs::write(volume.join("given"), "by the node's root").unwrap();

        let text = "
            id -u; id -g; head -n 1 /proc/self/uid_map | tr -s ' '
            ls -ln /bin/busybox | tr -s ' ' | head -c 20; echo
            echo changed >> /etc/passwd && touch /made && chown 33:34 /made && echo rootfs is ours
            cat /volume/given; echo; touch /volume/made && chown 33 /volume/made
            touch /dev/shm/x && echo shm is ours
            echo through /dev/stdout > /dev/stdout
            echo 1 > /proc/sys/kernel/panic || echo the node is not ours
            hostname; exec sleep 1000
        ";
        let mut config = script("root", text);
        config.mounts.push(Mount {
            container_path: "/volume".to_owned(),
            host_path: volume.display().to_string(),
            uid_mappings: mapping(),
            gid_mappings: mapping(),
            ..Mount::default()
        });
        let id = node.start_container(&pod, config).await;
        let log = node.dir.join("logs/root.log");
        let said = node.until_logged(&log, "pod-0").await;
        for expected in [
            "0\n0\n 0 300000 65536\n",
            " 0 0 ",
            "rootfs is ours",
            "by the node's root",
            "shm is ours",
            "through /dev/stdout",
            "the node is not ours",
        ] {
            assert!(said.contains(expected), "{expected:?} in {said}");
        }
        // On the disk what the pod's user 33 made in a volume is 33's.
        let made = fs::metadata(volume.join("made")).unwrap();
        assert_eq!((made.uid(), made.gid()), (33, 0));
        // The process itself is somebody whom the node does not know.
        let pid = node.pid_of(&id).await;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let ids = |name: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let line = line.unwrap().split_whitespace();
            line.map(|id| id.parse().unwrap()).collect()
        };
        assert_eq!(ids("Uid:"), [HOST; 4]);
        assert_eq!(ids("Gid:"), [HOST; 4]);
        let done = node.exec(&id, "id -u; cat /made && ls -ln /made").await;
        let out = String::from_utf8(done.stdout).unwrap();
        assert!(out.starts_with("0\n") && out.contains(" 33 "), "{out}");
        node
    });
}

#[test]
fn privileges_hold_in_the_pods_namespaces_alone() {
    on_node(async |node| {
        let pod = pod_with_own_users(&node, true).await;
        let mut config = script(
            "admin",
            "mkdir /m && mount -t tmpfs none /m && echo mounts are ours; hostname other && hostname; \
             grep Uid: /proc/1/status; \
             cat /proc/sys/net/ipv4/ping_group_range; mount -o remount,rw /proc/sys || echo locked",
        );
        let context = context(&mut config);
        context.readonly_paths = vec!["/proc/sys".to_owned()];
        context.capabilities = Some(cri::v1::Capability {
            add_capabilities: vec!["SYS_ADMIN".to_owned()],
            ..Default::default()
        });
        let pids = context.namespace_options.as_mut().unwrap();
        pids.pid = NamespaceMode::Pod.into();
        let (_, out) = node.run(&pod, config).await;
        for expected in ["mounts are ours", "other\n", "Uid:\t0\t0", "locked"] {
            assert!(out.contains(expected), "{expected:?} in {out}");
        }

        // A user by name, and one whom the pod does not have.
        let mut config = script(
            "web",
            "id -u; touch /dev/stdout; echo > /dev/stderr && echo fine",
        );
        self::context(&mut config).run_as_username = "web".to_owned();
        let (_, out) = node.run(&pod, config).await;
        assert!(out.starts_with("33\n") && out.contains("fine"), "{out}");
        let mut config = script("far", "true");
        self::context(&mut config).run_as_user = Some(cri::v1::Int64Value {
            value: i64::from(LENGTH),
        });
        let id = node.create(&pod, config).await;
        let error = node.try_start(&id).await.unwrap_err();
        assert!(error.message().contains("has no user 65536"), "{error}");
        node
    });
}
