//! `apiserver_storage_transformation_*` and `apiserver_envelope_encryption_*`: what encryption at rest does, and how long it takes.

use std::time::Duration;

use base::metrics::{Counter, Histogram, Registry, exponential};

/// Five microseconds, as a cipher takes, to over a minute, as a plugin may.
const TRANSFORM_SECONDS: &[f64] = &exponential::<25>(5e-6, 2.0);

/// Upstream's bounds for the calls of a KMS plugin.
const KMS_SECONDS: &[f64] = &exponential::<20>(1e-4, 2.0);

/// Which way a value goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    FromStorage,
    ToStorage,
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Self::FromStorage => "from_storage",
            Self::ToStorage => "to_storage",
        }
    }
}

/// What is counted. Cheap to clone; clones count the same.
#[derive(Clone)]
pub struct Metrics {
    operations: Counter,
    seconds: Histogram,
    kms_seconds: Histogram,
}

impl Metrics {
    /// Into `registry`.
    pub fn new(registry: &Registry) -> Self {
        Self {
            operations: registry.counter(
                "apiserver_storage_transformation_operations_total",
                "[ALPHA] Total number of transformations. Successful transformation will have a status 'OK' and a varied status string when the transformation fails. The status, resource, and transformation_type fields can be used for alerting purposes. For example, you can monitor for encryption/decryption failures using the transformation_type (e.g., from_storage for decryption and to_storage for encryption). Additionally, these fields can be used to ensure that the correct transformers are applied to each resource.",
                &["resource", "status", "transformation_type", "transformer_prefix"],
            ),
            seconds: registry.histogram(
                "apiserver_storage_transformation_duration_seconds",
                "[ALPHA] Latencies in seconds of value transformation operations.",
                &["transformation_type", "transformer_prefix"],
                TRANSFORM_SECONDS,
            ),
            kms_seconds: registry.histogram(
                "apiserver_envelope_encryption_kms_operations_latency_seconds",
                "[ALPHA] KMS operation duration with gRPC error code status total.",
                &["grpc_status_code", "method_name", "provider_name"],
                KMS_SECONDS,
            ),
        }
    }

    /// A value went one way. `status` is `OK`, or gRPC's name of what went wrong; failures have no duration.
    pub(super) fn transformed(
        &self,
        resource: &str,
        direction: Direction,
        prefix: &str,
        status: &str,
        elapsed: Duration,
    ) {
        let direction = direction.as_str();
        self.operations
            .increment(&[resource, status, direction, prefix]);
        if status == OK {
            self.seconds
                .observe(&[direction, prefix], elapsed.as_secs_f64());
        }
    }

    /// A plugin has answered, or has not.
    pub(super) fn called(&self, provider: &str, method: &str, status: &str, elapsed: Duration) {
        self.kms_seconds
            .observe(&[status, method, provider], elapsed.as_secs_f64());
    }
}

/// gRPC's name of what went well.
pub(super) const OK: &str = "OK";
/// What failed before it came to gRPC.
pub(super) const NOT_GRPC: &str = "unknown-non-grpc";

/// gRPC's name of an outcome, as Go's library writes it.
pub(super) fn code(status: &tonic::Status) -> &'static str {
    use tonic::Code;
    match status.code() {
        Code::Ok => OK,
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
