//! A server on the embedded store, for trying things out: `serve PORT DATA_DIR CERT KEY [TOKENS_CSV [SA_KEY [CLIENT_CA]]]`.

use std::sync::Arc;

use apiserver::{Config, Dependencies, Server, authz::Mode};
use base::tls::ServingCertificate;
use base::{Clock, TaskGroup};
use tokio_util::sync::CancellationToken;

/// As the binary has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, data_dir, certificate, key, rest @ ..] = arguments.as_slice() else {
        return Err("usage: serve PORT DATA_DIR CERT KEY [TOKENS_CSV [SA_KEY [CLIENT_CA]]]".into());
    };
    let serving = ServingCertificate::read(certificate.as_ref(), key.as_ref())?;
    let mut config = Config::new(Arc::new(serving));
    config.secure_port = port.parse()?;
    config.bind_address = "127.0.0.1".parse()?;
    config.token_auth_file = rest.first().map(Into::into);
    config.service_account_signing_key_file = rest.get(1).map(Into::into);
    config.service_account_key_files = rest.get(1).map(Into::into).into_iter().collect();
    config.client_ca_file = rest.get(2).map(Into::into);
    config.service_account_issuers =
        vec!["https://kubernetes.default.svc.cluster.local".to_owned()];
    config.authorization_modes = vec![Mode::Node, Mode::Rbac];
    config.service_cluster_ip_ranges = vec!["10.96.0.0/16".to_owned()];
    config.enable_admission_plugins = vec!["NodeRestriction".to_owned()];
    config.allow_privileged = true;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        let store_tasks = TaskGroup::new(&CancellationToken::new());
        let clock = Clock::system();
        let kv = etcd::Embedded::open(
            etcd::embedded::Config::new(data_dir),
            clock.clone(),
            &store_tasks,
        )?;
        let server = Server::start(
            config,
            Dependencies {
                kv,
                clock,
                connector: None,
            },
            &cancel,
        )
        .await?;
        eprintln!("serving at https://{}", server.address());
        tokio::signal::ctrl_c().await?;
        cancel.cancel();
        server.wait().await;
        store_tasks.shutdown().await;
        Ok(())
    })
}
