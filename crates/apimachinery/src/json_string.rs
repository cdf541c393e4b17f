//! Strings in JSON text: which of their bytes mean something. Eight are looked at at once, since most strings are short and have none.

/// Whether nothing in a text needs an escape. What does not fill eight bytes is looked at together with some of the bytes before it, twice.
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk() {
        let (eights, _) = bytes.as_chunks();
        return eights
            .iter()
            .chain([last])
            .all(|eight| specials(u64::from_le_bytes(*eight)) == 0);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return specials(u64::from(first) << 32 | u64::from(last)) == 0;
    }
    !bytes.iter().any(|byte| is_special(*byte))
}

/// Where in a string, from `at` on, the next byte stands that is not simply part of it.
pub(crate) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        match specials(u64::from_le_bytes(*eight)) {
            0 => at += 8,
            found => return at + found.trailing_zeros() as usize / 8,
        }
    }
    let rest = bytes.get(at..).unwrap_or_default().iter();
    at + rest.take_while(|byte| !is_special(**byte)).count()
}

/// A quote, a backslash, a control character.
const fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// [`is_special`] of eight bytes: the high bit of the first such is set; 0 if there is none.
const fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    /// The high bits of bytes below `than`, which is at most 128, are set. What is carried into the bytes after the first such is never asked for.
    const fn below(word: u64, than: u64) -> u64 {
        word.wrapping_sub(ONES * than) & !word & HIGHS
    }
    let quotes = below(word ^ (ONES * b'"' as u64), 1);
    let backslashes = below(word ^ (ONES * b'\\' as u64), 1);
    quotes | backslashes | below(word, 0x20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_ends_where_it_ends() {
        for before in 0..20 {
            for special in [b'"', b'\\', 0, 0x1f] {
                for plain in [0x20, b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = vec![plain; before];
                    assert_eq!(plain_end(&bytes, 0), before);
                    assert!(is_plain(&bytes), "{plain:#x}");
                    bytes.extend([special, plain, b'"', special]);
                    assert_eq!(plain_end(&bytes, 0), before, "{plain:#x} {special:#x}");
                    assert_eq!(plain_end(&bytes, before / 2), before);
                    for end in before + 1..=bytes.len() {
                        assert!(!is_plain(&bytes[..end]), "{plain:#x} {special:#x}");
                    }
                }
            }
        }
    }
}
