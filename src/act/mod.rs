//! What a blocked request gets: a page in the form and language it asked for, or no answer.
//!
//! Nothing leaves here without an [`audit::Receipt`](Receipt): an action that was not recorded does not compile.

mod accept;
mod grpc;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue, LINK, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};

use crate::audit::Receipt;
use crate::policy::{Body, CompiledCase, RenderedPages};

use accept::Form;

/// The header that names the record of an enforcement action.
pub const ENFORCEMENT_ID: HeaderName = HeaderName::from_static("enforcement-id");

/// A page may style itself and show pictures it brings along; it loads nothing, runs nothing, sends nothing.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",
);

/// What a request says about the answer it would like. All fields are the raw octets of the header.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Whether the method is `HEAD`.
    pub head: bool,
    /// `Accept`; several fields joined by commas.
    pub accept: Option<&'a [u8]>,
    /// `Accept-Language`; several fields joined by commas.
    pub accept_language: Option<&'a [u8]>,
    /// `Content-Type` of the request, by which gRPC is known.
    pub content_type: Option<&'a [u8]>,
}

/// What the client gets.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A response.
    Page {
        /// The HTTP status.
        status: u16,
        /// Every header field of it but those of the connection.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// The body; empty for `HEAD` and for gRPC.
        body: Bytes,
    },
    /// Nothing: close the connection, or reset the stream.
    Refuse,
}

/// The answer of a case to one request, as far as it can be made before the request is on record.
#[derive(Debug, Clone)]
#[must_use = "the request is blocked"]
pub struct Prepared(Answer);

impl Prepared {
    /// The answer, now that the receipt stands for the record of the request.
    #[must_use]
    pub fn answer(self, receipt: &Receipt) -> Answer {
        let mut answer = self.0;
        if let Answer::Page { headers, .. } = &mut answer {
            headers.push((ENFORCEMENT_ID, enforcement_id(receipt)));
        }
        answer
    }
}

/// Chooses the answer of a case to one request.
pub fn prepare(case: &CompiledCase, ask: &Ask<'_>) -> Prepared {
    let Some(pages) = &case.pages else { return Prepared(Answer::Refuse) };
    Prepared(match ask.content_type.and_then(grpc::answer_type) {
        Some(content_type) => grpc::answer(pages, content_type),
        None => page(pages, ask),
    })
}

/// The answer for a client network that asks for what is blocked more often than anybody reads it: the status, and one
/// line instead of the page.
pub fn prepare_short(case: &CompiledCase, ask: &Ask<'_>) -> Prepared {
    let Some(pages) = case.pages.as_ref().filter(|_| !is_grpc(ask)) else { return prepare(case, ask) };
    let mut headers = Vec::with_capacity(5);
    headers.extend([
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (CONTENT_LENGTH, HeaderValue::from(SHORT_TEXT.len())),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]);
    headers.extend(pages.link.clone().map(|link| (LINK, link)));
    let body = if ask.head { Bytes::new() } else { Bytes::from_static(SHORT_TEXT) };
    Prepared(Answer::Page { status: pages.status, headers, body })
}

/// All that a client in a hurry gets to read.
const SHORT_TEXT: &[u8] = b"This site is not served here. Ask less often to read why.\n";

/// Its answer is short anyway.
fn is_grpc(ask: &Ask<'_>) -> bool {
    ask.content_type.and_then(grpc::answer_type).is_some()
}

fn page(pages: &RenderedPages, ask: &Ask<'_>) -> Answer {
    let body = chosen(pages, ask);
    let mut headers = Vec::with_capacity(11);
    headers.extend([
        (CONTENT_TYPE, body.content_type.clone()),
        (CONTENT_LANGUAGE, body.content_language.clone()),
        // For `HEAD` too: it is the length a `GET` would have had (RFC 9110 §8.6).
        (CONTENT_LENGTH, body.content_length.clone()),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (VARY, HeaderValue::from_static("accept, accept-language")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ]);
    headers.extend(pages.link.clone().map(|link| (LINK, link)));
    let body = if ask.head { Bytes::new() } else { body.bytes.clone() };
    Answer::Page { status: pages.status, headers, body }
}

fn chosen<'p>(pages: &'p RenderedPages, ask: &Ask<'_>) -> &'p Body {
    match accept::form(ask.accept.unwrap_or_default()) {
        Form::Problem => &pages.problem,
        Form::Text => &pages.text,
        Form::Html => {
            let languages = pages.html.iter().map(|page| page.language.as_str());
            let at = accept::language(ask.accept_language.unwrap_or_default(), languages);
            // A case with pages has at least one; the text is what is left if that ever changed.
            pages.html.get(at).map_or(&pages.text, |page| &page.body)
        }
    }
}

fn enforcement_id(receipt: &Receipt) -> HeaderValue {
    // The id is hexadecimal digits and hyphens and always a header value; a missing one must not cost
    // the block itself, so there is no error to return.
    HeaderValue::try_from(receipt.id().to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests;
