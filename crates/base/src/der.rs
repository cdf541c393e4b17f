//! The few shapes of DER (X.690) that keys and certificates come in (RFC 5280, 5915, 8017): just enough to take a private key apart, and to put a
//! public key and a certificate together from parts that must stay the bytes they came as.

/// `BOOLEAN`.
pub const BOOLEAN: u8 = 0x01;
/// `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub const OCTET_STRING: u8 = 0x04;
/// `NULL`.
pub const NULL: u8 = 0x05;
/// `OBJECT IDENTIFIER`.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// `UTCTime`.
pub const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`.
pub const GENERALIZED_TIME: u8 = 0x18;
/// `SEQUENCE`.
pub const SEQUENCE: u8 = 0x30;

/// Takes one element off the front of `input`: its tag and contents.
pub fn read<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let octets = usize::from(first & 0x7f);
        if octets == 0 || octets > 4 {
            return None;
        }
        let (head, tail) = rest.split_at_checked(octets)?;
        length = head
            .iter()
            .fold(0, |length, &octet| length << 8 | usize::from(octet));
        rest = tail;
    }
    let (contents, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((tag, contents))
}

/// Takes one element that must have this tag.
pub fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    read(input)
        .filter(|(found, _)| *found == tag)
        .map(|(_, contents)| contents)
}

/// One element.
pub fn write(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match contents.len() {
        length @ 0..0x80 => out.push(length as u8),
        length => {
            let octets = length.to_be_bytes();
            let octets = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
            out.push(0x80 | octets.len() as u8);
            out.extend_from_slice(octets);
        }
    }
    out.extend_from_slice(contents);
    out
}

/// `SEQUENCE` of elements.
pub fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    write(SEQUENCE, &parts.concat())
}

/// `BIT STRING` of whole octets.
pub fn bit_string(octets: &[u8]) -> Vec<u8> {
    write(BIT_STRING, &[&[0], octets].concat())
}

/// `OBJECT IDENTIFIER` of at least two arcs, each in groups of seven bits.
pub fn object_identifier(arcs: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    let first = arcs[0] * 40 + arcs[1];
    for arc in std::iter::once(&first).chain(&arcs[2..]) {
        let groups = (64 - arc.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let more = if group > 0 { 0x80 } else { 0 };
            out.push((arc >> (7 * group)) as u8 & 0x7f | more);
        }
    }
    write(OBJECT_IDENTIFIER, &out)
}

/// `SubjectPublicKeyInfo` of a key with this (already encoded) algorithm identifier.
pub fn subject_public_key_info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    write(SEQUENCE, &[algorithm, &bit_string(key)].concat())
}

/// An unsigned integer without its sign octet.
pub fn unsigned(contents: &[u8]) -> &[u8] {
    contents.strip_prefix(&[0]).unwrap_or(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_at_every_length_of_length() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1_0000] {
            let contents = vec![7; length];
            let element = write(OCTET_STRING, &contents);
            let mut input = element.as_slice();
            assert_eq!(expect(&mut input, OCTET_STRING), Some(contents.as_slice()));
            assert!(input.is_empty());
        }
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_nothing() {
        let element = write(SEQUENCE, &[1; 300]);
        for cut in 0..element.len() {
            assert_eq!(read(&mut &element[..cut]), None, "{cut}");
        }
        assert_eq!(read(&mut [SEQUENCE, 0x80, 0, 0].as_slice()), None);
        assert_eq!(
            read(&mut [SEQUENCE, 0x85, 0, 0, 0, 0, 1, 7].as_slice()),
            None
        );
    }

    #[test]
    fn identifiers_are_written_in_groups_of_seven_bits() {
        let ecdsa_with_sha256 = object_identifier(&[1, 2, 840, 10_045, 4, 3, 2]);
        assert_eq!(
            ecdsa_with_sha256,
            [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]
        );
    }
}
