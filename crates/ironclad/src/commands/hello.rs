//! `ironclad hello`: what the example image runs. A web server that says which pod it is, so that one can see a Service balance.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv6Addr, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Parser};

/// A request that has not been sent whole by then is dropped.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests served at the same time; further connections wait in the listener's queue.
const MAX_CONNECTIONS: usize = 256;
/// Longest request line and header line in bytes, and how many header lines are read.
const MAX_LINE: u64 = 8 << 10;
const MAX_HEADERS: usize = 100;

/// Options of `ironclad hello`.
#[derive(Debug, Args)]
pub(crate) struct HelloArgs {
    /// TCP port to listen on
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

/// The command alone, for a start that builds no other command's options.
#[derive(Debug, Parser)]
#[command(name = "ironclad hello")]
struct Hello {
    #[command(flatten)]
    args: HelloArgs,
}

/// Parses the arguments, the first of which is the command's name, and serves.
pub(crate) fn main(arguments: Vec<OsString>) -> anyhow::Result<()> {
    run(Hello::parse_from(arguments).args)
}

/// After SIGTERM it goes on serving for this long: the last clients that still hold its address are answered.
const LAME_DUCK: Duration = Duration::from_secs(2);

/// Serves until SIGTERM, and a little longer.
pub(crate) fn run(args: HelloArgs) -> anyhow::Result<()> {
    let name = std::env::var("HOSTNAME").unwrap_or_else(|_| "a pod without a name".to_owned());
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, args.port))
        .or_else(|_| TcpListener::bind(("0.0.0.0", args.port)))
        .with_context(|| format!("listening on port {}", args.port))?;
    println!("{name} listens on port {}", args.port);
    // The first process of a container is not ended by a signal that it does not catch.
    std::thread::spawn(end_after_signal);
    let open = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for connection in listener.incoming() {
            let Ok(connection) = connection else { continue };
            if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (name, open) = (&name, &open);
            scope.spawn(move || {
                // A client that went away is no concern of the others.
                let _ = serve(connection, name);
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    Ok(())
}

fn end_after_signal() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return;
    };
    runtime.block_on(async {
        let stop = tokio_util::sync::CancellationToken::new();
        tokio::select! {
            () = base::shutdown::cancel_on_signal(stop.clone()) => {}
            () = stop.cancelled() => tokio::time::sleep(LAME_DUCK).await,
        }
    });
    std::process::exit(0)
}

fn serve(connection: TcpStream, name: &str) -> std::io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut request = String::new();
    read_line(&mut reader, &mut request)?;
    let mut header = String::new();
    for _ in 0..MAX_HEADERS {
        read_line(&mut reader, &mut header)?;
        if header.trim_end().is_empty() {
            break;
        }
    }
    println!("{}", request.trim_end());
    let body = format!("Hello from {name}\n");
    let mut connection = connection;
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn read_line(reader: &mut BufReader<TcpStream>, line: &mut String) -> std::io::Result<()> {
    use std::io::Read as _;
    line.clear();
    reader.by_ref().take(MAX_LINE).read_line(line)?;
    Ok(())
}
