//! Steady HTTP load from inside a network namespace, every request on a connection of its own, every failure remembered.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::Door;

/// How long a request may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked, and how often.
pub struct Load {
    /// Of the network where the clients are.
    pub door: Door,
    /// Where to.
    pub target: SocketAddr,
    /// Clients at the same time.
    pub clients: usize,
    /// From the start of a client's request to that of its next; a slow answer delays it.
    pub interval: Duration,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answered with 200.
    pub answered: usize,
    /// When a request failed, counted from the start of the load, and why.
    pub failures: Vec<(Duration, String)>,
}

impl Load {
    /// Loads the target while `work` is done; answers what became of the requests.
    pub fn during(self, work: impl FnOnce()) -> Tally {
        /// Ends the clients also when `work` panics.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let done = AtomicBool::new(false);
        let started = Instant::now();
        thread::scope(|scope| {
            let client = || {
                let mut tally = Tally::default();
                if let Err(error) = self.door.enter() {
                    panic!("{error:#}");
                }
                while !done.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    match request(self.target) {
                        Ok(()) => tally.answered += 1,
                        Err(error) => {
                            let when = begun.duration_since(started);
                            tally.failures.push((when, format!("{error:#}")));
                        }
                    }
                    thread::sleep(self.interval.saturating_sub(begun.elapsed()));
                }
                tally
            };
            let clients: Vec<_> = (0..self.clients).map(|_| scope.spawn(client)).collect();
            {
                let _stop = Stop(&done);
                work();
            }
            let mut all = Tally::default();
            for client in clients {
                match client.join() {
                    Ok(tally) => {
                        all.answered += tally.answered;
                        all.failures.extend(tally.failures);
                    }
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all
        })
    }
}

fn request(target: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.lines().next().unwrap_or_default();
    ensure!(status.starts_with("HTTP/1.1 200 "), "answered {status:?}");
    Ok(())
}
