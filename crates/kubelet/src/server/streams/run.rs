//! `/run/…`: runs `cmd` in a container and answers what it wrote.

use bytes::BytesMut;
use cri::v1::ExecSyncRequest;
use http::Response;
use k8s_openapi::api::core::v1::Pod;

use super::{
    super::{
        body::{self, Body, Refusal},
        query::Query,
        router::Router,
    },
    remote_command::running,
};

/// Standard output, then standard error.
pub(in super::super) async fn run(
    router: &Router,
    pod: Pod,
    container: &str,
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let run = running(router, &pod, container).await?;
    let command = query.get("cmd").unwrap_or_default();
    let request = ExecSyncRequest {
        container_id: run.id,
        cmd: command.split(' ').map(str::to_owned).collect(),
        timeout: 0,
    };
    let answer = router.host.runtime().exec_sync(request).await?;
    let mut output = BytesMut::from(answer.stdout.as_ref() as &[u8]);
    output.extend_from_slice(&answer.stderr);
    if answer.exit_code != 0 {
        let output = String::from_utf8_lossy(&output);
        let message = format!(
            "command '{command}' exited with {}: {output}",
            answer.exit_code
        );
        return Err(Refusal::internal(message));
    }
    Ok(body::ok("text/plain", body::full(output.freeze())))
}
