//! A range of addresses, and its halves: the lower for those who choose an address, the upper for those who do not.

use std::{fmt, net::IpAddr, str::FromStr};

/// The static part of a range: at least so many addresses, at most so many, and else a sixteenth.
const MIN_OFFSET: u128 = 16;
const MAX_OFFSET: u128 = 256;
const OFFSET_STEP: u128 = 16;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `IPv4`
    V4,
    /// `IPv6`
    V6,
}

impl Family {
    /// Of an address.
    pub fn of(address: &IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    /// As a Service names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The one that a Service names so.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::V4, Self::V6]
            .into_iter()
            .find(|family| family.name() == name)
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// A network, `10.96.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// Its first address.
    first: IpAddr,
    prefix: u8,
}

/// The text is no network.
#[derive(Debug, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct CidrError(String);

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parse = || {
            let (address, prefix) = text.trim().split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let prefix: u8 = prefix.parse().ok()?;
            let width = width(&address);
            let host_bits = width.checked_sub(prefix)?;
            let mask = if host_bits >= 128 {
                0
            } else {
                u128::MAX << host_bits
            };
            Some(Self {
                first: from_number(number(&address) & mask, &address),
                prefix,
            })
        };
        parse().ok_or_else(|| CidrError(text.to_owned()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl Cidr {
    /// IPv4 or IPv6.
    pub fn family(&self) -> Family {
        Family::of(&self.first)
    }

    /// How many addresses can be handed out: neither the first, nor the last of an IPv4 network. Of IPv6, 2^64 at most.
    pub fn size(&self) -> u128 {
        let host_bits = u32::from((width(&self.first) - self.prefix).min(64));
        let all = 1u128 << host_bits;
        all.saturating_sub(if self.family() == Family::V4 { 2 } else { 1 })
    }

    /// The `index`-th of them, from 0.
    pub fn nth(&self, index: u128) -> IpAddr {
        from_number(number(&self.first) + 1 + index, &self.first)
    }

    /// Whether the address can be handed out.
    pub fn contains(&self, address: &IpAddr) -> bool {
        Family::of(address) == self.family()
            && number(address)
                .checked_sub(number(&self.first) + 1)
                .is_some_and(|index| index < self.size())
    }

    /// How many belong to the lower part. A small range has none.
    pub fn static_part(&self) -> u128 {
        let size = self.size();
        if size < MIN_OFFSET {
            return 0;
        }
        (size / OFFSET_STEP).clamp(MIN_OFFSET, MAX_OFFSET).min(size)
    }
}

fn width(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: &IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// An address of the family of `like`. Numbers beyond IPv4 cannot come from within an IPv4 network.
fn from_number(number: u128, like: &IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_halves() {
        for (text, size, static_part, first) in [
            ("10.96.0.0/16", 65534, 256, "10.96.0.1"),
            ("10.96.0.7/24", 254, 16, "10.96.0.1"),
            ("10.0.0.0/28", 14, 0, "10.0.0.1"),
            ("fd00::/112", 65535, 256, "fd00::1"),
            ("fd00::/48", u128::from(u64::MAX), 256, "fd00::1"),
        ] {
            let cidr: Cidr = text.parse().unwrap();
            assert_eq!(
                (cidr.size(), cidr.static_part()),
                (size, static_part),
                "{text}"
            );
            assert_eq!(cidr.nth(0).to_string(), first);
            assert!(cidr.contains(&cidr.nth(size - 1)));
            assert!(!cidr.contains(&cidr.nth(size)));
        }
        assert!("10.96.0.0/33".parse::<Cidr>().is_err());
        assert!("10.96.0.0".parse::<Cidr>().is_err());
    }
}
