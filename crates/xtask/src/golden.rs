//! `cargo xtask golden [--etcd] [--strict] REPLAYER [ARGUMENTS]`: starts an empty `ironclad kube-apiserver` as the corpus wants it, runs
//! the replayer against it, passes its report on, and stops the server. REPLAYER is the path of `replay.py`; its corpus is not part of
//! this repository. With `--etcd` the server stands on a real etcd (from `.clients/` or PATH) in place of the embedded store; with
//! `--strict` a step that differs is a failure. `IRONCLAD_BINARY` names the binary, else it is built.

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

/// What stands before the replayer's path.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flags {
    etcd: bool,
    strict: bool,
}

impl Flags {
    /// Takes them off the front.
    fn take(mut arguments: &[String]) -> (Self, &[String]) {
        let mut flags = Self::default();
        while let Some((first, rest)) = arguments.split_first() {
            match first.as_str() {
                "--etcd" => flags.etcd = true,
                "--strict" => flags.strict = true,
                _ => break,
            }
            arguments = rest;
        }
        (flags, arguments)
    }
}

/// Replays.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (flags, arguments) = Flags::take(arguments);
    let (replayer, arguments) = arguments
        .split_first()
        .context("usage: cargo xtask golden [--etcd] [--strict] REPLAYER [ARGUMENTS]")?;
    let replayer = Path::new(replayer);
    let tokens = replayer
        .parent()
        .unwrap_or(Path::new("."))
        .join("tokens.csv");
    ensure!(replayer.exists(), "no replayer at {}", replayer.display());
    let binary = match std::env::var_os("IRONCLAD_BINARY") {
        Some(binary) => PathBuf::from(binary),
        None => crate::test::build_binary()?,
    };
    let directory = tempfile::Builder::new()
        .prefix("ironclad-golden-")
        .tempdir()?;
    let etcd = flags
        .etcd
        .then(|| Etcd::start(directory.path()))
        .transpose()?;
    let server = Server::start(&binary, &tokens, directory.path(), etcd.as_ref())?;
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
    ensure!(!flags.strict || status.success(), "some steps differ");
    Ok(())
}

/// A port that nobody has at the moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs curl quietly until it succeeds, or the time is over. It speaks TLS and gRPC's health, so that this crate need not.
fn wait_until_answered(child: &mut Child, url: &str, log: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < START_TIMEOUT {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}:\n{}", end_of(log));
        }
        let answer = Command::new("curl")
            .args(["--silent", "--insecure", "--fail", "--retry", "3"])
            .args(["--retry-connrefused", "--retry-delay", "1", url])
            .output()
            .context("running curl")?;
        if answer.status.success() {
            return Ok(());
        }
    }
    bail!(
        "{url} does not answer after {} s:\n{}",
        START_TIMEOUT.as_secs(),
        end_of(log)
    )
}

/// The last lines of a log.
fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// A process of ours, killed when dropped: it is alone with its data, and there is nothing to wait for but its end.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An etcd of one member.
struct Etcd {
    endpoint: String,
    _process: Process,
}

impl Etcd {
    fn start(directory: &Path) -> anyhow::Result<Self> {
        let binary = crate::test::find(&crate::workspace_root(), "etcd")
            .context("no etcd in .clients/ or on PATH")?;
        let endpoint = format!("http://127.0.0.1:{}", free_port()?);
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let path = directory.join("etcd.log");
        let log = fs::File::create(&path)?;
        let child = Command::new(&binary)
            .args(["--name=golden", "--unsafe-no-fsync"])
            .arg(format!("--data-dir={}", directory.join("etcd").display()))
            .arg(format!("--listen-client-urls={endpoint}"))
            .arg(format!("--advertise-client-urls={endpoint}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=golden={peer}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut process = Process(child);
        wait_until_answered(&mut process.0, &format!("{endpoint}/health"), &path)
            .context("etcd")?;
        Ok(Self {
            endpoint,
            _process: process,
        })
    }
}

/// An empty server.
struct Server {
    port: u16,
    _process: Process,
}

impl Server {
    fn start(
        binary: &Path,
        tokens: &Path,
        directory: &Path,
        etcd: Option<&Etcd>,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let path = directory.join("server.log");
        let log = fs::File::create(&path)?;
        let mut command = Command::new(binary);
        command
            .arg("kube-apiserver")
            .arg(format!("--data-dir={}", directory.display()));
        if let Some(etcd) = etcd {
            command.arg(format!("--etcd-servers={}", etcd.endpoint));
        }
        let child = command
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
        let mut process = Process(child);
        let url = format!("https://127.0.0.1:{port}/readyz");
        wait_until_answered(&mut process.0, &url, &path).context("the API server")?;
        Ok(Self {
            port,
            _process: process,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_first() {
        let words = ["--strict", "--etcd", "replay.py", "--area", "--etcd"];
        let arguments: Vec<String> = words.map(str::to_owned).to_vec();
        let (flags, rest) = Flags::take(&arguments);
        let both = Flags {
            etcd: true,
            strict: true,
        };
        assert_eq!((flags, rest), (both, &arguments[2..]));
    }
}
