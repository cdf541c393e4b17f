//! Why a CRI call failed: a gRPC status code, which the kubelet acts on, and a message, which people read.

use std::fmt;

/// The gRPC codes that CRI calls use.
pub use tonic::Code;

/// The result of a CRI call.
pub type Result<T, E = CriError> = std::result::Result<T, E>;

/// A failed CRI call.
#[derive(Debug)]
pub struct CriError {
    code: Code,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl CriError {
    /// An error of any code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            source: None,
        }
    }

    /// The sandbox, container or image named in the request is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// The request can never succeed as it stands.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// The object is not in the state that the call needs; for example exec in a container that does not run.
    pub fn precondition(message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, message)
    }

    /// The runtime failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The call did not end in the time that the request gave it.
    pub fn deadline(message: impl Into<String>) -> Self {
        Self::new(Code::DeadlineExceeded, message)
    }

    /// Keeps what caused it.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The message, without the code.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the object of the call does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code == Code::NotFound
    }
}

/// As grpc-go prints an error, because kubelet events quote it.
impl fmt::Display for CriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rpc error: code = {:?} desc = {}",
            self.code, self.message
        )
    }
}

impl std::error::Error for CriError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> Self {
        Self::new(status.code(), status.message())
    }
}

impl From<CriError> for tonic::Status {
    fn from(error: CriError) -> Self {
        Self::new(error.code, error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_grpc_go_does_and_survives_the_wire() {
        let error = CriError::not_found("container \"a\" not found");
        assert_eq!(
            error.to_string(),
            "rpc error: code = NotFound desc = container \"a\" not found"
        );
        let back = CriError::from(tonic::Status::from(error));
        assert!(back.is_not_found());
        assert_eq!(back.message(), "container \"a\" not found");
    }
}
