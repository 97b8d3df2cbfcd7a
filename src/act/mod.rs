//! What a blocked request gets: a page in the form and language it asked for, or no answer.
//!
//! Nothing leaves here without an [`audit::Receipt`](Receipt): an action that was not recorded does not compile.

mod accept;
mod grpc;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE, HeaderName,
    HeaderValue, LINK, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};

use crate::audit::Receipt;
use crate::policy::{Body, CompiledCase, Heads, RenderedPages};

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

/// Which answer of a case a request gets, made when the request is on record.
#[derive(Debug, Clone)]
#[must_use = "the request is blocked"]
pub struct Prepared {
    case: Arc<CompiledCase>,
    form: Given,
    /// Asked with `HEAD`: the fields alone.
    head: bool,
}

/// The forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Refusal,
    /// The content type says which gRPC.
    Grpc(&'static str),
    /// The status, and one line.
    Short,
    Problem,
    Text,
    /// The page in the language of this place.
    Html(usize),
}

impl Prepared {
    /// The answer, now that the receipt stands for the record of the request.
    #[must_use]
    pub fn answer(self, receipt: &Receipt) -> Answer {
        let Some((pages, mut headers)) = self.fields() else { return Answer::Refuse };
        headers.push((ENFORCEMENT_ID, enforcement_id(receipt)));
        Answer::Page {
            status: self.status(pages),
            headers,
            body: self.body(pages).cloned().unwrap_or_default(),
        }
    }

    /// The same as HTTP/2 sends it at this `date` (RFC 9110 §6.6.1); none for a refusal. Its fields are copied from those of
    /// the first answer of its kind.
    #[must_use]
    pub fn response(self, receipt: &Receipt, date: HeaderValue) -> Option<Response<Bytes>> {
        let pages = self.case.pages.as_ref()?;
        let mut headers = match self.heads(pages) {
            Some(heads) => heads.http2.get_or_init(|| self.header_map()).clone(),
            None => self.header_map(),
        };
        headers.insert(ENFORCEMENT_ID, enforcement_id(receipt));
        headers.insert(DATE, date);
        let mut response = Response::new(self.body(pages).cloned().unwrap_or_default());
        *response.status_mut() = self.status_code(pages);
        *response.headers_mut() = headers;
        Some(response)
    }

    /// Every field, and the place of those that each answer has its own of.
    fn header_map(&self) -> HeaderMap {
        let fields = self.fields().map(|(_, fields)| fields).unwrap_or_default();
        let own = [ENFORCEMENT_ID, DATE].map(|name| (name, HeaderValue::from_static("")));
        fields.into_iter().chain(own).collect()
    }

    /// Appends the same answer to `out` as HTTP/1.1 sends it, `close` saying whether it is the last one of its
    /// connection and `date` when it is sent (RFC 9110 §6.6.1). False when there is none: the connection is to be closed
    /// without a byte.
    ///
    /// Nothing is made here but the id: the rest was made with the first answer of its kind.
    #[must_use]
    pub fn write_http1(&self, receipt: &Receipt, date: &HeaderValue, close: bool, out: &mut Vec<u8>) -> bool {
        let Some(pages) = &self.case.pages else { return false };
        match self.heads(pages) {
            Some(heads) => out.extend_from_slice(heads.http1.get_or_init(|| self.head(pages))),
            None => out.extend_from_slice(&self.head(pages)),
        }
        out.extend_from_slice(b"enforcement-id: ");
        out.extend_from_slice(receipt.id().encode(&mut [0; 36]).as_bytes());
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(date.as_bytes());
        let connection = if close { "close" } else { "keep-alive" };
        out.extend_from_slice(b"\r\nConnection: ");
        out.extend_from_slice(connection.as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(self.body(pages).map(AsRef::as_ref).unwrap_or_default());
        true
    }

    /// Where the heads of the answer are kept.
    fn heads<'p>(&self, pages: &'p RenderedPages) -> Option<&'p Heads> {
        match self.form {
            Given::Refusal | Given::Grpc(_) => None,
            Given::Short => Some(&pages.short_heads),
            Given::Problem | Given::Text | Given::Html(_) => Some(&self.page(pages).heads),
        }
    }

    /// gRPC has a status of its own, and reads any other than 200 of HTTP as a fault of the way.
    fn status(&self, pages: &RenderedPages) -> u16 {
        if let Given::Grpc(_) = self.form { 200 } else { pages.status }
    }

    fn status_code(&self, pages: &RenderedPages) -> StatusCode {
        StatusCode::from_u16(self.status(pages)).unwrap_or(StatusCode::FORBIDDEN)
    }

    /// The status line and the fields that are the same for every request.
    fn head(&self, pages: &RenderedPages) -> Box<[u8]> {
        let status = self.status_code(pages);
        let reason = status.canonical_reason().unwrap_or_default();
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
        for (name, value) in self.fields().map(|(_, fields)| fields).unwrap_or_default() {
            head.extend_from_slice(cased(&name).as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.into_boxed_slice()
    }

    /// Every field that does not depend on the record.
    fn fields(&self) -> Option<(&RenderedPages, Vec<(HeaderName, HeaderValue)>)> {
        let pages = self.case.pages.as_ref()?;
        let fields = match self.form {
            Given::Refusal => return None,
            Given::Grpc(content_type) => grpc::fields(pages, content_type),
            Given::Short => short_fields(pages),
            Given::Problem | Given::Text | Given::Html(_) => page_fields(pages, self.page(pages)),
        };
        Some((pages, fields))
    }

    fn body<'p>(&self, pages: &'p RenderedPages) -> Option<&'p Bytes> {
        match self.form {
            _ if self.head => None,
            Given::Refusal | Given::Grpc(_) => None,
            Given::Short => Some(&SHORT_TEXT),
            Given::Problem | Given::Text | Given::Html(_) => Some(&self.page(pages).bytes),
        }
    }

    fn page<'p>(&self, pages: &'p RenderedPages) -> &'p Body {
        match self.form {
            Given::Problem => &pages.problem,
            // A case with pages has at least one; the text is what is left if that ever changed.
            Given::Html(at) => pages.html.get(at).map_or(&pages.text, |page| &page.body),
            _ => &pages.text,
        }
    }
}

