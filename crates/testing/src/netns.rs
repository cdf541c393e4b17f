//! A network namespace that stands for a machine: loopback, one link with an address of each family in use, and default routes.

use std::{
    fs::File,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::AsFd as _,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The first machine of a network, and the router of all of them, which is not there: a route is a way out as long as nobody takes it.
pub(crate) const FIRST: Ipv4Addr = Ipv4Addr::new(172, 31, 255, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(172, 31, 255, 254);

/// Which addresses machines have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// IPv4 alone.
    #[default]
    Ipv4,
    /// One of each.
    Dual,
}

/// A namespace of our own, removed when dropped.
pub struct NetworkNamespace {
    name: String,
    families: Families,
}

impl NetworkNamespace {
    /// Makes one with iproute2. Needs root.
    pub fn create(families: Families) -> anyhow::Result<Self> {
        let netns = Self::empty(families)?;
        // A bridge without ports has no carrier, but an address and a route all the same.
        netns.ip("link add uplink type bridge")?;
        netns.connect("uplink", FIRST)?;
        Ok(netns)
    }

    /// Another machine in the same network, at `address` of its /24 and at [`in_ipv6`] of it.
    pub fn beside(&self, address: Ipv4Addr) -> anyhow::Result<Self> {
        let netns = Self::empty(self.families)?;
        let cable = format!("cable{}", address.octets()[3]);
        let peer = &netns.name;
        self.ip(&format!(
            "link add {cable} type veth peer name eth0 netns {peer}"
        ))?;
        self.ip(&format!("link set {cable} master uplink up"))?;
        netns.connect("eth0", address)?;
        Ok(netns)
    }

    fn empty(families: Families) -> anyhow::Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ironclad-test-{}-{number}", std::process::id());
        run("ip", &["netns", "add", &name]).context("network namespaces need root and iproute2")?;
        let netns = Self { name, families };
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// Gives a link its addresses, and leads everything else to the router.
    fn connect(&self, link: &str, address: Ipv4Addr) -> anyhow::Result<()> {
        self.ip(&format!("link set {link} up"))?;
        self.ip(&format!("addr add {address}/24 dev {link}"))?;
        self.ip(&format!("route add default via {ROUTER} dev {link}"))?;
        if self.families == Families::Dual {
            let (address, router) = (in_ipv6(address), in_ipv6(ROUTER));
            self.ip(&format!("addr add {address}/64 dev {link} nodad"))?;
            self.ip(&format!("route add default via {router} dev {link}"))?;
        }
        Ok(())
    }

    /// iproute2's `ip`, in here.
    fn ip(&self, arguments: &str) -> anyhow::Result<()> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split(' '));
        run("ip", &all)
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

/// The IPv6 address of the machine at this one.
pub fn in_ipv6(address: Ipv4Addr) -> Ipv6Addr {
    let [_, _, _, host] = address.octets();
    Ipv6Addr::new(0xfd00, 0x172, 0x31, 0x255, 0, 0, 0, host.into())
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
