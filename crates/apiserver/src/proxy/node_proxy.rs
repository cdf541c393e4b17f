//! `nodes/[SCHEME:]NAME[:PORT]/proxy`: the kubelet, or another port of its node.

use apimachinery::status::Status;

use super::{
    Location, ProxyConnector, kubelet_client::unverified_tls, pod_proxy::check_proxyable, redirect,
    scheme_name_port::SchemeNamePort,
};
use crate::context::Context;

impl ProxyConnector {
    pub(super) async fn node_location(&self, context: &Context) -> Result<Location, Status> {
        let info = &context.info;
        if info.name.is_empty() {
            return Err(Status::bad_request("name must be provided"));
        }
        let id = SchemeNamePort::parse(&info.name)
            .ok_or_else(|| Status::bad_request(format!("invalid node request {:?}", info.name)))?;
        let kubelet = self.kubelet(context, id.name).await?;
        check_proxyable(&kubelet.host)?;
        let path = redirect::split_path(&info.path, info).1.to_owned();
        if id.port.is_empty() || id.port == kubelet.port {
            return self.kubelets.location(kubelet, path, String::new(), true);
        }
        Ok(Location {
            host: kubelet.host,
            port: id.port.to_owned(),
            path,
            query: String::new(),
            tls: if id.is_https() {
                Some(unverified_tls()?)
            } else {
                None
            },
            server_name: None,
        })
    }
}
