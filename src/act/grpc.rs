//! The answer for gRPC callers.
//!
//! A gRPC library reads any HTTP status but 200 as a fault of the transport: it makes up a status of its
//! own, drops the message, and often tries again. The way to tell it is "Trailers-Only": HTTP 200 and one
//! block of headers that ends the stream and carries the gRPC status where the trailers would be.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};

use crate::policy::RenderedPages;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// The caller may not do this, and trying again will not help.
const PERMISSION_DENIED: HeaderValue = HeaderValue::from_static("7");

/// The content type to answer a gRPC request with; `None` if the request is not one. gRPC-Web is the same
/// protocol in other framing and understands the same answer under its own name.
pub(super) fn answer_type(asked: &[u8]) -> Option<&'static str> {
    let essence = asked.split(|octet| matches!(octet, b';' | b'+' | b' ' | b'\t')).next()?;
    ["application/grpc", "application/grpc-web", "application/grpc-web-text"]
        .into_iter()
        .find(|known| essence.eq_ignore_ascii_case(known.as_bytes()))
}

pub(super) fn fields(pages: &RenderedPages, content_type: &'static str) -> Vec<(HeaderName, HeaderValue)> {
    vec![
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_LENGTH, HeaderValue::from_static("0")),
        (GRPC_STATUS, PERMISSION_DENIED),
        (GRPC_MESSAGE, pages.grpc_message.clone()),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]
}
