//! The flags of `ironclad kube-apiserver` that say how requests are authenticated.

use std::path::PathBuf;

use clap::Args;

/// Upstream's flags.
#[derive(Debug, Args)]
pub(crate) struct AuthenticationFlags {
    /// Authorities of front proxies' certificates, PEM
    #[arg(long)]
    requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of front proxies; any that the authority has signed if not given
    #[arg(long, value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,
    /// Headers in which front proxies name the user
    #[arg(long, value_delimiter = ',')]
    requestheader_username_headers: Vec<String>,
    /// Headers in which front proxies name the user's uid
    #[arg(long, value_delimiter = ',')]
    requestheader_uid_headers: Vec<String>,
    /// Headers in which front proxies name the user's groups
    #[arg(long, value_delimiter = ',')]
    requestheader_group_headers: Vec<String>,
    /// Prefixes of headers in which front proxies say more of the user
    #[arg(long, value_delimiter = ',')]
    requestheader_extra_headers_prefix: Vec<String>,
}

impl AuthenticationFlags {
    /// Writes them where the server reads them.
    pub(super) fn apply(&self, config: &mut apiserver::Config) {
        config
            .request_header_client_ca_file
            .clone_from(&self.requestheader_client_ca_file);
        config.request_header = apiserver::authn::RequestHeaderConfig {
            allowed_names: self.requestheader_allowed_names.clone(),
            username_headers: self.requestheader_username_headers.clone(),
            uid_headers: self.requestheader_uid_headers.clone(),
            group_headers: self.requestheader_group_headers.clone(),
            extra_header_prefixes: self.requestheader_extra_headers_prefix.clone(),
        };
    }
}
