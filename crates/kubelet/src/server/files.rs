//! `/logs/`: the machine's log directory, to be read.
//!
//! Paths are opened by descriptor below the directory (`openat2`, `RESOLVE_IN_ROOT`): neither `..` nor a symbolic link leads out of it.

use std::{fmt::Write as _, fs::File, io, os::fd::AsFd as _, path::Path};

use bytes::BytesMut;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use tokio::io::AsyncReadExt as _;

use super::{
    body::{self, Body, Refusal},
    query::path_segment,
};

const CHUNK: usize = 32 << 10;

/// A listing for a directory, the bytes of a file.
pub(super) async fn serve(root: &Path, request_path: &str) -> Result<Response<Body>, Refusal> {
    let relative = request_path
        .strip_prefix("/logs")
        .unwrap_or_default()
        .trim_matches('/');
    let relative = path_segment(relative);
    let file = open(root, &relative).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Refusal::not_found("404 page not found\n")
        }
        io::ErrorKind::PermissionDenied => Refusal::new(StatusCode::FORBIDDEN, "403 Forbidden\n"),
        _ => Refusal::internal("500 Internal Server Error\n"),
    })?;
    let kind = fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Ok(FileType::Directory) if !request_path.ends_with('/') => Ok(slash(request_path)),
        Ok(FileType::Directory) => list(&file),
        Ok(FileType::RegularFile) => Ok(content(file)),
        // A pipe or a device would not end.
        _ => Err(Refusal::not_found("404 page not found\n")),
    }
}

fn open(root: &Path, relative: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let root = openat(CWD, root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let relative = if relative.is_empty() { "." } else { relative };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root.as_fd(), relative, flags, Mode::empty(), resolve)?.into())
}

/// Relative links of a listing need the slash.
fn slash(path: &str) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(target) = HeaderValue::from_str(&format!("{path}/")) {
        response.headers_mut().insert(header::LOCATION, target);
    }
    response
}

fn list(directory: &File) -> Result<Response<Body>, Refusal> {
    let failed = |error: rustix::io::Errno| Refusal::internal(error.to_string());
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            let is_directory = entry.file_type() == FileType::Directory;
            names.push(if is_directory {
                format!("{name}/")
            } else {
                name
            });
        }
    }
    names.sort();
    let mut page = String::from(
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n",
    );
    for name in names {
        let text = html(&name);
        let _ = writeln!(
            page,
            "<a href=\"{}\">{text}</a>",
            html(&name.replace('%', "%25"))
        );
    }
    page.push_str("</pre>\n");
    Ok(body::ok("text/html; charset=utf-8", body::full(page)))
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
}

fn content(file: File) -> Response<Body> {
    let file = tokio::fs::File::from_std(file);
    let chunks = stream::unfold(file, |mut file| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        match file.read_buf(&mut chunk).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(chunk.freeze()), file)),
            Err(error) => Some((Err(error), file)),
        }
    });
    body::ok("text/plain; charset=utf-8", body::stream(chunks))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn text(response: Response<Body>) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn files_below_the_directory_and_no_others() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("pods")).unwrap();
        std::fs::write(root.path().join("a<b.log"), "hello").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("out")).unwrap();

        let listing = text(serve(root.path(), "/logs/").await.unwrap()).await;
        assert!(
            listing.contains("<a href=\"a&lt;b.log\">a&lt;b.log</a>"),
            "{listing}"
        );
        assert!(listing.contains("<a href=\"pods/\">pods/</a>"), "{listing}");
        assert_eq!(
            text(serve(root.path(), "/logs/a%3Cb.log").await.unwrap()).await,
            "hello"
        );
        let moved = serve(root.path(), "/logs/pods").await.unwrap();
        assert_eq!(moved.headers()[header::LOCATION], "/logs/pods/");
        for outside in ["/logs/../../../etc/passwd", "/logs/out", "/logs/none"] {
            let refused = serve(root.path(), outside).await.unwrap_err();
            assert_eq!(refused.code, StatusCode::NOT_FOUND, "{outside}");
        }
    }
}
