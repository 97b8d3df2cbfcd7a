//! HTTP/2 over cleartext with prior knowledge (RFC 9113 §3.3), and raw frames where a library is too polite.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;

use super::ledger::Ledger;
use super::{PATIENCE, Response};

/// One connection. Streams run side by side; nothing moves unless a method of this type is running.
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    pings: h2::PingPong,
    ledger: Ledger,
}

impl Http2 {
    /// Connects; blocks it sees go into `ledger`.
    pub fn connect(address: SocketAddr, ledger: Ledger) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, pings) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            handshake(stream).await
        });
        Self { runtime, sender, pings, ledger }
    }

    /// Sends a PING and waits for its acknowledgement.
    pub fn ping(&mut self) {
        let ping = async { self.pings.ping(h2::Ping::opaque()).await.unwrap() };
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, ping).await.expect("an answer in time") });
    }

    /// Connects over TLS; `name` is the server name asked for.
    pub fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>, name: &str, ledger: Ledger) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, pings) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(config);
            let stream = connector.connect(super::tls::server_name(name), stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            handshake(stream).await
        });
        Self { runtime, sender, pings, ledger }
    }

    /// Lets the connection work until `condition` holds.
    #[track_caller]
    pub fn work_until(&mut self, what: &str, condition: impl Fn() -> bool) {
        super::wait_until(what, || {
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(2)).await });
            condition()
        });
    }

    /// Waits until the peer has closed the connection; false when it does not within `patience`.
    pub fn closes_within(&mut self, patience: Duration) -> bool {
        let sender = self.sender.clone();
        let closed = async {
            // A closed connection is never ready again.
            while sender.clone().ready().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(patience, closed).await.is_ok() })
    }

    /// Sends `GET path` and waits for the answer; an error is a reset stream or a lost connection.
    pub fn get(&mut self, authority: &str, path: &str) -> Result<Response, h2::Error> {
        let request = Request::get(format!("http://{authority}{path}")).body(()).unwrap();
        self.request(request, None)
    }

    /// Sends a request, with content when there is some, and waits for the answer.
    pub fn request(&mut self, head: Request<()>, body: Option<&[u8]>) -> Result<Response, h2::Error> {
        let pending = self.open(head, body)?;
        self.finish(pending)
    }

    /// Opens a stream and does not wait.
    pub fn open(&mut self, head: Request<()>, body: Option<&[u8]>) -> Result<ResponseFuture, h2::Error> {
        let sender = self.sender.clone();
        self.runtime.block_on(async move {
            let mut sender = sender.ready().await?;
            let (pending, mut stream) = sender.send_request(head, body.is_none())?;
            if let Some(body) = body {
                stream.send_data(Bytes::copy_from_slice(body), true)?;
            }
            Ok(pending)
        })
    }

    /// Waits for the answer on an open stream.
    pub fn finish(&mut self, pending: ResponseFuture) -> Result<Response, h2::Error> {
        let ledger = &self.ledger;
        let whole = async {
            let (head, mut stream) = pending.await?.into_parts();
            let mut response = Response {
                status: head.status.as_u16(),
                fields: fields(&head.headers),
                head_ends: stream.is_end_stream(),
                ..Response::default()
            };
            if let Some(id) = response.enforcement_id() {
                ledger.note(id, None);
            }
            while let Some(data) = stream.data().await {
                let data = data?;
                stream.flow_control().release_capacity(data.len())?;
                response.body.extend_from_slice(&data);
            }
            response.trailers = stream.trailers().await?.as_ref().map(fields).unwrap_or_default();
            Ok(response)
        };
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, whole).await.expect("an answer in time") })
    }
}

async fn handshake<S>(stream: S) -> (SendRequest<Bytes>, h2::PingPong)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut connection) = h2::client::handshake(stream).await.unwrap();
    let pings = connection.ping_pong().unwrap();
    // The connection's own error shows in every stream it ends, so nothing is lost here.
    tokio::spawn(async move { connection.await.ok() });
    (sender, pings)
}

fn fields(map: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// How an edge ended a stream whose fields no polite client would send.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// It answered with a response head.
    Answered,
    /// It reset the stream.
    Reset,
    /// It closed the connection.
    Closed,
}

/// Sends one request on a fresh connection with exactly these fields, and says how the stream ended.
pub fn raw(address: SocketAddr, fields: &[(&[u8], &[u8])]) -> Ending {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    let mut block = Vec::new();
    for (name, value) in fields {
        // RFC 7541 §6.2.2: literal field without indexing, new name, no Huffman coding.
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one length octet is enough here");
            block.push(text.len() as u8);
            block.extend_from_slice(text);
        }
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend([0, (block.len() >> 8) as u8, block.len() as u8, HEADERS, 0x5, 0, 0, 0, 1]);
    bytes.extend(block);
    stream.write_all(&bytes).unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Ending::Closed;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).is_err() {
            return Ending::Closed;
        }
        match head[3] {
            HEADERS => return Ending::Answered,
            RST_STREAM => return Ending::Reset,
            GOAWAY => return Ending::Closed,
            _ => {}
        }
    }
}

/// A connection that sends exactly the frames it is told to.
pub struct Frames {
    stream: TcpStream,
    unsent: Vec<u8>,
    closed: bool,
}

impl Frames {
    /// Connects, with the preface and empty settings (RFC 9113 §3.4). What the edge sends is taken in and dropped.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut reading = stream.try_clone().unwrap();
        // Ends with the connection.
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while matches!(reading.read(&mut block), Ok(1..)) {}
        });
        let mut client = Self { stream, unsent: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), closed: false };
        client.frame(4, 0, 0, &[]);
        client
    }

    /// Sends one frame; a connection that is closed takes none.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        self.unsent.extend([length[1], length[2], length[3], kind, flags]);
        self.unsent.extend(stream.to_be_bytes());
        self.unsent.extend_from_slice(payload);
        self.closed |= self.stream.write_all(&self.unsent).is_err();
        self.unsent.clear();
    }

    /// Does something so many times, or until the edge has closed the connection; says how many times.
    pub fn flood(&mut self, most: u32, mut send: impl FnMut(&mut Self, u32)) -> u32 {
        (0..most)
            .take_while(|index| {
                send(self, *index);
                !self.closed
            })
            .count() as u32
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // Ends the thread that reads; a connection that is gone needs no end.
        self.stream.shutdown(std::net::Shutdown::Both).ok();
    }
}
