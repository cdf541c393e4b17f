//! The forms that names and other short strings take, with upstream's complaints (`k8s.io/apimachinery/pkg/util/validation`).
//!
//! Each function gives the complaints about a value, none when it is good. They never look at anything but the value. The patterns
//! stand in the messages as upstream prints them; the checks are written by hand, because a scan of bytes needs no expression engine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const DNS1123_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS1123_SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS1035_LABEL: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED_NAME: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// Longest DNS label.
pub const DNS_LABEL_MAX: usize = 63;
/// Longest DNS subdomain.
pub const DNS_SUBDOMAIN_MAX: usize = 253;

fn max_chars(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn max_bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// That a string does not match a pattern: `message (e.g. 'a',  or 'b', regex used for validation is 're')`, with upstream's two blanks.
pub fn regex_error(message: &str, pattern: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{pattern}')");
    }
    let mut out = format!("{message} (e.g. ");
    for (i, example) in examples.iter().enumerate() {
        if i > 0 {
            out.push_str(" or ");
        }
        out.push_str(&format!("'{example}', "));
    }
    out.push_str(&format!("regex used for validation is '{pattern}')"));
    out
}

/// `first (middle* last)?` over bytes.
fn bounded(value: &str, edge: fn(u8) -> bool, middle: fn(u8) -> bool) -> bool {
    let bytes = value.as_bytes();
    match bytes {
        [] => false,
        [only] => edge(*only),
        [first, inner @ .., last] => {
            edge(*first) && edge(*last) && inner.iter().all(|b| middle(*b))
        }
    }
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_dns1123_label(value: &str) -> bool {
    bounded(value, lower_alnum, |b| lower_alnum(b) || b == b'-')
}

fn is_dns1123_subdomain(value: &str) -> bool {
    value.split('.').all(is_dns1123_label)
}

/// The first part of a qualified name, and a label's value that is not empty.
fn is_qualified_part(value: &str) -> bool {
    bounded(
        value,
        |b| b.is_ascii_alphanumeric(),
        |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'),
    )
}

fn dns1123_label_pattern_error() -> String {
    regex_error(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
        DNS1123_LABEL,
        &["my-name", "123-abc"],
    )
}

fn dns1123_subdomain_pattern_error() -> String {
    regex_error(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        DNS1123_SUBDOMAIN,
        &["example.com"],
    )
}

/// A DNS label as RFC 1123 has it, in lower case.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        errors.push(max_chars(DNS_LABEL_MAX));
    }
    if !is_dns1123_label(value) {
        errors.push(if is_dns1123_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            dns1123_label_pattern_error()
        });
    }
    errors
}

/// A DNS subdomain as RFC 1123 has it, in lower case; most names of objects are one.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_chars(DNS_SUBDOMAIN_MAX));
    }
    if !is_dns1123_subdomain(value) {
        errors.push(dns1123_subdomain_pattern_error());
    }
    errors
}

/// The same, of the kinds whose names upstream judges by a declaration: its bound is of bytes.
pub fn long_name(value: &str) -> Vec<String> {
    let mut errors = dns1123_subdomain(value);
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors[0] = max_bytes(DNS_SUBDOMAIN_MAX);
    }
    errors
}

/// A DNS label as RFC 1035 has it: it begins with a letter.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        errors.push(max_chars(DNS_LABEL_MAX));
    }
    if !(is_dns1123_label(value) && value.as_bytes()[0].is_ascii_lowercase()) {
        errors.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            DNS1035_LABEL,
            &["my-name", "abc-123"],
        ));
    }
    errors
}

/// A subdomain whose first label is `*`.
pub fn wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_chars(DNS_SUBDOMAIN_MAX));
    }
    if !value.strip_prefix("*.").is_some_and(is_dns1123_subdomain) {
        errors.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!(r"\*\.{DNS1123_SUBDOMAIN}"),
            &["*.example.com"],
        ));
    }
    errors
}

