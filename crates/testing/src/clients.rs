//! What `.ci/run` puts beside the clients that are programs: interpreters with libraries, unpacked packages.

use std::path::PathBuf;

/// A file or folder in one of the folders of PATH.
///
/// # Panics
/// If it is in none: the test that needs it cannot pass.
pub fn beside_clients(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|found| found.exists())
        .unwrap_or_else(|| {
            panic!("{name} is in no folder of PATH: `.ci/run` tells how it is installed")
        })
}
