//! What a connection writes in one turn, sent at its end: one TLS record and one system call instead of one for each frame.
//!
//! HTTP/2 flushes behind every frame of data that is not tiny, so that an event which goes to ten watches of one client would be ten
//! records and ten system calls, most of what delivering it costs. While a connection is being served its flushes are put off; who
//! polls the connection ends each turn with [`Flusher::poll`]. Large writes pass: they fill records by themselves, and are not to be
//! copied. Once the connection has been handed on (an upgrade), flushes are flushes again.
//!
//! Bounded by [`LIMIT`]; the buffer is there only while something waits in it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much as a TLS record holds.
const LIMIT: usize = 16 << 10;
/// Writes of this size are not collected.
const LARGE: usize = 8 << 10;

/// The connection's stream, as HTTP sees it.
pub(super) struct Coalesce<S>(Arc<Mutex<Writer<S>>>);

/// Ends the turns of a [`Coalesce`].
pub(super) struct Flusher<S>(Arc<Mutex<Writer<S>>>);

struct Writer<S> {
    stream: S,
    /// What waits, of which `sent` bytes have gone.
    waiting: Vec<u8>,
    sent: usize,
    /// Flushes wait for the end of the turn.
    deferring: bool,
    flush_due: bool,
}

/// A stream whose flushes wait for the flusher.
pub(super) fn coalesce<S>(stream: S) -> (Coalesce<S>, Flusher<S>) {
    let writer = Arc::new(Mutex::new(Writer {
        stream,
        waiting: Vec::new(),
        sent: 0,
        deferring: true,
        flush_due: false,
    }));
    (Coalesce(Arc::clone(&writer)), Flusher(writer))
}

fn lock<S>(writer: &Mutex<Writer<S>>) -> MutexGuard<'_, Writer<S>> {
    // Never waited for: a connection is served by one task at a time.
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncWrite + Unpin> Flusher<S> {
    /// Sends what the turn has written.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writer = lock(&self.0);
        if !writer.flush_due && writer.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(writer.flush(cx))?;
        writer.flush_due = false;
        Poll::Ready(Ok(()))
    }

    /// The stream belongs to somebody else from now on, who flushes when he means to.
    pub(super) fn stop_deferring(&self) {
        lock(&self.0).deferring = false;
    }
}

impl<S: AsyncWrite + Unpin> Writer<S> {
    /// Hands what waits to the stream.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.waiting.len() {
            let rest = &self.waiting[self.sent..];
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.waiting = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let total = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        if total >= LARGE {
            ready!(self.drain(cx))?;
            return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        }
        if self.waiting.len() + total > LIMIT {
            ready!(self.drain(cx))?;
        }
        if self.waiting.capacity() == 0 {
            self.waiting.reserve_exact(LIMIT);
        }
        bufs.iter()
            .for_each(|buf| self.waiting.extend_from_slice(buf));
        Poll::Ready(Ok(total))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesce<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writer = lock(&self.0);
        if writer.deferring {
            writer.flush_due = true;
            return Poll::Ready(Ok(()));
        }
        writer.flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writer = lock(&self.0);
        ready!(writer.drain(cx))?;
        Pin::new(&mut writer.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesce<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Remembers each write; takes `room` bytes in all.
    #[derive(Default)]
    struct Recorder {
        writes: Vec<Vec<u8>>,
        flushes: usize,
        room: usize,
    }

    impl AsyncWrite for Recorder {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = buf.len().min(self.room);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.writes.push(buf[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn recorder(room: usize) -> (Coalesce<Recorder>, Flusher<Recorder>) {
        coalesce(Recorder {
            room,
            ..Recorder::default()
        })
    }

    fn writes(flusher: &Flusher<Recorder>) -> Vec<usize> {
        lock(&flusher.0)
            .stream
            .writes
            .iter()
            .map(Vec::len)
            .collect()
    }

    #[tokio::test]
    async fn the_frames_of_a_turn_go_out_together() {
        let (mut stream, flusher) = recorder(1 << 20);
        for _ in 0..10 {
            stream.write_all(&[1; 1000]).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(writes(&flusher), [0_usize; 0]);
        poll_fn(|cx| flusher.poll(cx)).await.unwrap();
        poll_fn(|cx| flusher.poll(cx)).await.unwrap();
        assert_eq!(writes(&flusher), [10_000]);
        assert_eq!(lock(&flusher.0).stream.flushes, 1);
        assert_eq!(lock(&flusher.0).waiting.capacity(), 0);
    }

    #[tokio::test]
    async fn order_is_kept_around_large_writes_and_full_buffers() {
        let (mut stream, flusher) = recorder(1 << 20);
        stream.write_all(&[1; 100]).await.unwrap();
        stream.write_all(&[2; LARGE]).await.unwrap();
        for _ in 0..3 {
            stream.write_all(&[3; 6000]).await.unwrap();
        }
        poll_fn(|cx| flusher.poll(cx)).await.unwrap();
        assert_eq!(writes(&flusher), [100, LARGE, 12_000, 6000]);
        let all = lock(&flusher.0).stream.writes.concat();
        assert!(all.is_sorted());
    }

    #[tokio::test]
    async fn a_full_stream_holds_the_writer_back() {
        let (mut stream, flusher) = recorder(1000);
        stream.write_all(&[1; 7000]).await.unwrap();
        stream.write_all(&[1; 7000]).await.unwrap();
        let mut third = std::pin::pin!(stream.write_all(&[1; 7000]));
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        lock(&flusher.0).stream.room = 1 << 20;
        third.await.unwrap();
        poll_fn(|cx| flusher.poll(cx)).await.unwrap();
        assert_eq!(writes(&flusher).iter().sum::<usize>(), 21_000);
    }

    #[tokio::test]
    async fn who_takes_the_connection_over_flushes_himself() {
        let (mut stream, flusher) = recorder(1 << 20);
        stream.write_all(b"HTTP/1.1 101\r\n\r\n").await.unwrap();
        flusher.stop_deferring();
        stream.write_all(b"frame").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(writes(&flusher), [21]);
    }
}
