//! Images: hostile layers, archives, and a registry of the test's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod node;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use cri::{Code, ImageService as _, RuntimeService, v1::*};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use linux::root::Root;
use node::{IMAGE, Node, on_node, script};
use runtime::images::{
    ArchiveFormat, Digest, Limits, ScratchFile, apply_layer,
    manifest::{ImageConfig, Manifest, RunConfig},
};
use tar::{Builder, EntryType, Header};

struct Layer(Builder<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An entry with exactly this name, however bad.
    fn add(&mut self, name: &str, kind: EntryType, link: &str, data: &[u8]) -> &mut Self {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    fn file(&mut self, name: &str, data: &str) -> &mut Self {
        self.add(name, EntryType::Regular, "", data.as_bytes())
    }

    fn bytes(&mut self) -> Vec<u8> {
        std::mem::replace(&mut self.0, Builder::new(Vec::new()))
            .into_inner()
            .unwrap()
    }
}

struct Place {
    base: PathBuf,
    root: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test needs root: it changes owners"
        );
        let base =
            std::env::temp_dir().join(format!("ironclad-layer-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        let root = base.join("root");
        fs::create_dir_all(&root).unwrap();
        fs::write(base.join("secret"), "untouched").unwrap();
        Self { base, root }
    }

    fn apply(&self, layer: &mut Layer, limits: Limits) -> io::Result<Digest> {
        apply_layer(
            layer.bytes().as_slice(),
            &Root::open(&self.root).unwrap(),
            limits,
        )
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let secret = fs::read_to_string(self.base.join("secret"));
        let outside: Vec<_> = fs::read_dir(&self.base)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        fs::remove_dir_all(&self.base).unwrap();
        if !std::thread::panicking() {
            assert_eq!(secret.unwrap(), "untouched");
            assert_eq!(
                outside.len(),
                2,
                "something was written outside: {outside:?}"
            );
        }
    }
}

#[test]
fn hostile_entries_stay_inside_or_are_refused() {
    use EntryType::{Char, Directory, Link, Regular, Symlink};
    let place = Place::new("hostile");
    let refused = |layer: &mut Layer| place.apply(layer, Limits::default()).unwrap_err();
    let taken = |layer: &mut Layer| place.apply(layer, Limits::default()).unwrap();

    refused(Layer::new().file("../escaped", "x"));
    refused(Layer::new().file("a/../../escaped", "x"));
    taken(Layer::new().file("/absolute", "x"));
    assert!(place.root.join("absolute").is_file());

    // Through links, planted before.
    let base = place.base.to_str().unwrap();
    refused(
        Layer::new()
            .add("out", Symlink, base, b"")
            .file("out/escaped", "x"),
    );
    fs::create_dir_all(place.root.join(base.trim_start_matches('/'))).unwrap();
    taken(Layer::new().file("out/escaped", "x"));
    assert!(
        place
            .root
            .join(base.trim_start_matches('/'))
            .join("escaped")
            .is_file()
    );
    taken(
        Layer::new()
            .add("up", Symlink, "../../..", b"")
            .file("up/escaped2", "x"),
    );
    assert!(place.root.join("escaped2").is_file());
    // A link as the file itself is replaced, not followed.
    symlink(place.base.join("secret"), place.root.join("victim")).unwrap();
    taken(Layer::new().file("victim", "new"));
    assert_eq!(
        fs::read_to_string(place.root.join("victim")).unwrap(),
        "new"
    );

    // Hard links to what is outside, by path and through a link.
    refused(Layer::new().add("hard", Link, "../secret", b""));
    refused(Layer::new().add("hard", Link, &format!("{base}/secret"), b""));
    refused(Layer::new().add("hard", Link, "out/secret", b""));

    // Marks that only overlay may make.
    refused(Layer::new().add("mark", Char, "", b""));
    refused(Layer::new().file(".wh...", "x"));
    taken(
        Layer::new()
            .add("dir", Directory, "", b"")
            .file(".wh.dir", ""),
    );
    assert!(!place.root.join("dir").exists());

    // Bounds.
    let few = Limits {
        entries: 2,
        ..Limits::default()
    };
    let error = place.apply(Layer::new().file("a", "").file("b", "").file("c", ""), few);
    assert!(error.unwrap_err().to_string().contains("too many entries"));
    let small = Limits {
        bytes: 4096,
        ..Limits::default()
    };
    let error = place.apply(Layer::new().add("big", Regular, "", &[0; 10_000]), small);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("larger than allowed")
    );
    // A bomb: small compressed, large unpacked.
    let zeros = Layer::new()
        .add("zeros", Regular, "", &vec![0; 1 << 20])
        .bytes();
    let bomb = zstd::encode_all(zeros.as_slice(), 0).unwrap();
    let root = Root::open(&place.root).unwrap();
    let error = apply_layer(
        bomb.as_slice(),
        &root,
        Limits {
            bytes: 1 << 16,
            ..Limits::default()
        },
    );
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
}

