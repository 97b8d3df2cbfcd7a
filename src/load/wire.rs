//! Connections to the target, cleartext or TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::net::{RecvFlags, recv};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::plan::{Plan, Protocol};

/// The head of a TLS record, and that of a `close_notify`: an alert of two octets (RFC 5246 §7.2), or encrypted with its
/// type and a tag of 16 (RFC 8446 §5.2). With AES-GCM, TLS 1.2 adds a nonce of 8 and a tag.
const RECORD_HEAD: usize = 5;

/// Octets that go both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {
    /// Whether the other side has ended the connection already, which nobody has read yet.
    fn has_ended(&self) -> bool;
}

impl Duplex for TcpStream {
    fn has_ended(&self) -> bool {
        has_ended(self)
    }
}

impl Duplex for TlsStream<TcpStream> {
    fn has_ended(&self) -> bool {
        has_ended(self.get_ref().0)
    }
}

/// Asks the kernel itself: the runtime learns of an end only when it waits the next time.
fn has_ended(stream: &TcpStream) -> bool {
    let mut next = [0_u8; RECORD_HEAD];
    match recv(stream, &mut next, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((octets, _)) => octets == 0 || matches!(next, [21, 3, 3, 0, _] | [23, 3, 3, 0, 19]),
        Err(error) => error != rustix::io::Errno::AGAIN,
    }
}

/// Makes connections.
pub(super) struct Reach {
    pub(super) target: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Reach {
    pub(super) fn new(plan: &Plan) -> io::Result<Self> {
        let tls = match plan.protocol {
            Protocol::TlsH1 | Protocol::TlsH2 => {
                let alpn: &[u8] = if plan.protocol.is_http2() { b"h2" } else { b"http/1.1" };
                let config = client_config(alpn)?;
                let name = match &plan.server_name {
                    Some(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
                    None => ServerName::from(plan.target.ip()),
                };
                Some((TlsConnector::from(Arc::new(config)), name))
            }
            Protocol::H1 | Protocol::H2 | Protocol::Handshake => None,
        };
        Ok(Self { target: plan.target, tls })
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let stream = TcpStream::connect(self.target).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((connector, name)) => Ok(Box::new(connector.connect(name.clone(), stream).await?)),
        }
    }
}

/// A ClientHello with this server name, in the records a client would send.
pub(super) fn client_hello(name: &str) -> io::Result<Vec<u8>> {
    let config = client_config(b"http/1.1")?;
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let mut client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}

/// TLS 1.2 and 1.3 without resumption, so that every handshake is a whole one.
fn client_config(alpn: &[u8]) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        Arc::new(AnyCertificate { schemes: provider.signature_verification_algorithms.supported_schemes() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Takes any certificate: a load test asks how fast the target answers, not who it is, and test certificates are
/// seldom trusted. No secret is ever sent over such a connection.
#[derive(Debug)]
struct AnyCertificate {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
