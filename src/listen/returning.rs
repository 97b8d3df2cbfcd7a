//! What a client is told of an origin's answer, and what of the origin's own words it does not get.
//!
//! It is the last look at the head of every forwarded answer, whether it comes from an origin or out of the cache. An
//! answer of a case does not pass here.

use async_trait::async_trait;
use http::header::{self, HeaderName};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::modules::http::{HttpModule, HttpModuleBuilder, HttpModules, Module};
use pingora::proxy::Session;
use smallvec::SmallVec;

use crate::act::ENFORCEMENT_ID;

/// Turns the head of an answer into the one the client gets: in the edge's own version, without the fields of the
/// connection to the origin, and without the one that only the edge may write.
pub(super) fn prepare(session: &mut Session, response: &mut ResponseHeader) {
    // An intermediary sends its own version (RFC 9110 §2.5); in HTTP/2 it is not on the wire.
    response.set_version(Version::HTTP_11);
    remove_what_is_not_for_clients(response);
    if response.status.is_informational() {
        return;
    }
    let is_http10 = session.req_header().version == Version::HTTP_10;
    if is_http10 {
        session.downstream_modules_ctx = unchunked();
    }
    // Whoever is served while the edge stops is told, and its connection ends with the answer.
    if session.is_process_shutting_down()
        || (is_http10 && ends_with_connection(response, &session.req_header().method))
    {
        session.set_keepalive(None);
    }
}

/// Takes out of the fields after an answer what only the edge may write.
pub(super) fn prepare_trailers(trailers: &mut HeaderMap) {
    trailers.remove(ENFORCEMENT_ID);
}

/// What becomes of a field on its way to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    /// `Connection`: what it names goes.
    Options,
}

impl Fate {
    /// Fields that are for one connection only (RFC 9110 §7.6.1), challenges and proofs of a proxy included, which are for
    /// the next client on the way and for nobody behind it (§11.7): to the origin that is the edge. Those that frame a
    /// message stay, but where there is nothing to frame (§8.6, RFC 9112 §6.1).
    fn of(name: &HeaderName, status: StatusCode) -> Self {
        let is_interim = status.is_informational();
        let goes_when = |condition| if condition { Self::Goes } else { Self::Stays };
        match name.as_str() {
            "connection" => Self::Options,
            "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "te"
            | "enforcement-id" => Self::Goes,
            "upgrade" => goes_when(status != StatusCode::SWITCHING_PROTOCOLS),
            "content-length" | "transfer-encoding" => {
                goes_when(is_interim || status == StatusCode::NO_CONTENT)
            }
            _ => Self::Stays,
        }
    }
}

/// One look at all names.
fn remove_what_is_not_for_clients(response: &mut ResponseHeader) {
    let status = response.status;
    let mut gone: SmallVec<[HeaderName; 4]> = SmallVec::new();
    for name in response.headers.keys() {
        match Fate::of(name, status) {
            Fate::Stays => {}
            Fate::Goes => gone.push(name.clone()),
            Fate::Options => {
                gone.extend(named(&response.headers, status));
                // Pingora writes that of a final answer, and that of a switch belongs to it.
                if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                    gone.push(header::CONNECTION);
                }
            }
        }
    }
    for name in gone {
        response.remove_header(&name);
    }
}

/// What `Connection` names and is there. Nobody can name what frames the message, and a switch keeps its protocol.
fn named(headers: &HeaderMap, status: StatusCode) -> impl Iterator<Item = HeaderName> {
    let options =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let is_there = move |name: &HeaderName| headers.contains_key(name);
    let stays = move |name: &HeaderName| {
        matches!(*name, header::CONNECTION | header::CONTENT_LENGTH | header::TRANSFER_ENCODING)
            || (*name == header::UPGRADE && status == StatusCode::SWITCHING_PROTOCOLS)
    };
    // Nearly every option is one of these, which name nothing that is not looked at anyhow.
    let is_common =
        |option: &&[u8]| [&b"keep-alive"[..], b"close"].iter().any(|one| option.eq_ignore_ascii_case(one));
    options
        .map(<[u8]>::trim_ascii)
        .filter(move |option| !is_common(option))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(move |name| is_there(name) && !stays(name))
}

/// Whether only the end of the connection tells a client of HTTP/1.0 where the answer ends.
fn ends_with_connection(response: &ResponseHeader, method: &Method) -> bool {
    let has_content = *method != Method::HEAD
        && !matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let is_chunked = response.headers.contains_key(header::TRANSFER_ENCODING);
    has_content && (is_chunked || !response.headers.contains_key(header::CONTENT_LENGTH))
}

/// Takes the transfer coding, which HTTP/1.0 does not know, out of an answer (RFC 9112 §6.1).
///
/// Pingora puts it in, and for an origin of HTTP/2 after the last hook of a proxy: only a module still comes behind that.
struct Unchunked;

impl HttpModuleBuilder for Unchunked {
    fn init(&self) -> Module {
        Box::new(Self)
    }
}

#[async_trait]
impl HttpModule for Unchunked {
    async fn response_header_filter(&mut self, response: &mut ResponseHeader, _is_end: bool) -> Result<()> {
        // A length beside it counts for nothing (RFC 9112 §6.3), and would count without it.
        if !response.status.is_informational() && response.remove_header(&header::TRANSFER_ENCODING).is_some()
        {
            response.remove_header(&header::CONTENT_LENGTH);
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

fn unchunked() -> pingora::modules::http::HttpModuleCtx {
    let mut modules = HttpModules::new();
    modules.add_module(Box::new(Unchunked));
    modules.build_ctx()
}
