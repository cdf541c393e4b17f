//! Kubernetes' addresses: `ip('10.0.0.1').isLoopback()`, `cidr('10.0.0.0/8').containsIP('10.1.2.3')`.
//!
//! Stricter than most: no zones, no IPv4 in IPv6, no leading zeros.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use apimachinery::quote;

use super::{Opaque, Result, arguments, failed, mismatch, opaque, rows};
use crate::{cost::Cost, value::Value};

rows! {
    "ip", "(string) -> net.IP", Cost::Scan, ip;
    "ip", "net.CIDR.() -> net.IP", Cost::Fixed(1), cidr_ip;
    "ip.isCanonical", "(string) -> bool", Cost::ScanTwice, is_canonical;
    "isIP", "(string) -> bool", Cost::Scan, is_ip;
    "family", "net.IP.() -> int", Cost::Fixed(1), |args| about(args, |ip| Value::Int(if ip.is_ipv4() { 4 } else { 6 }));
    "isUnspecified", "net.IP.() -> bool", Cost::Fixed(1), |args| about(args, |ip| ip.is_unspecified().into());
    "isLoopback", "net.IP.() -> bool", Cost::Fixed(1), |args| about(args, |ip| ip.is_loopback().into());
    "isLinkLocalMulticast", "net.IP.() -> bool", Cost::Fixed(1), |args| about(args, |ip| is_link_local_multicast(ip).into());
    "isLinkLocalUnicast", "net.IP.() -> bool", Cost::Fixed(1), |args| about(args, |ip| is_link_local_unicast(ip).into());
    "isGlobalUnicast", "net.IP.() -> bool", Cost::Fixed(1), |args| about(args, |ip| is_global_unicast(ip).into());
    "string", "(net.IP) -> string", Cost::Unit, |args| about(args, |ip| ip.to_string().into());
    "cidr", "(string) -> net.CIDR", Cost::Scan, cidr;
    "isCIDR", "(string) -> bool", Cost::Scan, is_cidr;
    "containsIP", "net.CIDR.(string) -> bool", Cost::ContainsIp(true), contains_ip;
    "containsIP", "net.CIDR.(net.IP) -> bool", Cost::ContainsIp(false), contains_ip;
    "containsCIDR", "net.CIDR.(string) -> bool", Cost::ContainsCidr(true), contains_cidr;
    "containsCIDR", "net.CIDR.(net.CIDR) -> bool", Cost::ContainsCidr(false), contains_cidr;
    "masked", "net.CIDR.() -> net.CIDR", Cost::Fixed(1), masked;
    "prefixLength", "net.CIDR.() -> int", Cost::Fixed(1), prefix_length;
    "string", "(net.CIDR) -> string", Cost::Unit, cidr_string;
}

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip(pub(crate) IpAddr);

impl Ip {
    pub(crate) fn bytes(self) -> u64 {
        match self.0 {
            IpAddr::V4(_) => 4,
            IpAddr::V6(_) => 16,
        }
    }

    fn width(self) -> u8 {
        match self.0 {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// The bits, the highest first.
    fn bits(self) -> u128 {
        match self.0 {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }

    /// With all but the first bits zero.
    fn masked(self, length: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        let bits = self.bits() & mask;
        Self(match self.0 {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(
                u32::try_from(bits >> 96).unwrap_or_default(),
            )),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        })
    }
}

/// A range: an address, whose host part may be set, and how many bits of it count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub(crate) address: Ip,
    length: u8,
}

impl Cidr {
    /// Of the network part.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.length.div_ceil(8))
    }

    fn contains(self, ip: Ip) -> bool {
        self.address.width() == ip.width()
            && ip.masked(self.length) == self.address.masked(self.length)
    }
}

fn parse_ip(text: &str) -> std::result::Result<Ip, String> {
    if let Some((before, _)) = text.split_once('%')
        && before.parse::<Ipv6Addr>().is_ok()
    {
        return Err(format!(
            "IP address {} with zone value is not allowed",
            quote(text)
        ));
    }
    match text.parse() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => Err(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            quote(text)
        )),
        Ok(ip) => Ok(Ip(ip)),
        Err(_) => Err(format!(
            "IP Address {} parse error during conversion from string: ParseAddr({}): {}",
            quote(text),
            quote(text),
            reason(text)
        )),
    }
}

/// Why Go's parser refuses an address.
fn reason(text: &str) -> String {
    match text.chars().find(|c| matches!(c, '.' | ':' | '%')) {
        Some('.') => ipv4_reason(text),
        Some(':') => "each colon-separated field must have at least one digit".to_owned(),
        Some(_) => "missing IPv6 address".to_owned(),
        None => "unable to parse IP".to_owned(),
    }
}

