//! A network namespace that stands for a machine: loopback, one link with an address, and a default route.

use std::{
    fs::File,
    os::fd::AsFd as _,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A namespace of our own, removed when dropped.
pub struct NetworkNamespace {
    name: String,
}

impl NetworkNamespace {
    /// Makes one with iproute2. Needs root.
    pub fn create() -> anyhow::Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ironclad-test-{}-{number}", std::process::id());
        run("ip", &["netns", "add", &name]).context("network namespaces need root and iproute2")?;
        let netns = Self { name };
        for arguments in [
            "link set lo up",
            // A bridge without ports has no carrier, but an address and a route all the same.
            "link add uplink type bridge",
            "link set uplink up",
            "addr add 172.31.255.1/24 dev uplink",
            "route add default via 172.31.255.254 dev uplink",
        ] {
            let mut all = vec!["-n", &netns.name];
            all.extend(arguments.split(' '));
            run("ip", &all)?;
        }
        Ok(netns)
    }

    /// Another machine in the same network, at `address` of its /24.
    pub fn beside(&self, address: &str) -> anyhow::Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ironclad-test-{}-{number}", std::process::id());
        run("ip", &["netns", "add", &name]).context("network namespaces need root and iproute2")?;
        let netns = Self { name };
        let cable = format!("cable{number}");
        run(
            "ip",
            &[
                "-n",
                &self.name,
                "link",
                "add",
                &cable,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                &netns.name,
            ],
        )?;
        run(
            "ip",
            &[
                "-n", &self.name, "link", "set", &cable, "master", "uplink", "up",
            ],
        )?;
        for arguments in [
            "link set lo up",
            "link set eth0 up",
            &format!("addr add {address}/24 dev eth0"),
            "route add default via 172.31.255.254 dev eth0",
        ] {
            let mut all = vec!["-n", &netns.name];
            all.extend(arguments.split(' '));
            run("ip", &all)?;
        }
        Ok(netns)
    }

    /// A command that runs in it. Only the network is another: mounts and cgroups are those of the caller.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg("--")
            .arg(program);
        command
    }

    /// A way into it for threads of the test.
    pub fn door(&self) -> anyhow::Result<Door> {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).with_context(|| format!("opening {path}"))?;
        Ok(Door(file))
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A way into a namespace. The namespace lives at least as long.
pub struct Door(File);

impl Door {
    /// Moves the calling thread in, for good: what it opens from now on is of that network.
    pub fn enter(&self) -> anyhow::Result<()> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .context("entering a network namespace needs root")
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        if let Err(error) = run("ip", &["netns", "delete", &self.name]) {
            eprintln!("leaving {} behind: {error:#}", self.name);
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("running {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
