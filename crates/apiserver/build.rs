//! Makes the gRPC stubs of the key management service, version 2, and of OpenTelemetry's trace service, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["kms.proto", "otlp_trace.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
