//! For which ranges of what is not there the whole object is worth fetching (RFC 9110 §14).

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, RANGE};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

/// Whether the origin has to be asked for what the request names, and not for the whole of it: a range of an object that
/// could not be kept, or one of which nobody knows before the answer where it begins. Whoever asks for the last octet of a
/// large file would otherwise have all of it fetched.
pub(super) fn stay_as_they_are(request: &RequestHeader, object_bytes: usize) -> bool {
    let mut fields = request.headers.get_all(RANGE).iter();
    let Some(field) = fields.next() else { return false };
    // What is no text Pingora may read in its own way.
    let Ok(text) = field.to_str() else { return true };
    let Some((unit, ranges)) = text.split_once('=') else { return false };
    // A range in another unit is none to the cache: it gives the whole.
    if !unit.eq_ignore_ascii_case("bytes") {
        return false;
    }
    let first = only_range(ranges).and_then(|(first, _)| first.trim().parse::<usize>().ok());
    fields.next().is_some() || first.is_none_or(|first| first >= object_bytes)
}

/// The first position and the last one of a range that is alone; nothing where there are several.
fn only_range(ranges: &str) -> Option<(&str, &str)> {
    ranges.split_once('-').filter(|_| !ranges.contains(','))
}

/// Ends an answer over HTTP/2 once the range that was asked for has gone. Pingora would read the rest of the object first,
/// of whatever size; over HTTP/1 it knows by the length where the answer ends.
///
/// # Errors
/// When it has ended, so that nothing more is read. [`is_given`] knows that error.
pub(in crate::listen) fn end_when_given(session: &mut Session, body: Option<&Bytes>) -> Result<()> {
    // What is being kept is read to its end; so is what was not cut.
    let may_end = body.is_none_or(Bytes::is_empty) && !session.cache.enabled();
    if !may_end || !session.upstream_headers_mutated_for_cache() || !has_gone(session) {
        return Ok(());
    }
    let ServerSession::H2(stream) = session.as_downstream_mut() else { return Ok(()) };
    stream.finish()?;
    Err(Error::explain(GIVEN, "what is left of the object is not needed"))
}

/// Whether nothing failed, but a range was given.
pub(in crate::listen) fn is_given(error: &Error) -> bool {
    *error.etype() == GIVEN
}

const GIVEN: ErrorType = ErrorType::Custom("the range was given");

fn has_gone(session: &Session) -> bool {
    let Some(head) = session.response_written() else { return false };
    let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    head.status == StatusCode::PARTIAL_CONTENT && length == Some(session.body_bytes_sent())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stay(fields: &[&str]) -> bool {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for field in fields {
            request.append_header(RANGE, *field).unwrap();
        }
        stay_as_they_are(&request, 1000)
    }

    #[test]
    fn the_whole_is_fetched_for_a_range_that_begins_in_what_can_be_kept() {
        for field in ["bytes=0-", "bytes=0-0", "bytes= 999-1005", "BYTES=5-4", "bytes=999-", "pages=5000-"] {
            assert!(!stay(&[field]), "{field}");
        }
        assert!(!stay(&[]));
    }

    #[test]
    fn any_other_is_for_the_origin() {
        for field in [
            "bytes=1000-",
            "bytes=299999999-",
            "bytes=-1",
            "bytes= -1",
            "bytes=0-0,5-6",
            "bytes=0-0,-1",
            "bytes=99999999999999999999999-5",
            "bytes=",
            "bytes=x-5",
        ] {
            assert!(stay(&[field]), "{field}");
        }
        assert!(stay(&["bytes=0-0", "bytes=5-6"]));
    }

    #[test]
    fn a_digit_of_another_script_does_not_make_a_range_of_the_last_octets() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        let field = http::HeaderValue::from_bytes("bytes=\u{0663}-5".as_bytes()).unwrap();
        request.append_header(RANGE, field).unwrap();
        assert!(stay_as_they_are(&request, 1000));
    }
}