fn ipv4_reason(text: &str) -> String {
    let (mut dots, mut value, mut digits) = (0, 0, 0);
    for (at, c) in text.char_indices() {
        let here = |what: &str| format!("{what} (at {})", quote(&text[at..]));
        match c.to_digit(10) {
            Some(_) if digits == 1 && value == 0 => {
                return "IPv4 field has octet with leading zero".to_owned();
            }
            Some(digit) => {
                (value, digits) = (value * 10 + digit, digits + 1);
                if value > 255 {
                    return "IPv4 field has value >255".to_owned();
                }
            }
            None if c != '.' => return here("unexpected character"),
            None if digits == 0 || at + 1 == text.len() => {
                return here("IPv4 field must have at least one digit");
            }
            None if dots == 3 => return "IPv4 address too long".to_owned(),
            None => (dots, value, digits) = (dots + 1, 0, 0),
        }
    }
    "IPv4 address too short".to_owned()
}

fn parse_cidr(text: &str) -> std::result::Result<Cidr, String> {
    let wrong = |why: &str| {
        format!(
            "network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix({}): {why}",
            quote(text)
        )
    };
    let (address, length) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'"))?;
    if let Some((before, zone)) = address.split_once('%')
        && !zone.is_empty()
        && before.parse::<Ipv6Addr>().is_ok()
    {
        return Err(wrong("IPv6 zones cannot be present in a prefix"));
    }
    let address: IpAddr = address.parse().map_err(|_| {
        wrong(&format!(
            "ParseAddr({}): {}",
            quote(address),
            reason(address)
        ))
    })?;
    if let IpAddr::V6(v6) = address
        && v6.to_ipv4_mapped().is_some()
    {
        return Err(format!(
            "network address parse error during conversion from string: IPv4-mapped IPv6 address {} is not allowed",
            quote(text)
        ));
    }
    let address = Ip(address);
    let canonical = length == "0" || !length.starts_with(['0', '+', '-']);
    let bits = length
        .parse::<u64>()
        .ok()
        .filter(|_| canonical)
        .ok_or_else(|| wrong(&format!("bad bits after slash: {}", quote(length))))?;
    let length = u8::try_from(bits)
        .ok()
        .filter(|length| *length <= address.width())
        .ok_or_else(|| wrong("prefix length out of range"))?;
    Ok(Cidr { address, length })
}

fn ip<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text)]);
    match parse_ip(text) {
        Ok(ip) => Ok(Value::opaque(Opaque::Ip(ip))),
        Err(message) => failed(message),
    }
}

fn is_ip<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text)]);
    Ok(Value::Bool(parse_ip(text).is_ok()))
}

fn is_canonical<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text)]);
    match parse_ip(text) {
        Ok(ip) => Ok(Value::Bool(ip.0.to_string() == **text)),
        Err(message) => failed(message),
    }
}

fn about<'a>(args: &[Value<'a>], what: fn(&IpAddr) -> Value<'static>) -> Result<'a> {
    arguments!(args, [value]);
    Ok(what(&opaque!(value, Ip).0))
}

fn is_link_local_multicast(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local_unicast(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_global_unicast(ip: &IpAddr) -> bool {
    !(ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || is_link_local_unicast(ip)
        || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()))
}

fn cidr<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text)]);
    match parse_cidr(text) {
        Ok(cidr) => Ok(Value::opaque(Opaque::Cidr(cidr))),
        Err(message) => failed(message),
    }
}

fn is_cidr<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text)]);
    Ok(Value::Bool(parse_cidr(text).is_ok()))
}

fn cidr_ip<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    Ok(Value::opaque(Opaque::Ip(opaque!(value, Cidr).address)))
}

fn contains_ip<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [range, ip]);
    let range = opaque!(range, Cidr);
    let ip = match ip {
        Value::String(text) => match parse_ip(text) {
            Ok(ip) => ip,
            // Upstream does not say what is wrong with it.
            Err(_) => return mismatch(),
        },
        other => *opaque!(other, Ip),
    };
    Ok(Value::Bool(range.contains(ip)))
}

fn contains_cidr<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [range, other]);
    let range = opaque!(range, Cidr);
    let other = match other {
        Value::String(text) => match parse_cidr(text) {
            Ok(cidr) => cidr,
            Err(message) => return failed(message),
        },
        other => *opaque!(other, Cidr),
    };
    let inside = range.length <= other.length && range.contains(other.address);
    Ok(Value::Bool(inside))
}

fn masked<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    let Cidr { address, length } = *opaque!(value, Cidr);
    Ok(Value::opaque(Opaque::Cidr(Cidr {
        address: address.masked(length),
        length,
    })))
}

fn prefix_length<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    Ok(Value::Int(i64::from(opaque!(value, Cidr).length)))
}

fn cidr_string<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    let Cidr { address, length } = opaque!(value, Cidr);
    Ok(Value::from(format!("{}/{length}", address.0)))
}