#[test]
fn modes_owners_and_compression_are_kept() {
    let place = Place::new("modes");
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o4711);
    header.set_uid(1234);
    header.set_gid(4321);
    header.set_mtime(1_000_000_000);
    header.set_size(3);
    builder
        .append_data(&mut header, "deep/down/program", &b"abc"[..])
        .unwrap();
    let tar = builder.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut gzip, &tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let found = apply_layer(
        gzip.as_slice(),
        &Root::open(&place.root).unwrap(),
        Limits::default(),
    );
    assert_eq!(
        found.unwrap(),
        Digest::of(&tar),
        "the digest is the uncompressed tar's"
    );
    let metadata = fs::metadata(place.root.join("deep/down/program")).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o4711);
    assert_eq!(
        (metadata.uid(), metadata.gid(), metadata.mtime()),
        (1234, 4321, 1_000_000_000)
    );
}

/// Imports an archive of layers, each a tar.
async fn import_layers(node: &Node, name: &str, layers: Vec<Vec<u8>>) {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Env": null, "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let paths: Vec<String> = (0..layers.len())
        .map(|n| format!("{n}/layer.tar"))
        .collect();
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": paths}]);
    let mut archive = Layer::new();
    archive
        .file("manifest.json", &manifest.to_string())
        .file("config.json", &config.to_string());
    for (path, layer) in paths.iter().zip(&layers) {
        archive.add(path, EntryType::Regular, "", layer);
    }
    let archive = io::Cursor::new(archive.bytes());
    node.runtime
        .images()
        .import(archive, ArchiveFormat::Any, None)
        .await
        .unwrap();
}

#[test]
fn whiteouts_and_opaque_directories_hide_lower_layers() {
    on_node(async |node| {
        let busybox = fs::read("/bin/busybox").unwrap();
        let lower = Layer::new()
            .add("bin/busybox", EntryType::Regular, "", &busybox)
            .add("bin/sh", EntryType::Symlink, "busybox", b"")
            .add("usr", EntryType::Symlink, "real", b"")
            .file("real/kept", "kept")
            .file("gone", "x")
            .file("tree/a", "x")
            .file("opaque/old", "x")
            .bytes();
        let upper = Layer::new()
            .file(".wh.gone", "")
            .file(".wh.tree", "")
            .file("opaque/new", "x")
            .file("opaque/.wh..wh..opq", "")
            .file("usr/through-link", "x")
            .bytes();
        import_layers(&node, "localhost/layers:1", vec![lower, upper]).await;
        let pod = node.pod().await;
        let mut config = script(
            "ls",
            "cd /; for f in gone tree opaque/* usr/*; do [ -e $f ] && echo $f; done; [ -L usr ] && echo link",
        );
        config.image.as_mut().unwrap().image = "localhost/layers:1".to_owned();
        config.command[0] = "/bin/sh".to_owned();
        let (_, out) = node.run(&pod, config).await;
        assert_eq!(out, "opaque/new\nusr/kept\nusr/through-link\nlink\n");
        node
    });
}

