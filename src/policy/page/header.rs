//! Header values made from a case. Every octet that is not plainly harmless is percent-encoded, so no
//! text of a case can end a field, a line, or the URL it stands in.

use std::fmt::Write as _;

use http::HeaderValue;

use crate::limits;
use crate::policy::case::Case;
use crate::policy::ruleset::CompileOptions;

use super::context::web_url;

/// `Link` with the entity that blocks (RFC 7725 §4), for status 451.
///
/// The RFC wants the URL of whoever *implements* the block, "not any other entity mandating it": that is
/// the operator, [`CompileOptions::blocked_by`]. An operator that configured none still names something
/// a visitor can follow, the order. With neither, the header is left out: a guess would name a stranger.
pub(super) fn blocked_by(case: &Case, options: &CompileOptions) -> Option<HeaderValue> {
    if case.status != 451 {
        return None;
    }
    let order = case.legal.as_ref().and_then(web_url);
    let url = options.blocked_by.as_deref().or(order)?;
    Some(value(&format!("<{}>; rel=\"blocked-by\"", percent_encoded(url, is_uri_octet))))
}

/// The text of a gRPC status, percent-encoded as its HTTP/2 mapping asks for: all but printable ASCII.
pub(super) fn grpc_message(case: &Case) -> HeaderValue {
    let text = format!("blocked, case {}: {}", case.id, case.statement);
    let end = text.floor_char_boundary(limits::GRPC_MESSAGE_BYTES);
    let text = text.get(..end).unwrap_or_default();
    value(&percent_encoded(text, |octet| matches!(octet, b' '..=b'~') && octet != b'%'))
}

/// A header value, or an empty one for a text that may not stand in a header at all.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn percent_encoded(text: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        if keep(octet) {
            encoded.push(char::from(octet));
        } else {
            // Writing to a string cannot fail; there is no error to lose.
            write!(encoded, "%{octet:02X}").unwrap_or_default();
        }
    }
    encoded
}

/// The octets a URI is written with (RFC 3986 §2), `%` of existing escapes included.
fn is_uri_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&octet)
}
