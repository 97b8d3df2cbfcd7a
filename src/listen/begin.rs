//! From a whole head in the buffer to a request under way, or to its block.

use std::sync::Arc;

use super::facts::Connection;
use super::fast::{self, Block, Memory};
use super::flight::{Flight, Question};
use super::head::{Head, HeadError, with_target};
use super::stream::EdgeStream;
use crate::gate::Gate;
use crate::identify::{RequestParts, Target, Version};

/// A request that cannot be taken: which status to send, and why.
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) label: &'static str,
    pub(super) reason: String,
}

/// What a head has begun.
pub(super) enum Begun {
    /// A request that is blocked, recorded and still to be answered.
    Blocked(Block),
    /// A request that Pingora may read from the stream now.
    Flight(Arc<Flight>),
}

/// What a request is begun with.
pub(super) struct Beginning<'a> {
    pub(super) gate: &'a Gate,
    pub(super) connection: &'a Arc<Connection>,
    /// Header fields that a head may have.
    pub(super) most_fields: usize,
    /// Whether the fast path may be taken.
    pub(super) may_be_fast: bool,
}

/// Finds out what the buffered head asks for. When no case blocks it on the fast path, the gate of the stream opens for
/// this one request.
///
/// # Errors
/// When the request cannot be taken; the connection ends then.
pub(super) fn begin(
    stream: &mut EdgeStream,
    head_len: usize,
    with: &Beginning<'_>,
    memory: &mut Memory,
) -> Result<Begun, Refusal> {
    let connection = with.connection;
    let bytes = stream.buffered().get(..head_len).unwrap_or_default();
    let head = Head::parse(bytes, with.most_fields, connection.client_header()).map_err(|error| Refusal {
        status: error.status(),
        label: if error == HeadError::TooManyFields { "head-too-large" } else { "malformed" },
        reason: error.to_string(),
    })?;
    let parts = RequestParts {
        version: if head.http10 { Version::Http10 } else { Version::Http11 },
        method: head.method,
        target: head.target,
        authority: None,
        hosts: &head.hosts,
        sni: connection.sni(),
    };
    let identity = memory.identify(&parts).map_err(|error| Refusal {
        status: 400,
        label: "no-identity",
        reason: error.to_string(),
    })?;
    if !has_clean_target(&head) {
        let reason = "the request target holds characters that do not belong there".to_owned();
        return Err(Refusal { status: 400, label: "malformed", reason });
    }
    if with.may_be_fast
        && let Some(block) = fast::block(with.gate, &head, &identity, connection)
    {
        drop(head);
        stream.take_off(head_len);
        return Ok(Begun::Blocked(block));
    }
    // A method that is none for the `http` crate is refused by Pingora in a moment.
    let method = http::Method::from_bytes(head.method.as_bytes()).unwrap_or_default();
    let question = Question::new(parts.version, method, head.target, head.user_agent);
    let client = connection.client_of(head.forwarded.iter().copied());
    let (budget, rewritten) = (head.budget, in_origin_form(bytes, &head));
    drop(head);
    match rewritten {
        Some(rewritten) => {
            stream.admit(budget.resized(head_len, rewritten.len()));
            stream.replace_head(head_len, &rewritten);
        }
        None => stream.admit(budget),
    }
    Ok(Begun::Flight(Flight::new(Arc::clone(connection), identity, client, question)))
}

/// Whether Pingora will take the target (RFC 3986 §3.3): what it would refuse is refused here, and counted.
fn has_clean_target(head: &Head<'_>) -> bool {
    // Nearly every target is of these, of which no order is refused: nothing has to be copied to find out.
    let is_plain = |octet: &u8| octet.is_ascii_alphanumeric() || b"/-._~%?=&+,".contains(octet);
    let is_short = head.target.len() < usize::from(u16::MAX);
    let is_origin_form = head.method != "CONNECT" && head.target.starts_with(b"/");
    if is_short && is_origin_form && head.target.iter().all(is_plain) {
        return true;
    }
    let target =
        Target::parse(head.method, head.target).ok().and_then(|target| target.for_origin(head.method));
    match target.as_deref().map(std::str::from_utf8) {
        Some(Ok(target)) => http::uri::PathAndQuery::try_from(target).is_ok(),
        // A tunnel has no path, and a path that is no text is passed on as it is.
        Some(Err(_)) | None => true,
    }
}

/// The head with its absolute-form target put into origin-form; nothing when it has none.
fn in_origin_form(bytes: &[u8], head: &Head<'_>) -> Option<Vec<u8>> {
    let target = Target::parse(head.method, head.target).ok()?;
    if !matches!(target, Target::Absolute { .. }) {
        return None;
    }
    with_target(bytes, head.target, &target.for_origin(head.method)?)
}
