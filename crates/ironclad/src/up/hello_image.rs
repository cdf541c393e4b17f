//! The example image: this very binary, which is static and so needs nothing else, made into an image that runs `ironclad hello`.

use anyhow::Context as _;
use runtime::{
    Runtime,
    images::{RunConfig, ScratchFile},
};

/// Its name; no registry is asked for it.
pub(crate) const NAME: &str = "ironclad.local/hello:v1";

/// Makes it. The same binary gives the same image, which is then not written again.
pub(crate) async fn ensure(runtime: &Runtime) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("finding this program's own file")?;
    let files = vec![
        ScratchFile::program("ironclad", program),
        ScratchFile::text("etc/passwd", "nobody:x:65534:65534:nobody:/:/ironclad\n"),
        ScratchFile::text("etc/group", "nogroup:x:65534:\n"),
    ];
    let config = RunConfig {
        entrypoint: vec!["/ironclad".to_owned(), "hello".to_owned()],
        user: "65534:65534".to_owned(),
        ..RunConfig::default()
    };
    let images = runtime.images();
    images
        .build_scratch(NAME, files, config)
        .await
        .context("making the example image")?;
    images
        .pin(NAME, true)
        .context("keeping the example image")?;
    Ok(())
}
