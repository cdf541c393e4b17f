//! A node for tests: a runtime of its own below a temporary directory, with shims, cgroups and images of its own, and nothing left of it
//! afterwards, also when the test fails. Needs root, and busybox-static's /bin/busybox for images.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(unreachable_pub, reason = "shared by several test programs")]

use std::{
    collections::HashMap,
    fs,
    future::Future,
    net::IpAddr,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base::{Clock, TaskGroup};
use cri::{RuntimeService, v1::*};
use futures_util::FutureExt as _;
use network::{PodIps, PodLink, PodNetwork, PodNetworkError};
use runtime::{
    Config, Runtime,
    images::{ScratchFile, manifest::RunConfig},
};
use tokio_util::sync::CancellationToken;

pub const IMAGE: &str = "localhost/busybox:test";

/// A network of nothing but loopback.
#[derive(Default)]
pub struct Loopback;

#[async_trait]
impl PodNetwork for Loopback {
    async fn attach(&self, link: PodLink<'_>) -> Result<PodIps, PodNetworkError> {
        assert!(
            link.netns.exists(),
            "the pod's network namespace is there while it is attached"
        );
        Ok(PodIps(vec![IpAddr::from([127, 0, 0, 1])]))
    }

    async fn detach(&self, _: PodLink<'_>) -> Result<(), PodNetworkError> {
        Ok(())
    }

    async fn retain(&self, _: &[String]) -> Result<(), PodNetworkError> {
        Ok(())
    }

    async fn status(&self) -> Result<(), PodNetworkError> {
        Ok(())
    }

    async fn set_pod_cidr(&self, _: &str) -> Result<(), PodNetworkError> {
        Ok(())
    }
}

pub struct Node {
    pub runtime: Runtime,
    pub dir: PathBuf,
    config: Config,
    tasks: TaskGroup,
    pods: AtomicU32,
}

impl Node {
    async fn start() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test needs root: it starts containers"
        );
        assert!(
            Path::new("/bin/busybox").exists(),
            "this test needs /bin/busybox: apt-get install busybox-static"
        );
        let dir = std::env::temp_dir().join(format!("ironclad-runtime-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("logs")).unwrap();
        let config = Config {
            root: dir.join("root"),
            state: dir.join("state"),
            cgroup_root: format!("/ironclad-test-{}", std::process::id()),
            shim_command: vec![env!("CARGO_BIN_EXE_runtime-shim").into()],
            network: Arc::new(Loopback),
            clock: Clock::system(),
        };
        let tasks = TaskGroup::new(&CancellationToken::new());
        let runtime = Runtime::new(config.clone(), tasks.clone()).await.unwrap();
        Self {
            runtime,
            dir,
            config,
            tasks,
            pods: AtomicU32::new(0),
        }
    }

    /// The runtime's process ends and starts anew; pods go on.
    pub async fn restart(&mut self) {
        self.tasks.shutdown().await;
        self.tasks = TaskGroup::new(&CancellationToken::new());
        self.runtime = Runtime::new(self.config.clone(), self.tasks.clone())
            .await
            .unwrap();
    }

    pub async fn build_image(&self) {
        let mut files = vec![
            ScratchFile::program("bin/busybox", "/bin/busybox"),
            ScratchFile::text(
                "etc/passwd",
                "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/var/www:/bin/sh\n",
            ),
            ScratchFile::text("etc/group", "root:x:0:\nwww:x:34:\nmedia:x:50:web\n"),
        ];
        for name in [
            "sh", "echo", "cat", "sleep", "id", "ls", "touch", "mount", "nc", "ps", "dd",
            "hostname", "grep", "stty", "mkdir", "unshare", "kill", "head", "tr", "tail", "true",
            "wc", "chown", "env", "pwd", "seq",
        ] {
            files.push(ScratchFile::link(format!("bin/{name}"), "busybox"));
        }
        let config = RunConfig {
            cmd: vec!["/bin/sh".to_owned()],
            env: vec!["PATH=/bin".to_owned()],
            ..RunConfig::default()
        };
        self.runtime
            .images()
            .build_scratch(IMAGE, files, config)
            .await
            .unwrap();
    }

    pub fn pod_config(&self) -> PodSandboxConfig {
        let number = self.pods.fetch_add(1, Ordering::Relaxed);
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: format!("pod-{number}"),
                uid: format!("uid-{number}"),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            hostname: format!("pod-{number}"),
            log_directory: self.dir.join("logs").display().to_string(),
            labels: HashMap::from([("app".to_owned(), "test".to_owned())]),
            linux: Some(LinuxPodSandboxConfig {
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(NamespaceOption {
                        pid: NamespaceMode::Container.into(),
                        ..NamespaceOption::default()
                    }),
                    ..LinuxSandboxSecurityContext::default()
                }),
                ..LinuxPodSandboxConfig::default()
            }),
            ..PodSandboxConfig::default()
        }
    }

    pub async fn run_pod(&self, config: PodSandboxConfig) -> String {
        self.try_run_pod(config).await.unwrap()
    }

    pub async fn try_run_pod(&self, config: PodSandboxConfig) -> cri::Result<String> {
        let request = RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: String::new(),
        };
        self.runtime
            .run_pod_sandbox(request)
            .await
            .map(|response| response.pod_sandbox_id)
    }

    pub async fn pod(&self) -> String {
        self.run_pod(self.pod_config()).await
    }

    pub async fn create(&self, pod: &str, config: ContainerConfig) -> String {
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config),
            sandbox_config: None,
        };
        RuntimeService::create_container(&self.runtime, request)
            .await
            .unwrap()
            .container_id
    }

    pub async fn try_start(&self, id: &str) -> cri::Result<()> {
        let request = StartContainerRequest {
            container_id: id.to_owned(),
        };
        RuntimeService::start_container(&self.runtime, request)
            .await
            .map(drop)
    }

    pub async fn start_container(&self, pod: &str, config: ContainerConfig) -> String {
        let id = self.create(pod, config).await;
        self.try_start(&id).await.unwrap();
        id
    }

    pub async fn status(&self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        RuntimeService::container_status(&self.runtime, request)
            .await
            .unwrap()
            .status
            .unwrap()
    }

    /// Waits for the container's end, by events.
    pub async fn wait(&self, id: &str) -> ContainerStatus {
        let waiting = async {
            let mut events = self.runtime.container_events().await.unwrap();
            loop {
                let status = self.status(id).await;
                if status.state() == ContainerState::ContainerExited {
                    return status;
                }
                events.recv().await.expect("events go on");
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .expect("the container ends in time")
    }

    /// Runs a shell script in a container of a pod; its status and its output.
    pub async fn run(&self, pod: &str, config: ContainerConfig) -> (ContainerStatus, String) {
        let id = self.start_container(pod, config).await;
        let status = self.wait(&id).await;
        let log = fs::read_to_string(&status.log_path).unwrap();
        let lines = log.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap());
        (status, lines.map(|line| format!("{line}\n")).collect())
    }

    /// Waits until a container has written `text` into its log; what it wrote by then.
    pub async fn until_logged(&self, log: &Path, text: &str) -> String {
        let reading = async {
            loop {
                let lines = fs::read_to_string(log).unwrap_or_default();
                let lines = lines.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
                let said: String = lines.map(|line| format!("{line}\n")).collect();
                if said.contains(text) {
                    return said;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading)
            .await
            .expect("the container says it in time")
    }

    /// The process id of a running container, on the node.
    pub async fn pid_of(&self, id: &str) -> u32 {
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: true,
        };
        let response = RuntimeService::container_status(&self.runtime, request).await;
        response.unwrap().info["pid"].parse().unwrap()
    }

    pub async fn exec(&self, id: &str, script: &str) -> ExecSyncResponse {
        let request = ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
            timeout: 10,
        };
        self.runtime.exec_sync(request).await.unwrap()
    }

    async fn stop(self) {
        self.runtime.purge().await.unwrap();
        self.tasks.shutdown().await;
        let hierarchy = Arc::new(linux::cgroup::Hierarchy::detect().unwrap());
        let cgroup = linux::cgroup::Cgroup::new(hierarchy, &self.config.cgroup_root).unwrap();
        assert!(
            cgroup.directories().iter().all(|dir| !dir.exists()),
            "no cgroup is left"
        );
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let dir = self.dir.display().to_string();
        assert!(!mounts.contains(&dir), "no mount is left on the node");
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// A container that runs a script.
pub fn script(name: &str, script: &str) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: name.to_owned(),
            attempt: 0,
        }),
        image: Some(ImageSpec {
            image: IMAGE.to_owned(),
            ..ImageSpec::default()
        }),
        command: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
        log_path: format!("{name}.log"),
        linux: Some(LinuxContainerConfig {
            resources: None,
            security_context: Some(LinuxContainerSecurityContext {
                namespace_options: Some(NamespaceOption {
                    pid: NamespaceMode::Container.into(),
                    ..NamespaceOption::default()
                }),
                ..LinuxContainerSecurityContext::default()
            }),
        }),
        ..ContainerConfig::default()
    }
}

pub fn context(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap()
}

/// Runs a test on a node, and takes the node down whatever happens.
pub fn on_node<F>(test: impl FnOnce(Node) -> F)
where
    F: Future<Output = Node>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let node = Node::start().await;
        node.build_image().await;
        let (spare, dir) = (node.config.clone(), node.dir.clone());
        match AssertUnwindSafe(test(node)).catch_unwind().await {
            Ok(node) => node.stop().await,
            Err(panic) => {
                // Whoever has the node is unwinding; another runtime at the same place takes it down.
                let tasks = TaskGroup::new(&CancellationToken::new());
                let runtime = Runtime::new(spare.clone(), tasks.clone()).await.unwrap();
                let node = Node {
                    runtime,
                    dir,
                    config: spare,
                    tasks,
                    pods: AtomicU32::new(0),
                };
                node.stop().await;
                std::panic::resume_unwind(panic);
            }
        }
    });
}
