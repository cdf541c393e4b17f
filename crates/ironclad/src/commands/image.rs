//! `ironclad image`: the images of a running node; what changes them does so on all nodes that run on this machine.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use crate::{
    cli::DataDir,
    up::{
        control_request,
        lock::{DataDirLock, Owner},
        place::Place,
    },
};

/// Options of `ironclad image`.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
    #[command(flatten)]
    data_dir: DataDir,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// List images
    #[command(visible_alias = "ls")]
    List,
    /// Fetch an image from its registry
    Pull {
        /// Name, such as `docker.io/library/nginx:1.29`
        name: String,
    },
    /// Take in the images of an archive (docker-archive or OCI layout, plain or compressed)
    Import {
        /// The archive
        archive: PathBuf,
    },
    /// Write an image to an archive
    Export {
        /// Name or id
        name: String,
        /// The archive to write
        archive: PathBuf,
    },
    /// Remove an image
    #[command(visible_alias = "rm")]
    Remove {
        /// Name or id
        name: String,
    },
}

/// Does what was asked.
pub(crate) fn run(args: ImageArgs) -> anyhow::Result<()> {
    let place = Place::new(&args.data_dir.path);
    let post = |path: &str, argument: &str| control_request(&place, Method::POST, path, argument);
    let on_all_nodes = |path: &str, argument: &str| -> anyhow::Result<String> {
        let answer = post(path, argument)?;
        for node in place.nodes() {
            if DataDirLock::owner(node.data_dir())? != Owner::Free {
                control_request(&node, Method::POST, path, argument)?;
            }
        }
        Ok(answer)
    };
    match args.command {
        ImageCommand::List => {
            let images: Vec<Value> =
                serde_json::from_str(&control_request(&place, Method::GET, "/images", "")?)?;
            print_table(&images);
        }
        ImageCommand::Pull { name } => println!("{}", on_all_nodes("/images/pull", &name)?),
        ImageCommand::Import { archive } => {
            println!("{}", on_all_nodes("/images/import", &absolute(&archive)?)?)
        }
        ImageCommand::Export { name, archive } => {
            println!(
                "{}",
                post(
                    "/images/export",
                    &format!("{}\n{name}", absolute(&archive)?)
                )?
            );
        }
        ImageCommand::Remove { name } => println!("{}", on_all_nodes("/images/remove", &name)?),
    }
    Ok(())
}

/// The server has another working directory.
fn absolute(path: &std::path::Path) -> anyhow::Result<String> {
    let path = std::path::absolute(path)?;
    Ok(path.to_str().context("the path is not UTF-8")?.to_owned())
}

fn print_table(images: &[Value]) {
    println!("{:<50} {:<14} {:>10}", "IMAGE", "ID", "SIZE");
    for image in images {
        let id = image["id"].as_str().unwrap_or_default();
        let short = id
            .strip_prefix("sha256:")
            .unwrap_or(id)
            .get(..12)
            .unwrap_or(id);
        let size = image["size"].as_u64().unwrap_or(0);
        let names = [&image["tags"], &image["digests"]]
            .into_iter()
            .filter_map(Value::as_array)
            .flatten();
        let mut names: Vec<&str> = names.filter_map(Value::as_str).collect();
        if names.is_empty() {
            names.push("<none>");
        }
        for name in names {
            println!("{name:<50} {short:<14} {:>7.1} MB", size as f64 / 1e6);
        }
    }
}