#[test]
fn archives_go_out_and_come_in_again() {
    on_node(async |node| {
        let images = node.runtime.images().clone();
        let before = images.find(IMAGE).unwrap();
        let path = node.dir.join("image.tar");
        images
            .export(vec![IMAGE.to_owned()], fs::File::create(&path).unwrap())
            .await
            .unwrap();
        for format in [ArchiveFormat::Any, ArchiveFormat::Oci] {
            assert!(images.remove(IMAGE).unwrap());
            images.collect_garbage(HashSet::new()).await.unwrap();
            assert!(images.find(IMAGE).is_none());
            let archive = fs::File::open(&path).unwrap();
            let imported = images.import(archive, format, None).await.unwrap();
            assert_eq!(
                imported.iter().map(|r| &r.id).collect::<Vec<_>>(),
                [&before.id]
            );
            assert_eq!(images.find(IMAGE).unwrap().tags, before.tags);
        }
        let pod = node.pod().await;
        let (status, out) = node.run(&pod, script("again", "echo works")).await;
        assert_eq!(
            (out.as_str(), status.image_id),
            ("works\n", before.id.to_string())
        );
        // What a container stands on stays, even when its image goes.
        let id = node
            .start_container(&pod, script("stands", "sleep 1000"))
            .await;
        let image = Some(ImageSpec {
            image: IMAGE.to_owned(),
            ..ImageSpec::default()
        });
        node.runtime
            .remove_image(RemoveImageRequest {
                image: image.clone(),
            })
            .await
            .unwrap();
        let status = ImageStatusRequest {
            image,
            verbose: false,
        };
        assert_eq!(node.runtime.image_status(status).await.unwrap().image, None);
        assert_eq!(node.exec(&id, "echo on").await.stdout, b"on\n");
        node
    });
}

#[derive(Default)]
struct FakeRegistry {
    /// By path below /v2/.
    files: HashMap<String, (String, Vec<u8>)>,
    requests: Vec<String>,
}

type Shared = Arc<Mutex<FakeRegistry>>;

