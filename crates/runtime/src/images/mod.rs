//! Images: names, registries, archives, contents, and what containers stand on.

mod archive;
mod content;
mod digest;
pub mod manifest;
mod reference;
mod registry;
mod scratch;
mod snapshots;
mod store;
mod transport;
mod unpack;

pub use archive::ArchiveFormat;
pub use content::{ContentStore, Ingest};
pub use digest::{Digest, DigestError};
pub use manifest::RunConfig;
pub use reference::{Reference, ReferenceError};
pub use registry::{Credentials, RegistryError};
pub use scratch::{ScratchFile, Source};
pub(crate) use store::disk_usage;
pub use store::{ImageError, ImageRecord, Images, UnpackedImage};
pub use unpack::{Limits, apply_layer};