/// Chooses the answer of a case to one request.
pub fn prepare(case: &Arc<CompiledCase>, ask: &Ask<'_>) -> Prepared {
    let form = case.pages.as_ref().map_or(Given::Refusal, |pages| {
        ask.content_type.and_then(grpc::answer_type).map_or_else(|| chosen(pages, ask), Given::Grpc)
    });
    Prepared { case: Arc::clone(case), form, head: ask.head }
}

/// The answer for a client network that asks for what is blocked more often than anybody reads it: the status, and one
/// line instead of the page.
pub fn prepare_short(case: &Arc<CompiledCase>, ask: &Ask<'_>) -> Prepared {
    let whole = prepare(case, ask);
    // The answer to gRPC is short anyway.
    let is_long = !matches!(whole.form, Given::Refusal | Given::Grpc(_));
    Prepared { form: if is_long { Given::Short } else { whole.form }, ..whole }
}

/// All that a client in a hurry gets to read.
static SHORT_TEXT: Bytes = Bytes::from_static(b"This site is not served here. Ask less often to read why.\n");

fn short_fields(pages: &RenderedPages) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::with_capacity(5);
    fields.extend([
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (CONTENT_LENGTH, HeaderValue::from(SHORT_TEXT.len())),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]);
    fields.extend(pages.link.clone().map(|link| (LINK, link)));
    fields
}

fn page_fields(pages: &RenderedPages, body: &Body) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::with_capacity(11);
    fields.extend([
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
    fields.extend(pages.link.clone().map(|link| (LINK, link)));
    fields
}

fn chosen(pages: &RenderedPages, ask: &Ask<'_>) -> Given {
    match accept::form(ask.accept.unwrap_or_default()) {
        Form::Problem => Given::Problem,
        Form::Text => Given::Text,
        Form::Html => {
            let languages = pages.html.iter().map(|page| page.language.as_str());
            Given::Html(accept::language(ask.accept_language.unwrap_or_default(), languages))
        }
    }
}

/// A field name as the proxy writes it in HTTP/1: case means nothing there, but one page looks the same on every path.
fn cased(name: &HeaderName) -> &str {
    match *name {
        CONTENT_TYPE => "Content-Type",
        CONTENT_LENGTH => "Content-Length",
        CACHE_CONTROL => "Cache-Control",
        _ => name.as_str(),
    }
}

fn enforcement_id(receipt: &Receipt) -> HeaderValue {
    // The id is hexadecimal digits and hyphens and always a header value; a missing one must not cost
    // the block itself, so there is no error to return.
    let value = HeaderValue::from_str(receipt.id().encode(&mut [0; 36]));
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
    // No answer has it again, so that HTTP/2 need not keep it in its table (RFC 7541 §7.1.3).
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests;
