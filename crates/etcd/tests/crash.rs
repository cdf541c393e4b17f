//! `kill -9` in a loop. A child process (this test binary again) writes with several writers, while it checkpoints, compacts and
//! watches; the parent kills it at a random moment and checks what is there.
//!
//! `IRONCLAD_KILLS` (300) and `IRONCLAD_SEED` change the run; a failure names its seed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use base::{Clock, TaskGroup};
use etcd::{
    Embedded, KeyRange, Kv, KvError, LeaseId, Op, RangeRequest, Revision, Txn, WatchRequest,
    embedded::Config,
};

const DIR: &str = "IRONCLAD_CRASH_DIR";
const WRITERS: usize = 6;
/// Keys of each writer; it goes round and round them.
const KEYS: u64 = 40;

/// Small files, so that kills fall into rotations and checkpoints too.
fn config(dir: &Path) -> Config {
    Config {
        segment_bytes: 16 << 10,
        checkpoint_bytes: 48 << 10,
        ..Config::new(dir)
    }
}

fn key(writer: usize, number: u64) -> String {
    format!("/crash/{writer}/{:02}", number % KEYS)
}

/// The number that a writer's key holds, from its value.
fn number(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// What a writer's keys hold: number and revision of each, and the highest number.
async fn written(kv: &dyn Kv, writer: usize) -> (HashMap<u64, Revision>, u64) {
    let range = KeyRange::prefix(format!("/crash/{writer}/"));
    let kvs = kv.range(RangeRequest::new(range)).await.unwrap().kvs;
    let held: HashMap<_, _> = kvs
        .iter()
        .map(|kv| (number(&kv.value), kv.mod_revision))
        .collect();
    let last = held.keys().max().copied().unwrap_or(0);
    (held, last)
}

/// The child's body. Not a test by itself: the parent starts it by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child process of kill_9_in_a_loop"]
async fn crash_child() {
    let dir = std::env::var_os(DIR).expect("started by kill_9_in_a_loop");
    let tasks = TaskGroup::default();
    let store = Embedded::open(config(Path::new(&dir)), Clock::system(), &tasks).unwrap();
    say("ready");
    for writer in 0..WRITERS {
        let store = store.clone();
        tasks.spawn("writer", async move {
            let (_, mut last) = written(&*store, writer).await;
            loop {
                last += 1;
                let value = format!("{last} {}", "x".repeat((last % 7) as usize * 40));
                let (key, value) = (key(writer, last).into(), value.into());
                let op = Op::Put {
                    key,
                    value,
                    lease: LeaseId::default(),
                };
                let done = store
                    .txn(Txn {
                        success: vec![op],
                        ..Txn::default()
                    })
                    .await;
                say(&format!("ack {writer} {last} {}", done.unwrap().revision));
            }
        });
    }
    let range = KeyRange::prefix("/crash/");
    let mut watch = store
        .watch(WatchRequest {
            range,
            start: None,
            buffer: 8,
        })
        .await
        .unwrap();
    while let Some(batch) = watch.recv().await {
        let revision = batch.unwrap().revision;
        say(&format!("seen {revision}"));
        if revision.0 % 50 == 0 {
            // Two watch batches may ask for the same; the second is refused.
            match store.compact(Revision(revision.0 - 30)).await {
                Ok(()) | Err(KvError::Compacted { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// One line in one write, so that a kill cuts off whole lines alone.
fn say(line: &str) {
    let line = format!("crash: {line}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn start_child(dir: &Path) -> (Child, mpsc::Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash_child", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in output.split(b'\n').map_while(Result::ok) {
            // The harness's own first line has no end when ours begins.
            let line = String::from_utf8(line).unwrap();
            if let Some((_, said)) = line.split_once("crash: ") {
                let _ = sender.send(said.to_owned());
            }
        }
    });
    (child, lines)
}

/// What the parent knows from what the child said.
#[derive(Default)]
struct Known {
    /// Of each writer: the last number acknowledged.
    acknowledged: [u64; WRITERS],
    /// Which write a revision is of; never two.
    revisions: HashMap<Revision, (usize, u64)>,
    seen: Revision,
    acks: usize,
}

impl Known {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ack", writer, number, revision] => {
                let (writer, number) = (writer.parse().unwrap(), number.parse().unwrap());
                let revision = Revision(revision.parse().unwrap());
                self.acknowledged[writer] = number;
                self.acks += 1;
                self.note(revision, writer, number);
            }
            ["seen", revision] => self.seen = self.seen.max(Revision(revision.parse().unwrap())),
            _ => {}
        }
    }

    fn note(&mut self, revision: Revision, writer: usize, number: u64) {
        let before = self.revisions.insert(revision, (writer, number));
        let same = before.is_none_or(|before| before == (writer, number));
        assert!(
            same,
            "revision {revision} was {before:?} and is now {:?}",
            (writer, number)
        );
        self.seen = self.seen.max(revision);
    }

    /// Every acknowledged write is there, none is invented, no revision is given twice.
    async fn check(&mut self, store: &Arc<Embedded>) {
        let now = store.revision().await.unwrap();
        assert!(
            now >= self.seen,
            "revision {} was seen, and now it is {now}",
            self.seen
        );
        for writer in 0..WRITERS {
            let (held, last) = written(&**store, writer).await;
            let acknowledged = self.acknowledged[writer];
            assert!(
                last >= acknowledged,
                "writer {writer}: {acknowledged} was lost"
            );
            // A writer waits for each answer: at most one write is under way.
            assert!(
                last <= acknowledged + 1,
                "writer {writer}: {last} was invented"
            );
            let expected = last.min(KEYS);
            assert_eq!(
                held.len() as u64,
                expected,
                "writer {writer}: keys are missing"
            );
            for (number, revision) in held {
                assert!(
                    number + KEYS > last,
                    "writer {writer}: {number} is stale at {last}"
                );
                self.note(revision, writer, number);
            }
            self.acknowledged[writer] = last;
        }
    }
}

/// Small and seeded: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_in_a_loop() {
    let kills = from_env("IRONCLAD_KILLS", 300);
    let seed = from_env("IRONCLAD_SEED", 0x5eed);
    println!("seed {seed}, {kills} kills");
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(seed.max(1));
    let mut known = Known::default();
    for kill in 0..kills {
        let (mut child, lines) = start_child(dir.path());
        // One in five dies while it starts, which is while it recovers.
        let early = random.below(5) == 0;
        let life = Duration::from_micros(if early {
            random.below(20_000)
        } else {
            random.below(120_000)
        });
        if !early {
            let ready = lines.recv_timeout(Duration::from_secs(60));
            assert_eq!(
                ready.as_deref(),
                Ok("ready"),
                "kill {kill}, seed {seed}: the store does not open"
            );
        }
        let end = Instant::now() + life;
        while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            known.hear(&line);
        }
        let ended = child.try_wait().unwrap();
        assert!(
            ended.is_none(),
            "kill {kill}, seed {seed}: the child ended by itself: {ended:?}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        lines.iter().for_each(|line| known.hear(&line));

        let tasks = TaskGroup::default();
        let store = Embedded::open(config(dir.path()), Clock::system(), &tasks)
            .unwrap_or_else(|error| panic!("kill {kill}, seed {seed}: {error}"));
        known.check(&store).await;
        drop(store);
        tasks.shutdown().await;
    }
    assert!(
        known.acks as u64 > kills * 10,
        "only {} writes were acknowledged",
        known.acks
    );
    println!(
        "{} acknowledged writes, revision {}",
        known.acks, known.seen
    );
}
