//! Frames of SPDY/3.1, as bytes.

use bytes::Bytes;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::headers::invalid;

/// Largest frame that is read, in bytes.
const MAX_FRAME: usize = 1 << 20;
const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;

/// A frame, its header block still compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    SynStream {
        stream: u32,
        fin: bool,
        block: Bytes,
    },
    SynReply {
        stream: u32,
        block: Bytes,
    },
    Data {
        stream: u32,
        fin: bool,
        data: Bytes,
    },
    RstStream {
        stream: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// Settings, window updates and the like, which change nothing here.
    Ignored,
}

/// Reads one frame; `None` at the end of the connection between frames.
pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; 8];
    match io.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [a, b, c, d, flags, l0, l1, l2] = head;
    let length = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
    if length > MAX_FRAME {
        return Err(invalid("frame too large"));
    }
    let mut payload = vec![0; length];
    io.read_exact(&mut payload).await?;
    let payload = Bytes::from(payload);
    let word = u32::from_be_bytes([a, b, c, d]);
    let fin = flags & FLAG_FIN != 0;
    if word >> 31 == 0 {
        return Ok(Some(Frame::Data {
            stream: word,
            fin,
            data: payload,
        }));
    }
    if (word >> 16) as u16 & 0x7fff != VERSION {
        return Err(invalid("not SPDY/3.1"));
    }
    parse_control(word as u16, fin, &payload).map(Some)
}

fn parse_control(kind: u16, fin: bool, payload: &Bytes) -> io::Result<Frame> {
    let number = || {
        let bytes = payload
            .first_chunk::<4>()
            .ok_or_else(|| invalid("frame cut short"))?;
        Ok::<u32, io::Error>(u32::from_be_bytes(*bytes) & 0x7fff_ffff)
    };
    let rest = |from: usize| {
        if payload.len() < from {
            Err(invalid("frame cut short"))
        } else {
            Ok(payload.slice(from..))
        }
    };
    Ok(match kind {
        1 => Frame::SynStream {
            stream: number()?,
            fin,
            block: rest(10)?,
        },
        2 => Frame::SynReply {
            stream: number()?,
            block: rest(4)?,
        },
        3 => Frame::RstStream { stream: number()? },
        6 => Frame::Ping {
            id: payload.first_chunk().map_or(0, |b| u32::from_be_bytes(*b)),
        },
        7 => Frame::GoAway,
        _ => Frame::Ignored,
    })
}

impl Frame {
    /// The frame's bytes: head and payload.
    pub(super) fn encode(&self) -> (Vec<u8>, Bytes) {
        let control = |kind: u16, flags: u8, fixed: &[u8], rest: &Bytes| {
            let mut head = (0x8000 | VERSION).to_be_bytes().to_vec();
            head.extend_from_slice(&kind.to_be_bytes());
            head.push(flags);
            head.extend_from_slice(&length(fixed.len() + rest.len()));
            head.extend_from_slice(fixed);
            (head, rest.clone())
        };
        let none = Bytes::new();
        match self {
            Self::SynStream { stream, fin, block } => {
                let mut fixed = stream.to_be_bytes().to_vec();
                fixed.extend_from_slice(&[0; 6]);
                control(1, u8::from(*fin), &fixed, block)
            }
            Self::SynReply { stream, block } => control(2, 0, &stream.to_be_bytes(), block),
            Self::RstStream { stream } => {
                // CANCEL: this side is not interested any more.
                let fixed = [stream.to_be_bytes(), 5_u32.to_be_bytes()].concat();
                control(3, 0, &fixed, &none)
            }
            Self::Ping { id } => control(6, 0, &id.to_be_bytes(), &none),
            Self::GoAway => control(7, 0, &[0; 8], &none),
            Self::Ignored => (Vec::new(), none),
            Self::Data { stream, fin, data } => {
                let mut head = stream.to_be_bytes().to_vec();
                head.push(u8::from(*fin));
                head.extend_from_slice(&length(data.len()));
                (head, data.clone())
            }
        }
    }
}

fn length(bytes: usize) -> [u8; 3] {
    let [_, a, b, c] = u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_back_as_they_went() {
        let block = Bytes::from_static(b"block");
        for frame in [
            Frame::SynStream {
                stream: 1,
                fin: false,
                block: block.clone(),
            },
            Frame::SynReply {
                stream: 1,
                block: block.clone(),
            },
            Frame::Data {
                stream: 3,
                fin: true,
                data: block,
            },
            Frame::RstStream { stream: 5 },
            Frame::Ping { id: 7 },
            Frame::GoAway,
        ] {
            let (head, payload) = frame.encode();
            let bytes = [head, payload.to_vec()].concat();
            assert_eq!(read(&mut bytes.as_slice()).await.unwrap(), Some(frame));
            for cut in 9..bytes.len() {
                let mut short = &bytes[..cut];
                assert!(
                    read(&mut short).await.ok().flatten().is_none(),
                    "cut at {cut}"
                );
            }
        }
    }

    #[tokio::test]
    async fn hostile_frames_are_refused() {
        for bytes in [
            &[0x80, 2, 0, 1, 0, 0, 0, 0][..],
            &[0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0],
            &[0, 0, 0, 1, 0, 0xff, 0xff, 0xff],
        ] {
            let mut bytes = bytes;
            assert!(read(&mut bytes).await.is_err());
        }
    }
}
