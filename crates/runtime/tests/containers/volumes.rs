//! What containers find at their mounts, and how mounts spread.

use std::{fs, path::Path};

use crate::node::{context, on_node, script};
use cri::v1::*;

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
