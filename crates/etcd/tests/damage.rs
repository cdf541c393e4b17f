//! Files that are not what was written. A torn end is cut and leaves a state that once was; everything else is refused, with the
//! file and the offset.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use base::{Clock, TaskGroup};
use etcd::{
    Embedded, KeyRange, Kv, LeaseId, Op, Revision, Txn,
    embedded::{Config, OpenError},
};
use proptest::prelude::*;

/// A data directory with a checkpoint and several segments, and what the store was at each revision.
struct Written {
    files: Vec<(String, Vec<u8>)>,
    hashes: HashMap<Revision, u32>,
    head: Revision,
}

static WRITTEN: LazyLock<Written> = LazyLock::new(write);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn write() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        segment_bytes: 2 << 10,
        checkpoint_bytes: 12 << 10,
        ..Config::new(dir.path())
    };
    runtime().block_on(async {
        let tasks = TaskGroup::default();
        let store = Embedded::open(config, Clock::system(), &tasks).unwrap();
        let mut number = 0_u32;
        // Until a checkpoint stands, and several segments behind it.
        let mut behind = 0;
        while behind < 100 {
            number += 1;
            behind += u32::from(store.status().checkpoint_bytes > 0);
            let key = format!("k{}", number % 17).into();
            let op = if number.is_multiple_of(11) {
                Op::Delete(KeyRange::key(key))
            } else {
                let value = format!("{number} {}", "x".repeat(number as usize % 90)).into();
                Op::Put {
                    key,
                    value,
                    lease: LeaseId::default(),
                }
            };
            store
                .txn(Txn {
                    success: vec![op],
                    ..Txn::default()
                })
                .await
                .unwrap();
        }
        let head = store.revision().await.unwrap();
        let hashes = (1..=head.0).map(|it| (Revision(it), store.hash(Some(Revision(it)))));
        let hashes = hashes.collect();
        tasks.shutdown().await;
        let mut files: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some())
            .map(|path| (name(&path), fs::read(&path).unwrap()))
            .collect();
        files.push((
            "FORMAT".into(),
            fs::read(dir.path().join("FORMAT")).unwrap(),
        ));
        files.sort();
        assert!(files.iter().any(|file| file.0.starts_with("checkpoint-")));
        assert!(
            files
                .iter()
                .filter(|file| file.0.starts_with("wal-"))
                .count()
                > 2
        );
        Written {
            files,
            hashes,
            head,
        }
    })
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

impl Written {
    /// The data files; the last of them is the newest segment.
    fn data(&self) -> Vec<&(String, Vec<u8>)> {
        self.files
            .iter()
            .filter(|file| file.0 != "FORMAT")
            .collect()
    }

    /// Opens a copy in which `change` has been made. Answers what the store then is, or why it does not open.
    fn open(&self, change: impl FnOnce(&Path)) -> Result<(Revision, u32), OpenError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in &self.files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        change(dir.path());
        runtime().block_on(async {
            let tasks = TaskGroup::default();
            let store = Embedded::open(Config::new(dir.path()), Clock::system(), &tasks)?;
            let found = (store.revision().await.unwrap(), store.hash(None));
            drop(store);
            tasks.shutdown().await;
            // What was mended stays mended.
            let tasks = TaskGroup::default();
            let store = Embedded::open(Config::new(dir.path()), Clock::system(), &tasks)?;
            assert_eq!((store.revision().await.unwrap(), store.hash(None)), found);
            tasks.shutdown().await;
            Ok(found)
        })
    }
}

fn assert_names(error: &OpenError, expected: &str) {
    let (OpenError::Damaged { file, .. } | OpenError::Missing { file }) = error else {
        panic!("not told as damage: {error}")
    };
    assert_eq!(name(file), expected, "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_bit_is_found(file in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), bit in 0..8) {
        let written = &*WRITTEN;
        let data = written.data();
        let (name, bytes) = data[file.index(data.len())];
        let at = byte.index(bytes.len());
        let found = written.open(|dir| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1_u8 << bit;
            fs::write(dir.join(name), bytes).unwrap();
        });
        let error = found.expect_err("a flipped bit went unnoticed");
        assert_names(&error, name);
    }

    #[test]
    fn a_torn_end_is_cut(cut in any::<prop::sample::Index>(), zeros in 0_usize..3000) {
        let written = &*WRITTEN;
        let (name, bytes) = *written.data().last().unwrap();
        // The header of a segment comes by a rename and cannot be torn.
        let header = 27;
        let length = header + cut.index(bytes.len() - header);
        // A file system may grow a file before its data come.
        let zeros = (bytes.len() - length).min(zeros);
        let found = written.open(|dir| {
            let mut torn = bytes[..length].to_vec();
            torn.resize(length + zeros, 0);
            fs::write(dir.join(name), torn).unwrap();
        });
        match found {
            Ok((revision, hash)) => {
                prop_assert!(revision <= written.head);
                prop_assert_eq!(Some(&hash), written.hashes.get(&revision), "a state that never was");
            }
            // Fewer zeros than a crash leaves look like damage.
            Err(error) => {
                prop_assert!(zeros > 0, "{error}");
                assert_names(&error, name);
            }
        }
    }
}

#[test]
fn a_file_cut_short_in_the_middle_of_the_log_is_found() {
    let written = &*WRITTEN;
    let data = written.data();
    for (name, bytes) in &data[..data.len() - 1] {
        for length in (0..bytes.len()).step_by(97) {
            let error = written
                .open(|dir| fs::write(dir.join(name), &bytes[..length]).unwrap())
                .expect_err("a cut went unnoticed");
            assert_names(&error, name);
        }
    }
}

#[test]
fn a_missing_file_is_found() {
    let written = &*WRITTEN;
    let data = written.data();
    for (name, _) in &data {
        let error = written
            .open(|dir| fs::remove_file(dir.join(name)).unwrap())
            .expect_err("a missing file went unnoticed");
        // Without its checkpoint, the log lacks its beginning.
        let expected = if name.starts_with("checkpoint-") {
            "wal-0000000000000001.log"
        } else {
            name
        };
        assert_names(&error, expected);
    }
    let error = written
        .open(|dir| fs::remove_file(dir.join("FORMAT")).unwrap())
        .unwrap_err();
    assert_names(&error, "FORMAT");
}

#[test]
fn a_file_of_another_store_is_found() {
    let (written, other) = (&*WRITTEN, write());
    let newest = |written: &Written| written.data().last().map(|file| (*file).clone()).unwrap();
    let error = written
        .open(|dir| fs::write(dir.join(newest(written).0), newest(&other).1).unwrap())
        .expect_err("a foreign file went unnoticed");
    assert_names(&error, &newest(written).0);
}

#[test]
fn another_format_is_refused() {
    let change = |dir: &Path| fs::write(dir.join("FORMAT"), "ironclad-store 99\n").unwrap();
    let error = WRITTEN
        .open(change)
        .expect_err("an unknown format went unnoticed");
    assert!(
        matches!(error, OpenError::Format { supported: 1, .. }),
        "{error}"
    );
}

#[test]
fn leftovers_are_removed() {
    let leftover: PathBuf = "checkpoint-00000000000000ff.db.tmp".into();
    let found = WRITTEN.open(|dir| fs::write(dir.join(&leftover), b"half").unwrap());
    let (revision, hash) = found.unwrap();
    assert_eq!(
        (revision, Some(&hash)),
        (WRITTEN.head, WRITTEN.hashes.get(&revision))
    );
}
