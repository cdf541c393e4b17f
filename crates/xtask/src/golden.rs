//! `cargo xtask golden REPLAYER [ARGUMENTS]`: starts an empty `ironclad kube-apiserver` as the corpus wants it, runs the
//! replayer against it, passes its report on, and stops the server. REPLAYER is the path of `replay.py`; its corpus is not part of
//! this repository.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

/// How long an empty server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Replays.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (replayer, arguments) = arguments
        .split_first()
        .context("usage: cargo xtask golden REPLAYER [ARGUMENTS]")?;
    let replayer = Path::new(replayer);
    let tokens = replayer
        .parent()
        .unwrap_or(Path::new("."))
        .join("tokens.csv");
    ensure!(replayer.exists(), "no replayer at {}", replayer.display());
    let binary = crate::test::build_binary()?;
    let server = Server::start(&binary, &tokens)?;
    let status = Command::new("python3")
        .arg(replayer)
        .args([
            "--server",
            &format!("https://127.0.0.1:{}", server.port),
            "--insecure",
        ])
        .args(arguments)
        .status()
        .context("running the replayer with python3")?;
    println!("golden: replayer ended with {status} (1 says that some steps differ)");
    ensure!(matches!(status.code(), Some(0 | 1)), "the replayer failed");
    Ok(())
}

/// A server of our own, stopped when dropped.
struct Server {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl Server {
    fn start(binary: &Path, tokens: &Path) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let directory =
            std::env::temp_dir().join(format!("ironclad-golden-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let log = fs::File::create(directory.join("server.log"))?;
        let child = Command::new(binary)
            .arg("kube-apiserver")
            .arg(format!("--data-dir={}", directory.display()))
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--secure-port={port}"))
            .arg(format!("--token-auth-file={}", tokens.display()))
            .args(["--authorization-mode=Node,RBAC", "--allow-privileged=true"])
            .args(["--service-cluster-ip-range=10.96.0.0/16"])
            .args(["--service-account-issuer=https://kubernetes.default.svc.cluster.local"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut server = Self {
            child,
            port,
            directory,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Ready when the health check says so; curl speaks TLS so that this crate need not.
    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let url = format!("https://127.0.0.1:{}/readyz", self.port);
        while started.elapsed() < START_TIMEOUT {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended with {status}; its log: {}",
                    self.directory.join("server.log").display()
                );
            }
            let answer = Command::new("curl")
                .args([
                    "--silent",
                    "--insecure",
                    "--fail",
                    "--retry",
                    "3",
                    "--retry-connrefused",
                    "--retry-delay",
                    "1",
                    &url,
                ])
                .output()
                .context("running curl")?;
            if answer.status.success() {
                return Ok(());
            }
        }
        bail!(
            "the server was not ready after {} s",
            START_TIMEOUT.as_secs()
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is ours and empty: there is nothing to wait for but its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
