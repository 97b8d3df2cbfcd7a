//! An origin with TLS or HTTP/2, and the certificates for it, made as the test runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::tls::Authority;

/// Ends TLS with a certificate of `authority` for one name.
fn acceptor(authority: &Authority, name: &str, protocols: &[&str]) -> TlsAcceptor {
    let (certificate, key) = authority.certificate(&[name]);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = builder
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A request as it arrived, its protocol in front: `h2 GET https://a.example/`.
pub type Line = String;

/// An origin that speaks TLS, HTTP/2 or both. To a request with `content-type: application/grpc` it answers with its
/// content and trailers, to any other with `ok`.
pub struct Secure {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What an origin saw.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Connections that were accepted.
    pub connections: usize,
    /// Server names of completed handshakes.
    pub names: Vec<Option<String>>,
    /// Requests.
    pub requests: Vec<Line>,
    /// The fields of the last request over HTTP/2.
    pub fields: HeaderMap,
    /// The trailers of all requests over HTTP/2.
    pub trailers: HeaderMap,
}

impl Secure {
    /// One with a certificate for `name`, which speaks HTTP/2 when it is offered.
    pub fn start(authority: &Authority, name: &str) -> Self {
        Self::run(Some(acceptor(authority, name, &["h2", "http/1.1"])))
    }

    /// One that speaks HTTP/2 in cleartext, and nothing else.
    pub fn cleartext() -> Self {
        Self::run(None)
    }

    fn run(tls: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        // Ends with the process: its runtime waits for connections that no test makes.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    shared.lock().unwrap().connections += 1;
                    tokio::spawn(serve(stream, tls.clone(), Arc::clone(&shared)));
                }
            });
        });
        Self { address, seen }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it saw so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(stream: tokio::net::TcpStream, tls: Option<TlsAcceptor>, seen: Arc<Mutex<Seen>>) {
    let Some(tls) = tls else { return serve_h2(stream, &seen).await };
    // A client that does not trust the certificate ends the handshake.
    let Ok(stream) = tls.accept(stream).await else { return };
    let session = stream.get_ref().1;
    let is_h2 = session.alpn_protocol() == Some(b"h2");
    seen.lock().unwrap().names.push(session.server_name().map(str::to_owned));
    if is_h2 { serve_h2(stream, &seen).await } else { serve_h1(stream, &seen).await }
}

async fn serve_h1(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Mutex<Seen>) {
    let mut unread = Vec::new();
    while matches!(stream.read_buf(&mut unread).await, Ok(1..)) {
        if !unread.ends_with(b"\r\n\r\n") {
            continue;
        }
        let line = String::from_utf8_lossy(&unread).lines().next().unwrap_or_default().to_owned();
        seen.lock().unwrap().requests.push(format!("h1 {line}"));
        unread.clear();
        let answer = b"HTTP/1.1 200 OK\r\norigin: secure\r\nContent-Length: 2\r\n\r\nok";
        if stream.write_all(answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn serve_h2(stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Arc<Mutex<Seen>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let mut noted = seen.lock().unwrap();
        noted.requests.push(format!("h2 {} {}", request.method(), request.uri()));
        noted.fields = request.headers().clone();
        drop(noted);
        tokio::spawn(answer_h2(request, respond, Arc::clone(seen)));
    }
}

async fn answer_h2(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: Arc<Mutex<Seen>>,
) {
    let is_grpc = request.headers().get("content-type").is_some_and(|kind| kind == "application/grpc");
    if request.uri().path() == "/hints" || request.headers().contains_key("expect") {
        let status = if request.uri().path() == "/hints" { 103 } else { 100 };
        respond.send_informational(Response::builder().status(status).body(()).unwrap()).unwrap();
    }
    if request.uri().path() == "/stream" {
        return converse(request.into_body(), respond).await;
    }
    let mut body = request.into_body();
    let mut content = Vec::new();
    while let Some(Ok(part)) = body.data().await {
        body.flow_control().release_capacity(part.len()).ok();
        content.extend_from_slice(&part);
    }
    let trailers = body.trailers().await.ok().flatten();
    seen.lock().unwrap().trailers.extend(trailers.unwrap_or_default());
    let head = Response::builder().header("origin", "secure");
    if !is_grpc {
        let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::from_static(b"ok"), true).ok();
        return;
    }
    let head = head.header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(content.into(), false).ok();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    // As if an edge had blocked the call.
    trailers.insert("enforcement-id", "01934f2e-9d1a-7cc0-8123-456789abcdef".parse().unwrap());
    stream.send_trailers(trailers).ok();
}

/// A call of gRPC in which each message is answered as it comes.
async fn converse(mut calls: h2::RecvStream, mut respond: SendResponse<Bytes>) {
    let head = Response::builder().header("origin", "secure").header("content-type", "application/grpc");
    let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
    while let Some(Ok(part)) = calls.data().await {
        calls.flow_control().release_capacity(part.len()).ok();
        stream.send_data(part, false).ok();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    stream.send_trailers(trailers).ok();
}
