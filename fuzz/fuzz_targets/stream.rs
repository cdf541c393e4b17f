//! Bytes of a peer that speaks SPDY/3.1 or WebSocket as it likes: the connection ends or waits, and nothing grows without bound.
#![no_main]

use std::time::Duration;

use base::TaskGroup;
use httpstream::{Protocol, RemoteCommand, StreamOptions};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else {
        return;
    };
    let protocol = match choice & 3 {
        0 => Protocol::Spdy { has_status: true },
        kind => Protocol::WebSocket {
            base64: kind == 1,
            can_close: kind == 2,
            has_status: true,
        },
    };
    let options = StreamOptions {
        stdin: true,
        stdout: true,
        stderr: true,
        tty: choice & 4 != 0,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime needs nothing");
    runtime.block_on(async {
        let tasks = TaskGroup::default();
        let (mut peer, ours) = tokio::io::duplex(1 << 16);
        let serving = async {
            let accepted = RemoteCommand::accept(protocol, ours, options, &tasks).await;
            if let Ok(mut streams) = accepted
                && let Some(mut stdin) = streams.stdin.take()
            {
                let mut read = Vec::new();
                let _ = stdin.read_to_end(&mut read).await;
            }
        };
        let speaking = async {
            let _ = peer.write_all(bytes).await;
            let _ = peer.shutdown().await;
            let mut answers = Vec::new();
            let _ = peer.read_to_end(&mut answers).await;
        };
        // The peer has gone: everything ends by itself, at once.
        let both = async { tokio::join!(serving, speaking) };
        tokio::time::timeout(Duration::from_secs(5), both)
            .await
            .expect("a connection whose peer has gone ends");
        tasks.shutdown().await;
    });
});
