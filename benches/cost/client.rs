//! Who asks: h2load for requests, raw ClientHellos for handshakes.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Handshakes under way at a time.
const AT_ONCE: usize = 32;

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in cleartext, 64 connections.
    Http1,
    /// HTTP/2 over TLS, 16 connections with 10 streams each.
    Tls2,
}

pub fn has_h2load() -> bool {
    Command::new("h2load").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Asks for a host so many times; fails when not every answer is a good one.
pub fn forward(address: SocketAddr, host: &str, requests: u32, protocol: Protocol) {
    let (scheme, how) = match protocol {
        Protocol::Http1 => ("http", &["--h1", "-c", "64"][..]),
        Protocol::Tls2 => ("https", &["-c", "16", "-m", "10"][..]),
    };
    let output = Command::new("h2load")
        .args(how)
        .args(["-t", "1", "-n", &requests.to_string(), &format!("--connect-to={address}")])
        .arg(format!("{scheme}://{host}/"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("status codes: {requests} 2xx")), "{text}");
}

/// Sends so many ClientHellos for a name; fails when one is answered with anything but a fatal alert.
pub fn be_refused(address: SocketAddr, name: &str, count: usize) {
    let hello: Arc<[u8]> = hello(name).into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = |_| {
            let hello = Arc::clone(&hello);
            tokio::spawn(async move {
                for _ in 0..count / AT_ONCE {
                    let answer = answer(address, &hello).await.unwrap();
                    // A record of type alert, two octets long: fatal, unrecognized_name (RFC 8446 §6, RFC 6066 §3).
                    assert!(answer.len() == 7 && answer[0] == 21 && answer[5..] == [2, 112], "{answer:?}");
                }
            })
        };
        for task in (0..AT_ONCE).map(client).collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

async fn answer(address: SocketAddr, hello: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(hello).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The bytes with which a client begins that asks for `name`.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}
