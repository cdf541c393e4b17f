//! A connection's turns: what it writes in one is sent at its end, in full TLS records and few system calls instead of one of each for each frame, and what it
//! reads in one is bounded.
//!
//! HTTP/2 writes and flushes frame by frame. An event that goes to ten watches of one client would be ten records and ten system calls, most of what
//! delivering it costs; a list would be a system call for each 16 KiB, and two records, since a frame and its head are a few bytes more than a
//! record holds. So what is written here fills records: small writes are collected until there is enough for one, large ones are encrypted from
//! where they lie. Records are sent [`BATCH`] bytes at a time, and what there is at the end of a turn, which who polls the connection tells by
//! [`Flusher::poll`]. Once the connection has been handed on (an upgrade), flushes are flushes again.
//!
//! Bounded by [`BATCH`] and a record; the buffer is there only while something waits in it.
//!
//! HTTP/2 reads as long as there is something to read. A client that sends nothing but frames of control would keep a worker for milliseconds a turn, and all
//! whose requests are next behind it. After [`TURN_BYTES`] the others' turn has come; who goes on sending that much without asking for anything has half of it each time, down
//! to [`LEAST_TURN_BYTES`]. And it writes as long as the client takes something: megabytes of a list, whose encryption takes as many milliseconds. Where there is one
//! worker, others have their turn after [`TURN_RECORDS`].

use std::{
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use smallvec::SmallVec;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
};
use tokio_rustls::server::TlsStream;

/// As much as a TLS record holds.
const RECORD: usize = 16 << 10;
/// So many records are sent with one system call: with what encryption adds to them they fit into two segments of 64 KiB, as the kernel makes them.
/// Eight would need a third for the last few bytes.
const BATCH_RECORDS: usize = 7;
const BATCH: usize = BATCH_RECORDS * RECORD;
/// So much is read in a turn.
const TURN_BYTES: usize = 8 << 10;
/// So much of a client that asks for nothing: thirty pings.
const LEAST_TURN_BYTES: usize = 512;

/// So many records are made in a turn by the only worker.
const TURN_RECORDS: usize = BATCH_RECORDS;

