//! The few DER shapes that keys come in (RFC 5915, 5280, 8017): just enough to take a private key apart and to put a public key together.

/// `INTEGER`.
pub(super) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(super) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(super) const OCTET_STRING: u8 = 0x04;
/// `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;

/// Takes one element off the front of `input`: its tag and contents.
pub(super) fn read<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
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
pub(super) fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    read(input)
        .filter(|(found, _)| *found == tag)
        .map(|(_, contents)| contents)
}

/// One element.
pub(super) fn write(tag: u8, contents: &[u8]) -> Vec<u8> {
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

/// `SubjectPublicKeyInfo` of a key with this (already encoded) algorithm identifier.
pub(super) fn subject_public_key_info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = std::iter::once(0).chain(key.iter().copied()).collect();
    write(
        SEQUENCE,
        &[algorithm, write(BIT_STRING, &bits).as_slice()].concat(),
    )
}

/// An unsigned integer without its sign octet.
pub(super) fn unsigned(contents: &[u8]) -> &[u8] {
    contents.strip_prefix(&[0]).unwrap_or(contents)
}
