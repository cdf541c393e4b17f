//! `ironclad store`: backup of the embedded store.

use std::path::PathBuf;

use anyhow::Context as _;
use base::Clock;
use clap::{Args, Subcommand};

use crate::cli::DataDir;

/// Options of `ironclad store`.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Make a new store from a snapshot; the cluster must be stopped and its store moved away
    Restore {
        /// The snapshot
        snapshot: PathBuf,
        #[command(flatten)]
        data_dir: DataDir,
    },
    /// Write a consistent snapshot of a stopped cluster's store (a running one answers `etcdctl snapshot save`)
    Snapshot {
        /// The file to write
        file: PathBuf,
        #[command(flatten)]
        data_dir: DataDir,
    },
}

/// Does what was asked.
pub(crate) fn run(args: StoreArgs) -> anyhow::Result<()> {
    let clock = Clock::system();
    match args.command {
        StoreCommand::Restore { snapshot, data_dir } => {
            let directory = data_dir.path.join("etcd");
            let revision = etcd::Embedded::restore(&snapshot, &directory, &clock)
                .with_context(|| format!("restoring {}", snapshot.display()))?;
            println!("restored revision {revision} to {}", directory.display());
        }
        StoreCommand::Snapshot { file, data_dir } => {
            let directory = data_dir.path.join("etcd");
            anyhow::ensure!(directory.is_dir(), "no store at {}", directory.display());
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            let revision = runtime.block_on(async {
                let cancel = tokio_util::sync::CancellationToken::new();
                let tasks = base::TaskGroup::new(&cancel);
                let store =
                    etcd::Embedded::open(etcd::embedded::Config::new(&directory), clock, &tasks)
                        .with_context(|| format!("opening {}", directory.display()))?;
                let revision = store.snapshot(&file).await;
                tasks.shutdown().await;
                revision.with_context(|| format!("writing {}", file.display()))
            })?;
            println!("wrote revision {revision} to {}", file.display());
        }
    }
    Ok(())
}
