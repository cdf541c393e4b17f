//! Capabilities by name, and how a process gives up what it shall not have.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
};

/// Names without `CAP_`, each at the index that is its number.
const NAMES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities: bit n is capability number n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Every capability that we know by name.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The capability of that name, with or without `CAP_`, in any case; `ALL` is all of them.
    pub fn by_name(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if bare == "ALL" {
            return Some(Self::ALL);
        }
        NAMES
            .iter()
            .position(|known| *known == bare)
            .map(|number| Self(1 << number))
    }

    /// Both sets together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without those of the other set.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set has the capability of that name.
    pub fn has(self, name: &str) -> bool {
        Self::by_name(name).is_some_and(|one| self.0 & one.0 == one.0)
    }

    /// What this process may use at most.
    pub fn of_this_process() -> io::Result<Self> {
        Ok(Self(rustix::thread::capabilities(None)?.permitted.bits()))
    }
}

/// Shrinks the bounding set, which limits what any later exec can gain. Needs SETPCAP.
pub fn limit_bounding_set(keep: Capabilities) -> io::Result<()> {
    for number in 0..64 {
        let one = Capabilities(1 << number);
        if keep.0 & one.0 != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(one.0)) {
            Ok(()) => {}
            // Beyond the last capability that this kernel has.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Sets the thread's permitted, effective and inheritable sets, and the ambient set, which a program without file capabilities keeps
/// across exec.
pub fn set(
    permitted: Capabilities,
    effective: Capabilities,
    inheritable: Capabilities,
    ambient: Capabilities,
) -> io::Result<()> {
    let bits = |set: Capabilities| CapabilitySet::from_bits_retain(set.0);
    set_capabilities(
        None,
        CapabilitySets {
            effective: bits(effective),
            permitted: bits(permitted),
            inheritable: bits(inheritable),
        },
    )?;
    clear_ambient_capability_set()?;
    for number in 0..64 {
        if ambient.0 & (1 << number) != 0 {
            configure_capability_in_ambient_set(
                CapabilitySet::from_bits_retain(1 << number),
                true,
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(
            Capabilities::by_name("cap_net_raw"),
            Some(Capabilities(1 << 13))
        );
        assert_eq!(
            Capabilities::by_name("CHECKPOINT_RESTORE"),
            Some(Capabilities(1 << 40))
        );
        assert_eq!(Capabilities::by_name("NOPE"), None);
        let set = Capabilities::ALL.without(Capabilities(1 << 21));
        assert!(!set.has("SYS_ADMIN") && set.has("CHOWN"));
    }
}
