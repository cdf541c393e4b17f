//! A second machine, which joins a cluster: a network namespace beside that of the first, and components of its own in it.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    Cluster, Running, eventually,
    netns::{FIRST, NetworkNamespace},
};

/// What a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The machine. Its pods, mounts and links end with it.
pub struct Machine {
    netns: NetworkNamespace,
    directory: tempfile::TempDir,
    binary: PathBuf,
}

impl Machine {
    /// In the network of the cluster's machine, at `address`.
    pub fn beside(cluster: &Cluster, address: Ipv4Addr) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("ironclad-second-")
            .tempdir()?;
        Ok(Self {
            netns: cluster.netns().beside(address)?,
            directory,
            binary: cluster.binary().to_owned(),
        })
    }

    /// Its network.
    pub fn netns(&self) -> &NetworkNamespace {
        &self.netns
    }

    /// A file of its.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn ironclad(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.netns.command(&self.binary);
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.path("data"));
        command
    }

    /// Joins the cluster as `name` with a token, and waits until the node is ready. Kubelet and kube-proxy end with the answer.
    pub fn join(
        &self,
        cluster: &Cluster,
        name: &str,
        kubelet_flags: &[&str],
        cluster_cidr: &str,
    ) -> anyhow::Result<[Running; 2]> {
        let token = cluster
            .ironclad(&["token", "create"])
            .arg(format!("--server=https://{FIRST}:6443"))
            .output()?;
        ensure!(token.status.success(), "{token:?}");
        fs::write(self.path("bootstrap.kubeconfig"), token.stdout)?;
        fs::copy(cluster.data_dir().join("pki/ca.crt"), self.path("ca.crt"))?;

        let name_flag = format!("--hostname-override={name}");
        let cidr_flag = format!("--cluster-cidr={cluster_cidr}");
        let mut flags = vec![
            "--bootstrap-kubeconfig=bootstrap.kubeconfig",
            "--kubeconfig=kubelet.kubeconfig",
            "--client-ca-file=ca.crt",
            "--authorization-mode=Webhook",
            "--rotate-certificates",
            "--eviction-hard=memory.available<1Mi",
            "--image-gc-high-threshold=100",
            "--rotate-server-certificates",
            &name_flag,
            &cidr_flag,
        ];
        flags.extend(kubelet_flags);
        let kubelet = self.start("kubelet", &flags)?;
        eventually(PATIENCE, || {
            ensure!(
                self.path("kubelet.kubeconfig").exists(),
                "no certificate yet"
            );
            Ok(())
        });
        let flags = ["--kubeconfig=kubelet.kubeconfig", &name_flag, &cidr_flag];
        let proxy = self.start("kube-proxy", &flags)?;
        let node = format!("node/{name}");
        eventually(PATIENCE, || {
            cluster.try_kubectl(&["wait", &node, "--for=condition=Ready", "--timeout=1s"])
        });
        Ok([kubelet, proxy])
    }

    fn start(&self, component: &str, arguments: &[&str]) -> anyhow::Result<Running> {
        let log = File::create(self.path(&format!("{component}.log")))?;
        let mut command = self.netns.command(&self.binary);
        command.arg(component);
        if component == "kubelet" {
            command.arg("--data-dir").arg(self.path("data"));
        }
        let child = command
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {component}"))?;
        Ok(Running::from(child))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["kubelet.log", "kube-proxy.log"] {
                let log = fs::read_to_string(self.path(name)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!(
                    "{name}:\n{}",
                    lines[lines.len().saturating_sub(20)..].join("\n")
                );
            }
        }
        let down = self
            .ironclad(&["down", "--purge"])
            .arg("--kubeconfig")
            .arg(self.path("none"))
            .output();
        match down {
            Ok(output) if output.status.success() => {}
            other => eprintln!("ironclad down: {other:?}"),
        }
    }
}
