//! The wire format itself: fields, without knowing of what. What has no [`Schema`](crate::schema::Schema) writes its messages with these.

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
pub(super) const BYTES: u32 = 2;

pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn key(tag: u32, wire: u32, out: &mut Vec<u8>) {
    varint(u64::from(tag << 3 | wire), out);
}

/// An integer or a boolean.
pub fn number(tag: u32, value: i64, out: &mut Vec<u8>) {
    key(tag, VARINT, out);
    varint(value as u64, out);
}

/// A `double`.
pub fn double(tag: u32, value: f64, out: &mut Vec<u8>) {
    key(tag, FIXED64, out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A string or bytes.
pub fn bytes(tag: u32, value: &[u8], out: &mut Vec<u8>) {
    key(tag, BYTES, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// A length-delimited field whose length is known only afterwards.
pub fn delimited(tag: u32, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    key(tag, BYTES, out);
    let start = out.len();
    // Most messages are shorter than 128 bytes: leave one byte for the length, and make room for more if it is needed.
    out.push(0);
    fill(out);
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = length as u8;
    } else {
        let mut prefix = Vec::with_capacity(5);
        varint(length as u64, &mut prefix);
        out.splice(start..=start, prefix);
    }
}
