//! Trees into JSON, byte for byte as the library writes them. It looks at each byte of a string for one that needs an escape; here eight are looked at at once.

use serde_json::Value;

use crate::Object;

/// Writes a value.
pub fn json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => object(members, out),
        // Writing to a vector does not fail.
        Value::Null | Value::Bool(_) | Value::Number(_) => drop(serde_json::to_writer(out, value)),
    }
}

/// Writes an object.
pub fn object(members: &Object, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        member(name, value, out);
    }
    out.push(b'}');
}

/// Writes `"name":value`.
pub fn member(name: &str, value: &Value, out: &mut Vec<u8>) {
    string(name, out);
    out.push(b':');
    json(value, out);
}

fn string(text: &str, out: &mut Vec<u8>) {
    if !is_plain(text.as_bytes()) {
        return drop(serde_json::to_writer(out, text));
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Whether nothing in it needs an escape. What does not fill eight bytes is looked at together with some of the bytes before it, twice.
fn is_plain(bytes: &[u8]) -> bool {
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
    !bytes
        .iter()
        .any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
}

/// Where in a string, from `at` on, the next byte stands that is not simply part of it: a quote, a backslash, a control character. Eight are looked at at once.
pub(crate) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        match specials(u64::from_le_bytes(*eight)) {
            0 => at += 8,
            found => return at + found.trailing_zeros() as usize / 8,
        }
    }
    let rest = bytes.get(at..).unwrap_or_default().iter();
    at + rest
        .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
        .count()
}

/// The high bit of the first such byte of a word is set; 0 if there is none.
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
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ -~]{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_are_written_as_the_library_writes_them(value in value()) {
            let mut out = Vec::new();
            json(&value, &mut out);
            prop_assert_eq!(out, serde_json::to_vec(&value).unwrap());
        }
    }

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
