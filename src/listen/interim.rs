//! What is said before the answer: interim responses (RFC 9110 §15.2), and whether content is wanted at all (§10.1.1).
//!
//! Pingora passes the interim responses of an HTTP/1 origin to a client of HTTP/1, and has no way for any into an HTTP/2
//! stream or out of one. What is left is done here: HTTP/1.0 knows none, and a client that waits to be told to go on is
//! told by the edge where its origin cannot.

use http::{Version, header};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::flight::Flight;

/// A client of HTTP/1.0 gets the answer alone (RFC 9110 §15.2).
pub(super) fn begin(session: &mut Session) {
    if session.req_header().version == Version::HTTP_10 {
        session.as_downstream_mut().set_ignore_info_resp(true);
    }
}

/// A head goes to the client. Behind an answer that begins before the content has come, the connection is closed: whether
/// that still comes is not known. Pingora does so behind an interim response as well, and whoever waited to be told to go on
/// would have to connect anew for each request.
pub(super) fn on_head(session: &mut Session, is_interim: bool) {
    session.as_downstream_mut().set_close_on_response_before_downstream_finish(!is_interim);
}

/// Settles what a request on its way to its origin, `request`, expects beside its answer.
///
/// # Errors
/// When the client does not take the interim response.
pub(super) async fn settle(session: &mut Session, request: &mut RequestHeader) -> Result<()> {
    if !expects_continue(request) {
        return Ok(());
    }
    match (session.req_header().version, request.version) {
        // Not to be heeded in HTTP/1.0 (RFC 9110 §10.1.1).
        (Version::HTTP_10, _) => {}
        // An origin of HTTP/2 would say it to Pingora, which does not hear it: the client would wait for nothing.
        (Version::HTTP_11, Version::HTTP_2) => {
            if Flight::with_current(Flight::is_bereft) != Some(true) {
                on_head(session, true);
                let told = session.as_downstream_mut().write_continue_response().await;
                told.map_err(|error| error.into_down())?;
                on_head(session, false);
            }
        }
        _ => return Ok(()),
    }
    request.remove_header(&header::EXPECT);
    Ok(())
}

/// Whether the client waits with its content until it is told to go on.
fn expects_continue(request: &RequestHeader) -> bool {
    let mut expected = request.headers.get_all(header::EXPECT).iter();
    expected.any(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}
