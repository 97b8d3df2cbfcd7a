//! Connections to the target, cleartext or TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::plan::{Plan, Protocol};

/// Octets that go both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

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