fn answer(
    shared: &Shared,
    address: SocketAddr,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let mut registry = shared.lock().unwrap();
    let path = request.uri().path().to_owned();
    let range = request
        .headers()
        .get(header::RANGE)
        .map(|r| r.to_str().unwrap().to_owned());
    registry.requests.push(
        format!("{path} {}", range.clone().unwrap_or_default())
            .trim()
            .to_owned(),
    );
    let authorization = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(|a| a.to_str().unwrap());
    let empty = |status| Response::builder().status(status);
    if path == "/token" {
        // user:secret
        if authorization != Some("Basic dXNlcjpzZWNyZXQ=") {
            return empty(StatusCode::UNAUTHORIZED)
                .body(Full::default())
                .unwrap();
        }
        assert_eq!(
            request.uri().query(),
            Some("service=fake&scope=repository:team/app:pull")
        );
        return Response::new(Full::from(r#"{"token": "let-me-in"}"#));
    }
    if authorization != Some("Bearer let-me-in") {
        let challenge = format!(
            r#"Bearer realm="http://{address}/token",service="fake",scope="repository:team/app:pull""#
        );
        let response = empty(StatusCode::UNAUTHORIZED).header(header::WWW_AUTHENTICATE, challenge);
        return response.body(Full::default()).unwrap();
    }
    let Some((kind, body)) = registry.files.get(path.trim_start_matches("/v2/")).cloned() else {
        return empty(StatusCode::NOT_FOUND).body(Full::default()).unwrap();
    };
    let mut response = Response::builder().header(header::CONTENT_TYPE, kind);
    let mut body = Bytes::from(body);
    if let Some(range) = range {
        let from: usize = range
            .trim_start_matches("bytes=")
            .trim_end_matches('-')
            .parse()
            .unwrap();
        body = body.slice(from..);
        response = response.status(StatusCode::PARTIAL_CONTENT);
    }
    response.body(Full::from(body)).unwrap()
}

async fn serve(shared: Shared) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let shared = shared.clone();
            let service = hyper::service::service_fn(move |request| {
                let response = answer(&shared, address, &request);
                async move { Ok::<_, io::Error>(response) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            let serving = async move { drop(serving.await) };
            #[allow(clippy::disallowed_methods, reason = "ends with the test")]
            tokio::spawn(serving);
        }
    };
    #[allow(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(accepting);
    address
}

fn stored(registry: &mut FakeRegistry, node: &Node) -> Manifest {
    let images = node.runtime.images();
    let record = images.find(IMAGE).unwrap();
    let manifest = images.manifest(&record).unwrap();
    let blob = |digest: &Digest| {
        fs::read(
            node.dir
                .join("root/content/blobs/sha256")
                .join(digest.hex()),
        )
        .unwrap()
    };
    for descriptor in manifest.layers.iter().chain([&manifest.config]) {
        let path = format!("team/app/blobs/{}", descriptor.digest);
        registry.files.insert(
            path,
            (descriptor.media_type.clone(), blob(&descriptor.digest)),
        );
    }
    let kind = manifest.media_type.clone();
    let path = format!("team/app/manifests/{}", record.manifest);
    registry
        .files
        .insert(path, (kind.clone(), blob(&record.manifest)));
    let other = Digest::of(b"another machine's");
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [
        {"mediaType": kind, "digest": other, "size": 1, "platform": {"os": "linux", "architecture": "s390x"}},
        {"mediaType": kind, "digest": record.manifest, "size": 1,
         "platform": {"os": "linux", "architecture": runtime::images::manifest::this_architecture().0}},
    ]});
    let kind = "application/vnd.oci.image.index.v1+json".to_owned();
    registry.files.insert(
        "team/app/manifests/v1".to_owned(),
        (kind, index.to_string().into_bytes()),
    );
    manifest
}

fn pull(image: &str, password: &str) -> PullImageRequest {
    PullImageRequest {
        image: Some(ImageSpec {
            image: image.to_owned(),
            ..ImageSpec::default()
        }),
        auth: Some(AuthConfig {
            username: "user".to_owned(),
            password: password.to_owned(),
            ..AuthConfig::default()
        }),
        sandbox_config: None,
    }
}

#[test]
fn images_are_pulled_with_tokens_from_indexes_and_resumed() {
    on_node(async |node| {
        let shared = Shared::default();
        let manifest = stored(&mut shared.lock().unwrap(), &node);
        let record = node.runtime.images().find(IMAGE).unwrap();
        node.runtime.images().remove(IMAGE).unwrap();
        node.runtime
            .images()
            .collect_garbage(HashSet::new())
            .await
            .unwrap();
        let address = serve(shared.clone()).await;
        let name = format!("{address}/team/app:v1");

        let error = node
            .runtime
            .pull_image(pull(&name, "wrong"))
            .await
            .unwrap_err();
        assert!(error.message().contains("pull access denied"), "{error}");
        // What an earlier attempt has left.
        let layer = &manifest.layers[0].digest;
        let half =
            shared.lock().unwrap().files[&format!("team/app/blobs/{layer}")].1[..50_000].to_vec();
        fs::write(node.dir.join("root/content/ingest").join(layer.hex()), half).unwrap();
        let pulled = node
            .runtime
            .pull_image(pull(&name, "secret"))
            .await
            .unwrap();
        assert_eq!(pulled.image_ref, record.id.to_string());
        let asked = shared.lock().unwrap().requests.clone();
        let resumed = format!("/v2/team/app/blobs/{layer} bytes=50000-");
        assert!(asked.contains(&resumed), "{asked:?}");
        let image = node.runtime.images().find(&name).unwrap();
        assert_eq!(image.tags, std::slice::from_ref(&name));
        assert!(image.digests[0].starts_with(&format!("{address}/team/app@sha256:")));

        let missing = node
            .runtime
            .pull_image(pull(&format!("{address}/team/app:v2"), "secret"))
            .await;
        assert_eq!(missing.unwrap_err().code(), Code::NotFound);
        // Content that is not what its digest says.
        node.runtime.images().remove(&name).unwrap();
        node.runtime
            .images()
            .collect_garbage(HashSet::new())
            .await
            .unwrap();
        let config = format!("team/app/blobs/{}", manifest.config.digest);
        shared.lock().unwrap().files.get_mut(&config).unwrap().1[5] ^= 1;
        let error = node
            .runtime
            .pull_image(pull(&name, "secret"))
            .await
            .unwrap_err();
        assert!(error.message().contains("expected sha256:"), "{error}");
        assert!(node.runtime.images().find(&name).is_none());
        node
    });
}

