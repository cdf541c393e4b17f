//! The model: just what Services, masquerading, host ports and network policies need of nftables.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// A table: chains and sets by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which packets.
    pub family: Family,
    /// Its name; ours begin with `ironclad-`.
    pub name: String,
    /// Chains.
    pub chains: BTreeMap<String, Chain>,
    /// Sets and verdict maps.
    pub sets: BTreeMap<String, Set>,
}

/// Where a base chain hangs in the packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Destination NAT of what comes in.
    NatPrerouting,
    /// Destination NAT of what this machine sends.
    NatOutput,
    /// Source NAT of what leaves.
    NatPostrouting,
    /// What is meant for this machine.
    FilterInput,
    /// What passes through.
    FilterForward,
    /// What this machine sends, before its destination may change.
    FilterOutput,
    /// What this machine sends, to where it goes.
    FilterOutputAfterNat,
    /// What comes in, before any NAT and routing.
    FilterPrerouting,
}

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// A base chain's hook; other chains are jumped to.
    pub hook: Option<Hook>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// A rule: its statements from left to right, the first mismatch ends it.
pub type Rule = Vec<Statement>;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It passes this hook.
    Accept,
    /// It goes no further.
    Drop,
    /// Back to the chain that jumped here.
    Return,
    /// On in that chain, then back.
    Jump(String),
    /// On in that chain.
    Goto(String),
}

/// A part of a packet that keys a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyField {
    /// Source address.
    Source,
    /// Destination address.
    Destination,
    /// Transport protocol.
    Protocol,
    /// Destination port.
    DestinationPort,
}

/// A value of such a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An address.
    Address(IpAddr),
    /// A protocol.
    Protocol(Protocol),
    /// A port.
    Port(u16),
    /// A plain number, for [`Statement::RandomVerdict`].
    Number(u32),
}

/// The key of an element: one value for each field of its set, in their order.
pub type Element = Vec<Key>;

/// A set, or a map from keys to verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The fields that make its key.
    pub fields: SetKey,
    /// Its elements; verdicts are there exactly if it is a map.
    pub elements: BTreeMap<Element, Option<Verdict>>,
    /// Whether it is a map.
    pub is_map: bool,
    /// Elements that the packet path adds go after this time.
    pub timeout: Option<Duration>,
}

/// What a set is keyed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetKey {
    /// Parts of the packet.
    Fields(Vec<KeyField>),
    /// A number.
    Number,
}

impl Set {
    /// A map from `fields` to verdicts.
    pub fn verdict_map(fields: &[KeyField]) -> Self {
        Self {
            fields: SetKey::Fields(fields.to_vec()),
            elements: BTreeMap::new(),
            is_map: true,
            timeout: None,
        }
    }

    /// A set of `fields`.
    pub fn of(fields: &[KeyField]) -> Self {
        Self {
            is_map: false,
            ..Self::verdict_map(fields)
        }
    }

    /// Verdicts numbered from 0, for [`Statement::RandomVerdict`].
    pub fn choices(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let elements = (0..)
            .zip(verdicts)
            .map(|(n, verdict)| (vec![Key::Number(n)], Some(verdict)));
        Self {
            fields: SetKey::Number,
            elements: elements.collect(),
            is_map: true,
            timeout: None,
        }
    }

    /// A set of source addresses that the packet path fills, each for `timeout` from its last packet.
    pub fn recent_sources(timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..Self::of(&[KeyField::Source])
        }
    }
}

/// A step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// The source address is in (`true`) or outside (`false`) this prefix.
    Source(IpAddr, u8, bool),
    /// The destination address is in (`true`) or outside (`false`) this prefix.
    Destination(IpAddr, u8, bool),
    /// The destination is one of this machine's own addresses.
    DestinationIsLocal,
    /// The transport protocol.
    Protocol(Protocol),
    /// The destination port.
    DestinationPort(u16),
    /// Came in (`true`) or did not come in (`false`) by this link.
    InputLink(String, bool),
    /// Leaves (`true`) or does not leave (`false`) by this link.
    OutputLink(String, bool),
    /// Those bits of the packet's mark are set.
    Mark(u32),
    /// The fields of the packet are in this set.
    InSet(Vec<KeyField>, String),
    /// Adds the packet's source address to a set, or renews it there.
    RememberSource(String),
    /// Does what the map says for the packet's fields; goes on if it says nothing.
    VerdictMap(Vec<KeyField>, String),
    /// Does what the map says for a random number below the first.
    RandomVerdict(u32, String),
    /// Sets those bits of the packet's mark.
    SetMark(u32),
    /// Clears those bits of the packet's mark.
    ClearMark(u32),
    /// Sends the connection elsewhere.
    DestinationNat(IpAddr, Option<u16>),
    /// Gives the connection this machine's address, with a random port.
    Masquerade,
    /// Answers with ICMP port unreachable.
    Reject,
    /// Decides.
    Verdict(Verdict),
}

impl Table {
    /// An empty table.
    pub fn new(family: Family, name: &str) -> Self {
        Self {
            family,
            name: name.to_owned(),
            chains: BTreeMap::new(),
            sets: BTreeMap::new(),
        }
    }

    /// The chain of that name, made if need be.
    pub fn chain(&mut self, name: &str) -> &mut Chain {
        self.chains.entry(name.to_owned()).or_default()
    }

    /// The base chain of that name and hook, made if need be.
    pub fn base_chain(&mut self, name: &str, hook: Hook) -> &mut Chain {
        let chain = self.chain(name);
        chain.hook = Some(hook);
        chain
    }
}