/// A stream of records.
pub(super) trait Sealer: AsyncWrite + Unpin {
    /// Makes one record of no more than [`RECORD`] bytes. The next flush sends it.
    fn seal(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<()>;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sealer for TlsStream<S> {
    fn seal(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        let total = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        let (_, session) = self.get_mut();
        match session.writer().write_vectored(bufs)? {
            taken if taken == total => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

/// The connection's stream, as HTTP sees it.
pub(super) struct Coalesce<S>(Arc<Mutex<Writer<S>>>);

/// Ends the turns of a [`Coalesce`].
pub(super) struct Flusher<S>(Arc<Mutex<Writer<S>>>);

struct Writer<S> {
    stream: S,
    /// What waits for more to fill a record with.
    waiting: Vec<u8>,
    /// Bytes in records that have not been sent.
    sealed: usize,
    /// Flushes wait for the end of the turn.
    deferring: bool,
    flush_due: bool,
    /// Bytes that may be read in this turn, and those that have been.
    allowance: usize,
    read: usize,
    /// Records that may be made in a turn, those that have been, and those of the turn before.
    most_records: usize,
    records: usize,
    last_records: usize,
}

/// A stream of TLS whose flushes wait for the flusher.
pub(super) fn coalesce<S>(
    mut stream: TlsStream<S>,
) -> (Coalesce<TlsStream<S>>, Flusher<TlsStream<S>>) {
    // The bound is the writer's.
    stream.get_mut().1.set_buffer_limit(None);
    // Another worker takes what waits, and would be woken for each turn.
    let most_records = match Handle::current().metrics().num_workers() {
        1 => TURN_RECORDS,
        _ => usize::MAX,
    };
    coalesce_records(stream, most_records)
}

fn coalesce_records<S>(stream: S, most_records: usize) -> (Coalesce<S>, Flusher<S>) {
    let writer = Arc::new(Mutex::new(Writer {
        stream,
        waiting: Vec::new(),
        sealed: 0,
        deferring: true,
        flush_due: false,
        allowance: TURN_BYTES,
        read: 0,
        most_records,
        records: 0,
        last_records: 0,
    }));
    (Coalesce(Arc::clone(&writer)), Flusher(writer))
}

fn lock<S>(writer: &Mutex<Writer<S>>) -> MutexGuard<'_, Writer<S>> {
    // Never waited for: a connection is served by one task at a time.
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Sealer> Flusher<S> {
    /// Ends a turn: sends what it has written. `is_idle` says that no request is being answered.
    pub(super) fn poll(&self, cx: &mut Context<'_>, is_idle: bool) -> Poll<io::Result<()>> {
        let mut writer = lock(&self.0);
        let floods = is_idle && writer.read >= writer.allowance;
        writer.allowance = match floods {
            true => (writer.allowance / 2).max(LEAST_TURN_BYTES),
            false => TURN_BYTES,
        };
        writer.read = 0;
        writer.last_records = std::mem::take(&mut writer.records);
        if !writer.flush_due && writer.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(writer.flush(cx))?;
        writer.flush_due = false;
        Poll::Ready(Ok(()))
    }

    /// Whether the last turn filled records: what is in full flow has nothing to gain from others' being ready, too.
    pub(super) fn is_flowing(&self) -> bool {
        lock(&self.0).last_records > 0
    }

    /// The stream belongs to somebody else from now on, who flushes when he means to.
    pub(super) fn stop_deferring(&self) {
        lock(&self.0).deferring = false;
    }
}

impl<S: Sealer> Writer<S> {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sealed == 0
    }

    /// Takes what fits into the record that is being filled.
    fn write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let total = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        let room = RECORD - self.waiting.len();
        if total < room {
            if self.waiting.capacity() == 0 {
                self.waiting.reserve_exact(RECORD);
            }
            bufs.iter()
                .for_each(|buf| self.waiting.extend_from_slice(buf));
            return Poll::Ready(Ok(total));
        }
        if self.deferring && self.records >= self.most_records {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.make_room(cx))?;
        let mut record: SmallVec<[IoSlice<'_>; 8]> = SmallVec::new();
        record.push(IoSlice::new(&self.waiting));
        let mut left = room;
        for buf in bufs {
            let part = &buf[..buf.len().min(left)];
            record.push(IoSlice::new(part));
            left -= part.len();
        }
        self.stream.seal(&record)?;
        drop(record);
        self.waiting.clear();
        self.sealed += RECORD;
        self.records += 1;
        Poll::Ready(Ok(room))
    }

    /// Waits until another record may be made.
    fn make_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.sealed < BATCH {
            return Poll::Ready(Ok(()));
        }
        self.send(cx)
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.sealed = 0;
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() {
            ready!(self.make_room(cx))?;
            let waiting = std::mem::take(&mut self.waiting);
            self.stream.seal(&[IoSlice::new(&waiting)])?;
            self.sealed += waiting.len();
        }
        self.send(cx)
    }
}

impl<S: Sealer> AsyncWrite for Coalesce<S> {
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
        ready!(writer.flush(cx))?;
        Pin::new(&mut writer.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesce<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut writer = lock(&self.0);
        if !writer.deferring {
            return Pin::new(&mut writer.stream).poll_read(cx, buf);
        }
        let left = writer.allowance - writer.read;
        if left == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if left < buf.remaining() {
            // Not into the buffer's own memory: what is not read into is not to be touched, and stays out of what a connection at rest keeps resident.
            let mut room = [const { MaybeUninit::uninit() }; TURN_BYTES];
            let mut part = ReadBuf::uninit(&mut room[..left]);
            ready!(Pin::new(&mut writer.stream).poll_read(cx, &mut part))?;
            buf.put_slice(part.filled());
        } else {
            ready!(Pin::new(&mut writer.stream).poll_read(cx, buf))?;
        }
        writer.read += buf.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Remembers each record, and how many of them each system call sent; takes `room` calls in all.
    #[derive(Default)]
    struct Recorder {
        records: Vec<Vec<u8>>,
        sent: Vec<usize>,
        room: usize,
    }

    impl Sealer for Recorder {
        fn seal(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<()> {
            let record: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            assert!(record.len() <= RECORD);
            self.records.push(record);
            Ok(())
        }
    }

    impl AsyncWrite for Recorder {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            unreachable!("all is written as records")
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.room == 0 {
                return Poll::Pending;
            }
            self.room -= 1;
            let new = self.records.len() - self.sent.iter().sum::<usize>();
            self.sent.push(new);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Has always something to read.
    impl AsyncRead for Recorder {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(&vec![0; buf.remaining()]);
            Poll::Ready(Ok(()))
        }
    }

    fn recorder(room: usize) -> (Coalesce<Recorder>, Flusher<Recorder>) {
        let stream = Recorder {
            room,
            ..Recorder::default()
        };
        coalesce_records(stream, TURN_RECORDS)
    }

    fn records(flusher: &Flusher<Recorder>) -> Vec<usize> {
        lock(&flusher.0)
            .stream
            .records
            .iter()
            .map(Vec::len)
            .collect()
    }

    #[tokio::test]
    async fn the_frames_of_a_turn_go_out_together() {
        let (mut stream, flusher) = recorder(9);
        for _ in 0..10 {
            stream.write_all(&[1; 1000]).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(records(&flusher), [0_usize; 0]);
        poll_fn(|cx| flusher.poll(cx, false)).await.unwrap();
        poll_fn(|cx| flusher.poll(cx, false)).await.unwrap();
        assert_eq!(records(&flusher), [10_000]);
        assert_eq!(lock(&flusher.0).stream.sent, [1]);
        assert_eq!(lock(&flusher.0).waiting.capacity(), 0);
        assert!(!flusher.is_flowing());
    }

    #[tokio::test]
    async fn records_are_full_and_go_out_several_at_a_time() {
        let (mut stream, flusher) = recorder(9);
        let mut expected = Vec::new();
        for frame in 0..7 {
            // A head and a payload, as HTTP/2 writes them.
            stream.write_all(&[frame; 9]).await.unwrap();
            stream.write_all(&[frame; RECORD]).await.unwrap();
            expected.extend([frame; RECORD + 9]);
        }
        poll_fn(|cx| flusher.poll(cx, false)).await.unwrap();
        let mut lengths = vec![RECORD; 7];
        lengths.push(7 * 9);
        assert_eq!(records(&flusher), lengths);
        assert_eq!(lock(&flusher.0).stream.sent, [7, 1]);
        assert_eq!(lock(&flusher.0).stream.records.concat(), expected);
        assert!(flusher.is_flowing());
        poll_fn(|cx| flusher.poll(cx, false)).await.unwrap();
        assert!(!flusher.is_flowing());
    }

    #[tokio::test]
    async fn a_full_stream_holds_the_writer_back() {
        let (mut stream, flusher) = recorder(0);
        stream.write_all(&[1; BATCH]).await.unwrap();
        stream.write_all(&[2; 7000]).await.unwrap();
        let mut third = std::pin::pin!(stream.write_all(&[3; RECORD]));
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        assert!(futures_util::poll!(poll_fn(|cx| flusher.poll(cx, false))).is_pending());
        assert_eq!(records(&flusher), [RECORD; BATCH_RECORDS]);
        lock(&flusher.0).stream.room = 9;
        third.await.unwrap();
        poll_fn(|cx| flusher.poll(cx, false)).await.unwrap();
        let all = lock(&flusher.0).stream.records.concat();
        assert!(all.is_sorted());
        assert_eq!(all.len(), BATCH + 7000 + RECORD);
    }

    #[tokio::test]
    async fn a_turn_reads_so_much_and_no_more() {
        let (mut stream, flusher) = recorder(9);
        let mut chunk = [0; 1000];
        let mut read = 0;
        while let Poll::Ready(taken) = futures_util::poll!(pin!(stream.read(&mut chunk))) {
            read += taken.unwrap();
        }
        assert!((TURN_BYTES..TURN_BYTES + chunk.len()).contains(&read));
        // Who has been put off is woken, else this would wait for ever, and has the next turn.
        let next_turn = poll_fn(|cx| flusher.poll(cx, false));
        let (taken, ended) = tokio::join!(stream.read(&mut chunk), next_turn);
        assert_eq!((taken.unwrap(), ended.is_ok()), (1000, true));
    }

    #[tokio::test]
    async fn a_turn_writes_so_much_and_no_more() {
        let (mut stream, flusher) = recorder(9);
        let mut list = pin!(stream.write_all(&[1; 2 * TURN_RECORDS * RECORD]));
        assert!(futures_util::poll!(list.as_mut()).is_pending());
        poll_fn(|cx| flusher.poll(cx, false)).await.unwrap();
        assert_eq!(records(&flusher), [RECORD; TURN_RECORDS]);
        assert!(flusher.is_flowing());
        list.await.unwrap();
        poll_fn(|cx| flusher.poll(cx, false)).await.unwrap();
        assert_eq!(records(&flusher), [RECORD; 2 * TURN_RECORDS]);
    }

    #[tokio::test]
    async fn who_floods_and_asks_for_nothing_has_ever_smaller_turns() {
        let (mut stream, flusher) = recorder(0);
        let mut chunk = [0; 20_000];
        let mut turn = async |is_idle| {
            let mut read = 0;
            while let Poll::Ready(taken) = futures_util::poll!(pin!(stream.read(&mut chunk))) {
                read += taken.unwrap();
            }
            poll_fn(|cx| flusher.poll(cx, is_idle)).await.unwrap();
            read
        };
        let mut turns = Vec::new();
        for is_idle in [false, true, true, true, true, true, true, false, true] {
            turns.push(turn(is_idle).await);
        }
        assert_eq!(turns, [8192, 8192, 4096, 2048, 1024, 512, 512, 512, 8192]);
    }

    #[tokio::test]
    async fn who_takes_the_connection_over_flushes_himself() {
        let (mut stream, flusher) = recorder(9);
        stream.write_all(b"HTTP/1.1 101\r\n\r\n").await.unwrap();
        flusher.stop_deferring();
        stream.write_all(b"frame").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(records(&flusher), [21]);
    }
}
