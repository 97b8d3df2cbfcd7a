//! Block pages, made when the ruleset is compiled: a request only picks one.

mod context;
mod header;
mod plain;
mod templates;

use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::case::Case;
use super::ruleset::CompileOptions;

pub(crate) use templates::Templates;

/// The page every policy set has; `pages/default.html` in the policy directory takes its place.
pub(super) const DEFAULT_PAGE: &str = "default";

/// Everything a case may be answered with.
#[derive(Debug, Clone)]
pub struct RenderedPages {
    /// The HTTP status: 403, 410 or 451.
    pub status: u16,
    /// The page in every language there is a template for; never empty, the default language first.
    pub html: Vec<Page>,
    /// `application/problem+json` (RFC 9457).
    pub problem: Body,
    /// `text/plain`.
    pub text: Body,
    /// `Link: <…>; rel="blocked-by"` (RFC 7725 §4); with status 451 only, and only if there is a URL.
    pub link: Option<HeaderValue>,
    /// The statement as a `grpc-message`, percent-encoded.
    pub grpc_message: HeaderValue,
    /// Those of the answer without a page.
    pub short_heads: Heads,
}

/// The page in one language.
#[derive(Debug, Clone)]
pub struct Page {
    /// A language tag (RFC 5646).
    pub language: String,
    /// The page.
    pub body: Body,
}

/// Bytes ready to send, and the header fields that describe them.
#[derive(Debug, Clone)]
pub struct Body {
    /// What is sent.
    pub bytes: Bytes,
    /// `Content-Type`.
    pub content_type: HeaderValue,
    /// `Content-Language`.
    pub content_language: HeaderValue,
    /// `Content-Length`.
    pub content_length: HeaderValue,
    /// Those of an answer with it.
    pub heads: Heads,
}

/// The heads of an answer, each made when it is first given.
#[derive(Debug, Clone, Default)]
pub struct Heads {
    /// What it begins with in HTTP/1.
    pub http1: OnceLock<Box<[u8]>>,
    /// Its fields in HTTP/2.
    pub http2: OnceLock<HeaderMap>,
}

impl Body {
    fn new(content: String, content_type: &'static str, language: &str) -> Self {
        Self {
            content_type: HeaderValue::from_static(content_type),
            content_language: header::value(language),
            content_length: HeaderValue::from(content.len()),
            bytes: Bytes::from(content),
            heads: Heads::default(),
        }
    }
}

impl RenderedPages {
    fn new(case: &Case, html: Vec<Page>, options: &CompileOptions) -> Self {
        Self {
            status: case.status,
            html,
            problem: Body::new(plain::problem(case), "application/problem+json", context::BUILT_IN_LANGUAGE),
            text: Body::new(plain::text(case), "text/plain; charset=utf-8", context::BUILT_IN_LANGUAGE),
            link: header::blocked_by(case, options),
            grpc_message: header::grpc_message(case),
            short_heads: Heads::default(),
        }
    }
}

#[cfg(test)]
mod tests;
