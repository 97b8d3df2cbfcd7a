//! The ClientHello: judged by its name, then refused or answered with a handshake.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::Stream;
use rustls::server::{Acceptor, ClientHello, ServerConfig};
use smallvec::{SmallVec, smallvec};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;

use super::certificates::{Certificates, TlsError, provider};
use super::stream::TlsStream;
use crate::act::Ask;
use crate::gate::{Asked, Gate, Ruling};
use crate::hostname::Hostname;
use crate::identify::Identity;
use crate::listen::facts::Tls;

/// A fatal alert `unrecognized_name` in a record of its own (RFC 8446 §5.1 and §6, RFC 6066 §3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Ends TLS for a listener.
#[derive(Debug)]
pub struct Terminator {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

/// What became of a handshake.
pub(in crate::listen) enum Outcome {
    /// Cleartext from here on.
    Done(Stream, Tls),
    /// An enforcement refused it; that has been recorded, and the alert was sent.
    Refused,
    /// It ended in a failure of the client's; the word is for the metrics.
    Failed(&'static str),
}

/// What a client showed of itself before the handshake.
pub(in crate::listen) struct Hello {
    /// As it was sent; empty when there is none.
    raw: Vec<u8>,
    sni: Option<Hostname>,
}

impl Terminator {
    /// Ends TLS 1.2 and 1.3 with these certificates, and offers HTTP/2 and HTTP/1.1 (RFC 7301).
    ///
    /// # Errors
    /// When rustls refuses its own defaults.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, TlsError> {
        let resolver: Arc<dyn rustls::server::ResolvesServerCert> = Arc::clone(&certificates) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Stateless: a botnet's sessions take no memory.
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        Ok(Self { config: Arc::new(config), certificates })
    }

    /// Takes the handshake of a new connection, all of it within `patience`.
    pub(in crate::listen) async fn accept(
        &self,
        stream: Stream,
        client: IpAddr,
        listener: &str,
        gate: &Gate,
        patience: Duration,
    ) -> Outcome {
        let deadline = Instant::now() + patience;
        let acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let start = match timeout_at(deadline, acceptor).await {
            Ok(Ok(start)) => start,
            Ok(Err(error)) => return Outcome::Failed(failure(&error)),
            Err(_) => return Outcome::Failed("slow-handshake"),
        };
        let Some(hello) = Hello::of(&start.client_hello()) else {
            alert(start.io, deadline).await;
            return Outcome::Failed("handshake");
        };
        if let Some(sni) = &hello.sni
            && let Ruling::Enforce(blocked) = self.judge(sni, &hello.raw, client, listener, gate)
        {
            // No page can be shown: that the record is acknowledged is all that is waited for.
            drop(blocked.acknowledged().await);
            alert(start.io, deadline).await;
            return Outcome::Refused;
        }
        let is_held = hello.sni.as_ref().is_some_and(|sni| self.certificates.has(sni));
        if !is_held && !self.certificates.has_default() {
            alert(start.io, deadline).await;
            return Outcome::Failed("no-certificate");
        }
        match timeout_at(deadline, start.into_stream(Arc::clone(&self.config))).await {
            Ok(Ok(stream)) => {
                let stream = TlsStream::new(stream);
                let tls = Tls { version: stream.version(), sni: hello.sni };
                Outcome::Done(Box::new(stream), tls)
            }
            Ok(Err(error)) => Outcome::Failed(failure(&error)),
            Err(_) => Outcome::Failed("slow-handshake"),
        }
    }

    fn judge(&self, sni: &Hostname, raw: &[u8], client: IpAddr, listener: &str, gate: &Gate) -> Ruling {
        let seen: SmallVec<[Vec<u8>; 2]> = smallvec![raw.to_vec()];
        let identity = Identity { host: sni.clone(), port: None, names: smallvec![sni.clone()], seen };
        let asked = Asked {
            identity: &identity,
            client,
            listener,
            tls: None,
            protocol: "",
            method: "",
            path: b"",
            user_agent: None,
            ask: Ask::default(),
        };
        // The default certificate is for other names: a client that verifies would never see the page behind it.
        gate.judge_handshake(&asked, self.certificates.has(sni))
    }
}

impl Hello {
    /// `None` when the name in it is none: what cannot be judged is not served.
    pub(in crate::listen) fn of(hello: &ClientHello<'_>) -> Option<Self> {
        let Some(name) = hello.server_name() else { return Some(Self { raw: Vec::new(), sni: None }) };
        let sni = Hostname::parse(name).ok()?;
        Some(Self { raw: name.as_bytes().to_vec(), sni: Some(sni) })
    }

    /// The name that is judged.
    pub(in crate::listen) fn name(&self) -> Option<String> {
        self.sni.as_ref().map(ToString::to_string)
    }
}

/// Sends the alert and closes. The end of the sending side needs no call of its own: closing a socket from which all has
/// been read says it, and where there is more to read neither would keep the system from a reset.
async fn alert(mut stream: Stream, deadline: Instant) {
    let send = async {
        stream.write_all(&UNRECOGNIZED_NAME).await?;
        stream.flush().await
    };
    // A client that is gone needs no alert.
    timeout_at(deadline, send).await.ok();
}

fn failure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidData => "handshake",
        _ => "broken-handshake",
    }
}
