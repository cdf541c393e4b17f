//! What the reader makes of files that grow, rotate and end.

use std::{future::Future, io::Write as _, time::Duration};

use tokio::sync::oneshot;

use super::*;

const LINES: &str = "\
2026-01-01T00:00:01.000000000Z stdout F one
2026-01-01T00:00:02.000000000Z stderr F two
2026-01-01T00:00:03.000000000Z stdout P thr
2026-01-01T00:00:04.000000000Z stdout F ee
damaged
2026-01-01T00:00:05.000000000Z stdout F four
";

/// Nothing here takes longer.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what)
        .await
        .expect("in time")
}

async fn read_all(options: LogOptions) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    fs::write(&path, LINES).unwrap();
    let mut reader = LogReader::open(&path, options, None::<Ended>)
        .await
        .unwrap();
    let mut out = Vec::new();
    while let Some(chunk) = reader.next().await.unwrap() {
        out.extend_from_slice(&chunk);
    }
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn options_choose_what_is_printed() {
    let all = LogOptions::default();
    for (options, expected) in [
        (all.clone(), "one\ntwo\nthree\nfour\n"),
        (
            LogOptions {
                streams: Streams::Stderr,
                ..all.clone()
            },
            "two\n",
        ),
        (
            LogOptions {
                tail_lines: Some(1),
                ..all.clone()
            },
            "four\n",
        ),
        (
            LogOptions {
                tail_lines: Some(0),
                ..all.clone()
            },
            "",
        ),
        (
            LogOptions {
                limit_bytes: Some(6),
                ..all.clone()
            },
            "one\ntw",
        ),
        (
            LogOptions {
                since: Some("2026-01-01T00:00:05Z".parse().unwrap()),
                ..all.clone()
            },
            "four\n",
        ),
        (
            LogOptions {
                timestamps: true,
                ..all.clone()
            },
            "2026-01-01T00:00:01.000000000Z one\n2026-01-01T00:00:02.000000000Z two\n\
             2026-01-01T00:00:03.000000000Z three\n2026-01-01T00:00:05.000000000Z four\n",
        ),
    ] {
        assert_eq!(read_all(options.clone()).await, expected, "{options:?}");
    }
}

#[tokio::test]
async fn following_goes_through_a_rotation_until_the_container_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    let mut log = fs::File::create(&path).unwrap();
    writeln!(log, "2026-01-01T00:00:01Z stdout F first").unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let ended = async {
        let _ = ended.await;
    };
    let mut reader = LogReader::open(&path, LogOptions::default(), Some(ended))
        .await
        .unwrap();
    assert_eq!(soon(reader.next()).await.unwrap().unwrap(), "first\n");

    // A line comes in two writes.
    write!(log, "2026-01-01T00:00:02Z stdout F sec").unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(50), reader.next()).await;
    assert!(waiting.is_err(), "no line before its end");
    writeln!(log, "ond").unwrap();
    assert_eq!(soon(reader.next()).await.unwrap().unwrap(), "second\n");

    // Renamed, and written to once more before the new file is there.
    fs::rename(&path, directory.path().join("0.log.20260101-000003")).unwrap();
    writeln!(log, "2026-01-01T00:00:03Z stdout F third").unwrap();
    let mut log = fs::File::create(&path).unwrap();
    writeln!(log, "2026-01-01T00:00:04Z stdout F fourth").unwrap();
    assert_eq!(soon(reader.next()).await.unwrap().unwrap(), "third\n");
    assert_eq!(soon(reader.next()).await.unwrap().unwrap(), "fourth\n");

    writeln!(log, "2026-01-01T00:00:05Z stdout F last").unwrap();
    end.send(()).unwrap();
    assert_eq!(soon(reader.next()).await.unwrap().unwrap(), "last\n");
    assert_eq!(soon(reader.next()).await.unwrap(), None);
}

#[tokio::test]
async fn a_log_that_is_not_there_is_an_error() {
    let path = Path::new("/nonexistent/0.log");
    let error = LogReader::open(path, LogOptions::default(), None::<Ended>)
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("failed to try resolving symlinks in path"),
        "{error}"
    );
}
