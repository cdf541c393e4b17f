//! A part of a body: bytes in pieces that stay where they are.
//!
//! Most of a list lies in the watch cache as it is sent. To lay its objects one behind the other in a buffer would read and write all of it once more than
//! encryption does, which gathers what it encrypts from pieces as well as from one.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, BufMut as _, Bytes, BytesMut};

/// See the module. Who reads it takes it.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// What is read now: empty at the end only.
    first: Bytes,
    /// What follows, no piece of it empty.
    rest: VecDeque<Bytes>,
    left: usize,
}

impl Chunk {
    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.left
    }

    /// All of it in one piece.
    pub fn into_bytes(mut self) -> Bytes {
        self.copy_to_bytes(self.left)
    }

    fn push(&mut self, piece: Bytes) {
        self.left += piece.len();
        if self.first.is_empty() {
            self.first = piece;
        } else if !piece.is_empty() {
            self.rest.push_back(piece);
        }
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self {
            left: bytes.len(),
            first: bytes,
            rest: VecDeque::new(),
        }
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = std::iter::once(&self.first).chain(&self.rest);
        let pieces = pieces.filter(|piece| !piece.is_empty());
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.left, "beyond the end");
        self.left -= count;
        let mut count = count;
        while count >= self.first.len() {
            count -= self.first.len();
            let Some(next) = self.rest.pop_front() else {
                self.first = Bytes::new();
                return;
            };
            self.first = next;
        }
        self.first.advance(count);
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        if count <= self.first.len() {
            let taken = self.first.slice(..count);
            self.advance(count);
            return taken;
        }
        assert!(count <= self.left, "beyond the end");
        let mut taken = BytesMut::with_capacity(count);
        taken.put(self.take(count));
        taken.freeze()
    }
}

/// Pieces from here on are left where they are; it is cheaper to copy smaller ones.
pub(crate) const PIECE_BYTES: usize = 2 << 10;

/// Puts a chunk together: of text that is written, and of what lies elsewhere.
#[derive(Default)]
pub(crate) struct ChunkWriter {
    text: Vec<u8>,
    /// What lies elsewhere, and where in the text it belongs.
    pieces: Vec<(usize, Bytes)>,
    piece_bytes: usize,
}

impl ChunkWriter {
    /// With something written, and room for more.
    pub(crate) fn new(text: Vec<u8>) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len() + self.piece_bytes
    }

    /// To write to.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// What comes next.
    pub(crate) fn put(&mut self, bytes: Bytes) {
        if bytes.len() < PIECE_BYTES {
            self.text.extend_from_slice(&bytes);
        } else {
            self.piece_bytes += bytes.len();
            self.pieces.push((self.text.len(), bytes));
        }
    }

    pub(crate) fn finish(self) -> Chunk {
        let text = Bytes::from(self.text);
        if self.pieces.is_empty() {
            return text.into();
        }
        let mut chunk = Chunk::default();
        chunk.rest.reserve_exact(2 * self.pieces.len());
        let mut written = 0;
        for (at, piece) in self.pieces {
            chunk.push(text.slice(written..at));
            chunk.push(piece);
            written = at;
        }
        chunk.push(text.slice(written..));
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ab`, a piece of `x`, `c`, two pieces of `y` and `z`, `d`.
    fn woven() -> (Chunk, Vec<u8>) {
        let piece = |byte| Bytes::from(vec![byte; PIECE_BYTES]);
        let mut writer = ChunkWriter::new(b"a".to_vec());
        writer.put(Bytes::from_static(b"b"));
        writer.put(piece(b'x'));
        writer.text().push(b'c');
        writer.put(piece(b'y'));
        writer.put(piece(b'z'));
        writer.put(Bytes::new());
        writer.text().push(b'd');
        let length = writer.len();
        let chunk = writer.finish();
        assert_eq!(chunk.len(), length);
        let parts = [
            &b"ab"[..],
            &piece(b'x'),
            b"c",
            &piece(b'y'),
            &piece(b'z'),
            b"d",
        ];
        (chunk, parts.concat())
    }

    #[test]
    fn pieces_stay_where_they_are() {
        let elsewhere = Bytes::from(vec![b'x'; PIECE_BYTES]);
        let mut writer = ChunkWriter::new(b"[".to_vec());
        writer.put(elsewhere.clone());
        let mut chunk = writer.finish();
        assert_eq!(chunk.chunk(), b"[");
        chunk.advance(1);
        assert_eq!(chunk.chunk().as_ptr(), elsewhere.as_ptr());
    }

    #[test]
    fn it_is_read_in_steps_of_any_size() {
        for step in [
            1,
            2,
            3,
            1000,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            3 * PIECE_BYTES + 4,
        ] {
            let (mut chunk, whole) = woven();
            let mut read = Vec::new();
            while chunk.has_remaining() {
                let before = chunk.len();
                read.put((&mut chunk).take(step));
                assert_eq!(before - chunk.len(), step.min(before), "{step}");
            }
            assert_eq!(read, whole, "{step}");
            assert!(chunk.is_empty() && chunk.chunk().is_empty());
        }
    }

    #[test]
    fn bytes_are_copied_out_whole_and_in_part() {
        let (chunk, whole) = woven();
        assert_eq!(chunk.clone().into_bytes(), whole);
        for count in [0, 1, 2, 3, PIECE_BYTES, whole.len()] {
            let mut chunk = chunk.clone();
            assert_eq!(chunk.copy_to_bytes(count), whole[..count]);
            assert_eq!(chunk.into_bytes(), whole[count..]);
        }
        assert!(Chunk::default().into_bytes().is_empty());
    }

    #[test]
    fn slices_are_as_many_as_there_is_room_for() {
        let (chunk, whole) = woven();
        let mut slices = [IoSlice::new(&[]); 9];
        assert_eq!(chunk.chunks_vectored(&mut slices), 6);
        assert_eq!(slices.map(|slice| slice.to_vec()).concat(), whole);
        assert_eq!(chunk.chunks_vectored(&mut slices[..2]), 2);
        assert_eq!(Chunk::default().chunks_vectored(&mut slices), 0);
    }

    #[test]
    #[should_panic(expected = "beyond the end")]
    fn there_is_nothing_beyond_the_end() {
        woven().0.advance(usize::MAX);
    }
}
