//! A real etcd, started for a test on loopback and ended with it.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A one-member etcd. Killed when dropped.
#[derive(Debug)]
pub struct EtcdProcess {
    child: Child,
    endpoint: String,
    args: Vec<String>,
    binary: PathBuf,
}

impl EtcdProcess {
    /// Starts an etcd with its data in `dir`, and waits until it serves.
    ///
    /// # Panics
    /// When no etcd binary is found (`IRONCLAD_TEST_ETCD`, then `PATH`, then `.clients/etcd` in the workspace), or it does not start.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, "http", &[])
    }

    /// Starts an etcd that serves by TLS, and asks its clients for certificates of the same authority. Files are PEM.
    ///
    /// # Panics
    /// As [`EtcdProcess::start`].
    pub fn start_tls(dir: &Path, ca: &Path, certificate: &Path, key: &Path) -> Self {
        let args = [
            "--client-cert-auth".to_owned(),
            format!("--trusted-ca-file={}", ca.display()),
            format!("--cert-file={}", certificate.display()),
            format!("--key-file={}", key.display()),
        ];
        Self::start_with(dir, "https", &args)
    }

    /// Starts an etcd as distributions configure it: without periodic progress notices.
    ///
    /// # Panics
    /// As [`EtcdProcess::start`].
    pub fn start_quiet(dir: &Path) -> Self {
        Self::launched(dir, "http", &[])
    }

    fn start_with(dir: &Path, scheme: &str, more: &[String]) -> Self {
        // Versions before 3.5.13 give no safe progress notices on request, only these.
        let notices = "--experimental-watch-progress-notify-interval=100ms".to_owned();
        // Versions before 3.5.3 lose the last write now and then if they are killed: a commit that the clock calls for may note a write that has
        // not been made yet (etcd-io/etcd#13766). Here writes call for commits, and the clock does not.
        let commits = ["--backend-batch-limit=1", "--backend-batch-interval=24h"];
        let commits = commits.map(str::to_owned);
        Self::launched(dir, scheme, &[more, &[notices], &commits].concat())
    }

    fn launched(dir: &Path, scheme: &str, more: &[String]) -> Self {
        let binary = find_binary();
        let (client, peer) = (free_port(), free_port());
        let endpoint = format!("{scheme}://127.0.0.1:{client}");
        let peer = format!("http://127.0.0.1:{peer}");
        let mut args = [
            "--name=test",
            &format!("--data-dir={}", dir.display()),
            &format!("--listen-client-urls={endpoint}"),
            &format!("--advertise-client-urls={endpoint}"),
            &format!("--listen-peer-urls={peer}"),
            &format!("--initial-advertise-peer-urls={peer}"),
            &format!("--initial-cluster=test={peer}"),
        ]
        .map(str::to_owned)
        .to_vec();
        args.extend_from_slice(more);
        let child = launch(&binary, &args);
        Self {
            child,
            endpoint,
            args,
            binary,
        }
    }

    /// Where clients connect.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Asks it to end with SIGTERM, and waits until it has. Before 3.5.3, etcd may lose what it has acknowledged if it is killed under load
    /// (etcd-io/etcd#13766).
    pub fn terminate(&mut self) {
        let asked = kill_process(Pid::from_child(&self.child), Signal::TERM);
        asked.expect("it has not been waited for");
        let _ = self.child.wait();
    }

    /// Kills it with SIGKILL and starts it again on the same data and address.
    pub fn restart(&mut self) {
        self.stop();
        self.child = launch(&self.binary, &self.args);
    }

    /// Kills it with SIGKILL.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for EtcdProcess {
    fn drop(&mut self) {
        self.stop();
    }
}

fn find_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("IRONCLAD_TEST_ETCD") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.clients");
    std::env::split_paths(&path)
        .chain([clients])
        .map(|dir| dir.join("etcd"))
        .find(|candidate| candidate.is_file())
        .expect("this test needs an etcd binary: set IRONCLAD_TEST_ETCD, or put etcd on PATH or at .clients/etcd in the workspace")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback gives a port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// Starts etcd and reads its log until it says that it serves clients.
#[expect(
    clippy::zombie_processes,
    reason = "whoever gets the child waits for it"
)]
fn launch(binary: &Path, args: &[String]) -> Child {
    let mut child = Command::new(binary)
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("starting etcd from {}: {error}", binary.display()));
    let mut log = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut seen = String::new();
    let mut line = String::new();
    while log.read_line(&mut line).is_ok_and(|read| read > 0) {
        seen.push_str(&line);
        if line.contains("serving client traffic") {
            // The pipe must be drained, or etcd would block on it.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return child;
        }
        line.clear();
    }
    let _ = child.kill();
    panic!("etcd did not start:\n{seen}");
}
