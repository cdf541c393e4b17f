//! SPDY/3.1 as Kubernetes' clients speak it: streams with headers, data, half-close and reset. There is no flow control beyond TCP's: upstream's
//! library neither sends nor heeds window updates, so waiting for them would be waiting for ever.

mod connection;
mod frame;
mod headers;

pub use connection::{Spdy, SpdyStream};