/// A subdomain whose labels may also hold `_`, as search paths in the wild do.
pub fn dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    const PATTERN: &str = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_chars(DNS_SUBDOMAIN_MAX));
    }
    let label = |l: &str| {
        let mut bytes = l.strip_prefix('_').unwrap_or(l).bytes();
        match (bytes.next(), bytes.next_back()) {
            (Some(only), None) => lower_alnum(only),
            (Some(first), Some(last)) => {
                lower_alnum(first)
                    && lower_alnum(last)
                    && bytes.all(|b| lower_alnum(b) || matches!(b, b'-' | b'_'))
            }
            _ => false,
        }
    };
    if !value.split('.').all(label) {
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            PATTERN,
            &["example.com"],
        ));
    }
    errors
}

/// What is wrong with a UUID: written another way than with lowercase digits in five groups, or none at all.
pub fn not_a_uuid(value: &str) -> Option<String> {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let grouped = |value: &str| {
        let mut groups = value.split('-');
        GROUPS.iter().all(|length| {
            groups.next().is_some_and(|group| {
                group.len() == *length && group.bytes().all(|b| b.is_ascii_hexdigit())
            })
        }) && groups.next().is_none()
    };
    let wrong = |reason: &str| Some(format!("error validating uid: {reason}"));
    let good = match value.len() {
        36 => grouped(value),
        45 => match value.get(..9) {
            Some(urn) if urn.eq_ignore_ascii_case("urn:uuid:") => grouped(&value[9..]),
            urn => {
                return wrong(&format!(
                    "invalid urn prefix: {:?}",
                    urn.unwrap_or_default()
                ));
            }
        },
        38 => match value.strip_prefix('{').and_then(|v| v.strip_suffix('}')) {
            Some(inner) => grouped(inner),
            None => return wrong("invalid bracketed UUID format"),
        },
        32 => value.bytes().all(|b| b.is_ascii_hexdigit()),
        length => return wrong(&format!("invalid UUID length: {length}")),
    };
    if !good {
        return wrong("invalid UUID format");
    }
    let normal = value.len() == 36 && !value.bytes().any(|b| b.is_ascii_uppercase());
    (!normal).then(|| {
        "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters".to_owned()
    })
}

/// `[prefix/]name`: keys of labels, annotations, taints, finalizers.
pub fn qualified_name(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let mut parts = value.split('/');
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let name = match (second, third) {
        (None, _) => first,
        (Some(name), None) => {
            if first.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(
                    dns1123_subdomain(first)
                        .iter()
                        .map(|e| format!("prefix part {e}")),
                );
            }
            name
        }
        _ => {
            errors.push(format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                regex_error(
                    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                    QUALIFIED_NAME,
                    &["MyName", "my.name", "123-abc"],
                )
            ));
            return errors;
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > DNS_LABEL_MAX {
        errors.push(format!("name part {}", max_bytes(DNS_LABEL_MAX)));
    }
    if !is_qualified_part(name) {
        errors.push(format!(
            "name part {}",
            regex_error(
                "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                QUALIFIED_NAME,
                &["MyName", "my.name", "123-abc"],
            )
        ));
    }
    errors
}

