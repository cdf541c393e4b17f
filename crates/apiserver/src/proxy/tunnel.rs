//! Two upgraded connections joined: bytes both ways through bounded buffers.
//!
//! The end of one direction is passed on as a half-close. Upstream drops the other direction at once; here it may still say what it
//! has to say, for [`LINGER`], because a farewell (WebSocket's close, TLS' close_notify) is often on its way then.

use std::{io, time::Duration};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};

/// How long the other direction may go on.
const LINGER: Duration = Duration::from_secs(30);
/// Buffer of each direction, in bytes.
const BUFFER: usize = 32 << 10;

/// Copies until both directions have ended. An error is the end of both.
pub(super) async fn join<A, B>(near: A, far: B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (near_reader, near_writer) = split(near);
    let (far_reader, far_writer) = split(far);
    let out = copy(near_reader, far_writer);
    let back = copy(far_reader, near_writer);
    tokio::pin!(out, back);
    tokio::select! {
        ended = &mut out => {
            ended?;
            tokio::time::timeout(LINGER, back).await.unwrap_or(Ok(()))
        }
        ended = &mut back => {
            ended?;
            tokio::time::timeout(LINGER, out).await.unwrap_or(Ok(()))
        }
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_half_closed_direction_leaves_the_other_open() {
        let (mut client, near) = tokio::io::duplex(64);
        let (far, mut server) = tokio::io::duplex(64);
        let talk = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut question = String::new();
            server.read_to_string(&mut question).await.unwrap();
            server
                .write_all(question.to_uppercase().as_bytes())
                .await
                .unwrap();
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (joined, answer) = tokio::join!(join(near, far), talk);
        joined.unwrap();
        assert_eq!(answer, "QUESTION");
    }
}
