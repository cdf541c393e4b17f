//! Addresses of pods: handed out in turn from the node's pod CIDRs, so that an address is not given to the next pod while the world
//! still remembers the last one. Pure; [`crate::records`] makes it last.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

/// A network prefix, `10.244.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    length: u8,
}

/// Why a text is no [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct CidrError(String);

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parsed = text.split_once('/').and_then(|(address, length)| {
            let address: IpAddr = address.parse().ok()?;
            let length: u8 = length.parse().ok()?;
            (length <= bits(&address)).then_some((address, length))
        });
        let (address, length) = parsed.ok_or_else(|| CidrError(text.to_owned()))?;
        let cidr = Self {
            network: address,
            length,
        };
        Ok(Self {
            network: cidr.at(0),
            length,
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

fn bits(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

impl Cidr {
    /// Its network address.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// The length of its prefix in bits.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The node's own address in it: the first after the network's.
    pub fn gateway(&self) -> IpAddr {
        self.at(1)
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4()
            && to_number(address) & self.mask() == to_number(self.network)
    }

    /// How many addresses pods can have: all but the network's, the gateway's and the broadcast address.
    fn capacity(&self) -> u128 {
        let host_bits = u32::from(bits(&self.network) - self.length);
        let all = 1_u128.checked_shl(host_bits).unwrap_or(u128::MAX);
        all.saturating_sub(3)
    }

    fn mask(&self) -> u128 {
        let width = u32::from(bits(&self.network));
        let host_bits = width - u32::from(self.length);
        let all = if width == 128 {
            u128::MAX
        } else {
            (1 << width) - 1
        };
        all & !(1_u128.checked_shl(host_bits).map_or(u128::MAX, |n| n - 1))
    }

    fn at(&self, index: u128) -> IpAddr {
        let number = (to_number(self.network) & self.mask()).wrapping_add(index);
        match self.network {
            IpAddr::V4(_) => IpAddr::from(
                u32::try_from(number)
                    .expect("an IPv4 number has 32 bits")
                    .to_be_bytes(),
            ),
            IpAddr::V6(_) => IpAddr::from(number.to_be_bytes()),
        }
    }
}

/// The addresses of one CIDR.
#[derive(Debug)]
pub(crate) struct Pool {
    cidr: Cidr,
    taken: BTreeSet<IpAddr>,
    next: u128,
}

impl Pool {
    /// With what is taken already; the search goes on after the highest of it.
    pub(crate) fn new(cidr: Cidr, taken: impl IntoIterator<Item = IpAddr>) -> Self {
        let taken: BTreeSet<IpAddr> = taken.into_iter().filter(|a| cidr.contains(*a)).collect();
        let next = taken
            .last()
            .map_or(0, |last| to_number(*last) - to_number(cidr.network));
        // Pods have the indices from 2 on.
        Self {
            cidr,
            taken,
            next: next.saturating_sub(1),
        }
    }

    /// A free address, or `None` if there is none.
    pub(crate) fn take(&mut self) -> Option<IpAddr> {
        let capacity = self.cidr.capacity();
        // One of more candidates than there are taken ones is free.
        let tries = capacity.min(self.taken.len() as u128 + 1);
        for _ in 0..tries {
            let address = self.cidr.at(2 + self.next % capacity);
            self.next = (self.next + 1) % capacity;
            if self.taken.insert(address) {
                return Some(address);
            }
        }
        (0..capacity.min(u128::from(u16::MAX)))
            .map(|index| self.cidr.at(2 + index))
            .find(|address| self.taken.insert(*address))
    }

    /// Gives an address back.
    pub(crate) fn give_back(&mut self, address: IpAddr) {
        self.taken.remove(&address);
    }

    pub(crate) fn cidr(&self) -> Cidr {
        self.cidr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(cidr: &str, taken: &[&str]) -> Pool {
        Pool::new(
            cidr.parse().unwrap(),
            taken.iter().map(|a| a.parse().unwrap()),
        )
    }

    #[test]
    fn addresses_are_handed_out_in_turn_and_not_at_once_again() {
        let mut pool = pool("10.244.0.0/24", &[]);
        let first = pool.take().unwrap();
        assert_eq!(first.to_string(), "10.244.0.2");
        pool.give_back(first);
        assert_eq!(pool.take().unwrap().to_string(), "10.244.0.3");
    }

    #[test]
    fn a_small_network_is_used_up_and_used_again() {
        let mut pool = pool("10.0.0.0/29", &[]);
        let all: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(
            all.len(),
            5,
            "8 less network, gateway and broadcast: {all:?}"
        );
        pool.give_back(all[3]);
        assert_eq!(pool.take(), Some(all[3]));
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn what_was_taken_before_a_restart_stays_taken() {
        let mut pool = pool("10.0.0.0/29", &["10.0.0.2", "10.0.0.4"]);
        let rest: Vec<_> = std::iter::from_fn(|| pool.take())
            .map(|a| a.to_string())
            .collect();
        assert_eq!(rest, ["10.0.0.5", "10.0.0.6", "10.0.0.3"]);
    }

    #[test]
    fn cidrs() {
        let cidr: Cidr = "10.1.2.3/16".parse().unwrap();
        assert_eq!(
            (
                cidr.to_string().as_str(),
                cidr.gateway().to_string().as_str()
            ),
            ("10.1.0.0/16", "10.1.0.1")
        );
        assert!(cidr.contains("10.1.255.255".parse().unwrap()));
        assert!(!cidr.contains("10.2.0.0".parse().unwrap()));
        let v6: Cidr = "fd00:10:244::/64".parse().unwrap();
        assert_eq!(v6.gateway().to_string(), "fd00:10:244::1");
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Cidr>(), Err(CidrError(bad.to_owned())));
        }
    }
}