/// The value of a label; the empty one is good.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_LABEL_MAX {
        errors.push(max_bytes(DNS_LABEL_MAX));
    }
    if !value.is_empty() && !is_qualified_part(value) {
        errors.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            LABEL_VALUE,
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// A name that can stand as one segment of a path; RBAC's names are no more than that.
pub fn path_segment_name(value: &str) -> Vec<String> {
    match value {
        "." | ".." => return vec![format!("may not be '{value}'")],
        _ => {}
    }
    ["/", "%"]
        .iter()
        .filter(|illegal| value.contains(**illegal))
        .map(|illegal| format!("may not contain '{illegal}'"))
        .collect()
}

/// As [`path_segment_name`] for a `generateName`, to which more is added.
pub fn path_segment_prefix(value: &str) -> Vec<String> {
    ["/", "%"]
        .iter()
        .filter(|illegal| value.contains(**illegal))
        .map(|illegal| format!("may not contain '{illegal}'"))
        .collect()
}

/// What stays of a `generateName` that ends in dashes once the random letters are there, so that the same rules can judge it.
pub fn mask_trailing_dash(prefix: &str) -> String {
    if prefix.len() > 1 && prefix.ends_with('-') {
        format!("{}a", &prefix[..prefix.len() - 1])
    } else {
        prefix.to_owned()
    }
}

/// The name of a port in a service or container (RFC 6335 service name).
pub fn port_name(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 15 {
        errors.push(max_chars(15));
    }
    let charset = !value.is_empty() && value.bytes().all(|b| lower_alnum(b) || b == b'-');
    if !charset {
        errors.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if !value.is_empty() && (value.starts_with('-') || value.ends_with('-')) {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// The number of a port.
pub fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65535)
}

/// `lo..=hi`.
pub fn in_range(value: i64, lo: i64, hi: i64) -> Vec<String> {
    if (lo..=hi).contains(&value) {
        Vec::new()
    } else {
        vec![format!("must be between {lo} and {hi}, inclusive")]
    }
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_chars(DNS_SUBDOMAIN_MAX));
    }
    let good = !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !good {
        errors.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    errors.extend(has_chdir_prefix(value));
    errors
}

fn has_chdir_prefix(value: &str) -> Vec<String> {
    if value == "." {
        vec!["must not be '.'".to_owned()]
    } else if value == ".." {
        vec!["must not be '..'".to_owned()]
    } else if value.starts_with("..") {
        vec!["must not start with '..'".to_owned()]
    } else {
        Vec::new()
    }
}

/// The name of an environment variable: any printable ASCII but `=` (relaxed since 1.34).
pub fn relaxed_env_var_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must not be empty".to_owned()];
    }
    for c in value.chars() {
        if !(' '..='~').contains(&c) || c == '=' {
            return vec![
                "a valid environment variable name must consist only of printable ASCII characters other than '='"
                    .to_owned(),
            ];
        }
    }
    Vec::new()
}