#[test]
fn equal_files_make_an_equal_image_and_configurations_are_kept() {
    on_node(async |node| {
        let build = async |name: &str| {
            let files = vec![
                ScratchFile::text("a/b/c", "text"),
                ScratchFile::link("l", "a/b/c"),
            ];
            let config = RunConfig {
                user: "web:media".to_owned(),
                stop_signal: "SIGQUIT".to_owned(),
                ..RunConfig::default()
            };
            node.runtime
                .images()
                .build_scratch(name, files, config)
                .await
                .unwrap()
        };
        let (one, two) = (build("localhost/one").await, build("localhost/two").await);
        assert_eq!(one.id, two.id);
        assert_eq!(two.tags, ["localhost/one:latest", "localhost/two:latest"]);
        let config: ImageConfig = node.runtime.images().config(&one).unwrap();
        assert_eq!(
            (
                config.config.user.as_str(),
                config.config.stop_signal.as_str()
            ),
            ("web:media", "SIGQUIT")
        );
        let list = node
            .runtime
            .list_images(ListImagesRequest::default())
            .await
            .unwrap()
            .images;
        let image = list
            .iter()
            .find(|image| image.id == one.id.to_string())
            .unwrap();
        assert_eq!((image.uid, image.username.as_str()), (None, "web"));
        assert!(!Path::new("/l").exists());
        node
    });
}

#[test]
fn an_image_is_mounted_as_a_volume_and_only_read() {
    on_node(async |node| {
        let pod = node.pod().await;
        let mount = |path: &str, part: &str| Mount {
            container_path: path.to_owned(),
            image: Some(ImageSpec {
                image: IMAGE.to_owned(),
                ..ImageSpec::default()
            }),
            image_sub_path: part.to_owned(),
            readonly: true,
            ..Mount::default()
        };
        let see =
            "ls /all/bin/busybox && ls /part/busybox && ! touch /all/x 2>/dev/null && echo so";
        let mut config = script("reader", see);
        config.mounts = vec![mount("/all", ""), mount("/part", "bin")];
        let (status, out) = node.run(&pod, config).await;
        assert_eq!(status.exit_code, 0, "{out}");
        assert_eq!(out, "/all/bin/busybox\n/part/busybox\nso\n");
        for part in ["../../etc", "/etc"] {
            let mut config = script("outside", "true");
            config.mounts = vec![mount("/x", part)];
            let request = CreateContainerRequest {
                pod_sandbox_id: pod.clone(),
                config: Some(config),
                sandbox_config: None,
            };
            let error = RuntimeService::create_container(&node.runtime, request)
                .await
                .unwrap_err();
            assert!(error.message().contains("leaves the image"), "{error}");
        }
        node
    });
}