/// A name that C would take as one.
pub fn c_identifier(value: &str) -> Vec<String> {
    let bytes = value.as_bytes();
    let good = !bytes.is_empty()
        && !bytes[0].is_ascii_digit()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    if good {
        return Vec::new();
    }
    vec![regex_error(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// The name of an HTTP header.
pub fn http_header_name(value: &str) -> Vec<String> {
    if !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return Vec::new();
    }
    vec![regex_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// `25%`.
pub fn percent(value: &str) -> Vec<String> {
    let good = value
        .strip_suffix('%')
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if good {
        return Vec::new();
    }
    vec![regex_error(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

/// An IP address as legacy fields take it: leading zeros in an IPv4 address are good.
pub fn parse_ip_sloppy(value: &str) -> Option<IpAddr> {
    if let Ok(v6) = value.parse::<Ipv6Addr>() {
        return Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4));
    }
    let mut octets = [0_u8; 4];
    let mut parts = value.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts
        .next()
        .is_none()
        .then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

/// The complaint about what is no IP address.
pub const NOT_AN_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
/// The complaint about what is no CIDR.
pub const NOT_A_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An IP address in a field that once took sloppy ones: since 1.36 new values are strict (`StrictIPCIDRValidation`), and values that are
/// there stay good.
pub fn legacy_ip(value: &str) -> Vec<String> {
    let Some(ip) = parse_ip_sloppy(value) else {
        return vec![NOT_AN_IP.to_owned()];
    };
    let mut errors = Vec::new();
    if value.parse::<IpAddr>().is_err() {
        errors.push("must not have leading 0s".to_owned());
    }
    if ip.is_ipv4() && value.contains(':') {
        errors.push("must not be an IPv4-mapped IPv6 address".to_owned());
    }
    errors
}

/// What a client is told of an IP address that is good, but not as it should be written.
pub fn ip_warning(value: &str) -> Option<String> {
    let ip = parse_ip_sloppy(value)?;
    let shown = crate::quote(value);
    let canonical = crate::quote(&ip.to_string());
    if !legacy_ip(value).is_empty() {
        Some(format!(
            "non-standard IP address {shown} is invalid: use {canonical}"
        ))
    } else if ip.is_ipv6() && ip.to_string() != value {
        Some(format!(
            "IPv6 address {shown} should be in RFC 5952 canonical format ({canonical})"
        ))
    } else {
        None
    }
}

/// Likewise of a CIDR.
pub fn cidr_warnings(value: &str) -> Vec<String> {
    let Some((ip, bits)) = parse_cidr_sloppy(value) else {
        return Vec::new();
    };
    let shown = crate::quote(value);
    let network = network_of(ip, bits);
    let canonical = crate::quote(&format!("{network}/{bits}"));
    let mut warnings = Vec::new();
    if network != ip {
        let all = if ip.is_ipv4() { 32 } else { 128 };
        let single = crate::quote(&format!("{ip}/{all}"));
        warnings.push(format!(
            "CIDR value {shown} is ambiguous in this context (should be {canonical} or {single}?)"
        ));
    }
    if !is_standard_cidr(value) {
        warnings.push(format!(
            "non-standard CIDR value {shown} is invalid: use {canonical}"
        ));
    }
    if warnings.is_empty() && ip.is_ipv6() && format!("{ip}/{bits}") != value {
        warnings.push(format!(
            "IPv6 CIDR value {shown} should be in RFC 5952 canonical format ({canonical})"
        ));
    }
    warnings
}

/// Neither leading zeros nor a mapped address.
fn is_standard_cidr(value: &str) -> bool {
    let (address, length) = value.split_once('/').unwrap_or((value, ""));
    let zeros = length.len() > 1 && length.starts_with('0');
    legacy_ip(address).is_empty() && !zeros
}

/// An IP address in a newer field: no leading zeros, no IPv4-mapped IPv6.
pub fn strict_ip(value: &str) -> Vec<String> {
    let mut errors = legacy_ip(value);
    if let Some(ip) = parse_ip_sloppy(value)
        && errors.is_empty()
        && value != ip.to_string()
    {
        errors.push(format!("must be in canonical form (\"{ip}\")"));
    }
    errors
}

/// `address/bits`, sloppy: the address may have host bits. Gives the address as written and the length of the prefix.
pub fn parse_cidr_sloppy(value: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = value.split_once('/')?;
    let mapped = ip.contains(':');
    let ip = parse_ip_sloppy(ip)?;
    if bits.is_empty() || bits.len() > 3 || !bits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let bits: u8 = bits.parse().ok()?;
    match ip {
        IpAddr::V4(_) if mapped => (96..=128).contains(&bits).then(|| (ip, bits - 96)),
        IpAddr::V4(_) => (bits <= 32).then_some((ip, bits)),
        IpAddr::V6(_) => (bits <= 128).then_some((ip, bits)),
    }
}

/// The first address of the network that `ip` and `bits` name.
pub fn network_of(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

/// A CIDR in a newer field: as [`legacy_cidr`], and written as everybody writes it.
pub fn strict_cidr(value: &str) -> Vec<String> {
    let errors = legacy_cidr(value);
    match parse_cidr_sloppy(value).map(|(ip, bits)| format!("{ip}/{bits}")) {
        Some(canonical) if errors.is_empty() && canonical != value => {
            vec![format!("must be in canonical form ({canonical:?})")]
        }
        _ => errors,
    }
}

/// A CIDR in a field that once took sloppy ones: no host bits, no leading zeros, no mapped addresses; see [`legacy_ip`].
pub fn legacy_cidr(value: &str) -> Vec<String> {
    let Some((ip, bits)) = parse_cidr_sloppy(value) else {
        return vec![NOT_A_CIDR.to_owned()];
    };
    let (address, length) = value.split_once('/').unwrap_or((value, ""));
    let complaint = if ip.is_ipv4() && address.contains(':') {
        "must not have an IPv4-mapped IPv6 address"
    } else if address.parse::<IpAddr>().is_err() || (length.len() > 1 && length.starts_with('0')) {
        "must not have leading 0s in IP or prefix length"
    } else if network_of(ip, bits) != ip {
        "must not have bits set beyond the prefix length"
    } else {
        return Vec::new();
    };
    vec![complaint.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_fields_take_cidrs_written_in_one_way() {
        assert!(legacy_cidr("2001:DB8::/112").is_empty());
        assert_eq!(
            strict_cidr("2001:DB8::/112"),
            ["must be in canonical form (\"2001:db8::/112\")"]
        );
        assert!(strict_cidr("2001:db8::/112").is_empty());
    }

    #[test]
    fn a_uuid_is_written_in_one_way() {
        let good = "0a1b2c3d-0000-4000-8000-00000000000f";
        assert_eq!(not_a_uuid(good), None);
        for (value, reason) in [
            ("", "error validating uid: invalid UUID length: 0"),
            (
                "shareIDValue",
                "error validating uid: invalid UUID length: 12",
            ),
            (
                "0a1b2c3d-0000-4000-8000-00000000000g",
                "error validating uid: invalid UUID format",
            ),
            (
                "0a1b2c3d00000400080000000000000000f-",
                "error validating uid: invalid UUID format",
            ),
        ] {
            assert_eq!(not_a_uuid(value).as_deref(), Some(reason), "{value}");
        }
        for odd in [
            good.to_uppercase(),
            format!("urn:uuid:{good}"),
            format!("{{{good}}}"),
            good.replace('-', ""),
        ] {
            assert!(
                not_a_uuid(&odd)
                    .unwrap()
                    .starts_with("uid must be in RFC 4122"),
                "{odd}"
            );
        }
    }

    #[test]
    fn search_paths_may_begin_with_an_underscore() {
        for good in ["_a", "a_b", "_a._b-c", "x"] {
            assert!(dns1123_subdomain_with_underscore(good).is_empty(), "{good}");
        }
        for bad in ["_", "__a", "a_", "-a", ""] {
            assert!(!dns1123_subdomain_with_underscore(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn names_that_are_good() {
        for name in ["a", "a-b", "0", "a.b-c.d0"] {
            assert!(dns1123_subdomain(name).is_empty(), "{name}");
        }
        for key in ["a", "A_b.c-d", "example.com/a", "a/b"] {
            assert!(qualified_name(key).is_empty(), "{key}");
        }
        for value in ["", "A", "a.b_c-D"] {
            assert!(label_value(value).is_empty(), "{value}");
        }
    }

    #[test]
    fn names_that_are_not() {
        for name in ["", "A", "-a", "a-", "a..b", "a_b"] {
            assert_eq!(dns1123_subdomain(name).len(), 1, "{name}");
        }
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns1035_label("1a").len(), 1);
        assert_eq!(qualified_name("a/b/c").len(), 1);
        assert_eq!(qualified_name("/a"), ["prefix part must be non-empty"]);
        assert_eq!(
            path_segment_name("a/b%"),
            ["may not contain '/'", "may not contain '%'"]
        );
    }

    #[test]
    fn messages_carry_upstreams_examples() {
        assert_eq!(
            dns1123_label("A_"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
    }

    #[test]
    fn networks() {
        assert_eq!(parse_ip_sloppy("010.0.0.1"), parse_ip_sloppy("10.0.0.1"));
        assert_eq!(strict_ip("010.0.0.1"), ["must not have leading 0s"]);
        assert_eq!(legacy_cidr("x"), [NOT_A_CIDR]);
        assert_eq!(
            strict_cidr("10.0.0.1/8"),
            ["must not have bits set beyond the prefix length"]
        );
        assert_eq!(
            ip_warning("FE80::1").unwrap(),
            "IPv6 address \"FE80::1\" should be in RFC 5952 canonical format (\"fe80::1\")"
        );
        assert_eq!(
            cidr_warnings("10.0.0.1/8"),
            [
                "CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)"
            ]
        );
        assert!(strict_cidr("::/0").is_empty());
    }
}
