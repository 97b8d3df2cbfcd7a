//! An origin, and clients, of connections that last: WebSockets and downloads by the thousand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{interval, sleep};

use super::crowd::beside;

/// Octets of a download, and of the piece of it that goes out at a time.
const DOWNLOAD: usize = 100_000;
const PIECE: usize = 1000;
/// Between two pieces of a download, and between two words on a WebSocket.
const BEAT: Duration = Duration::from_secs(1);
/// Connections that are being made at a time.
const AT_ONCE: usize = 64;

/// The octet at a position of every download and on every WebSocket.
fn octet(position: usize) -> u8 {
    (position % 251) as u8
}

fn octets(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(octet).collect()
}

/// Answers an upgrade with 101 and an echo, and anything else with a download that does not end before it is let go.
pub struct StreamOrigin {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    let_go: watch::Sender<bool>,
}

impl StreamOrigin {
    /// Starts one on 127.0.0.1, on a thread of its own.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let open = Arc::new(AtomicUsize::new(0));
        let (let_go, released) = watch::channel(false);
        let count = Arc::clone(&open);
        beside(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let mut over = released.clone();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    // Dropping the origin is the end of it.
                    Err(_) = over.wait_for(|_| false) => return,
                };
                let (stream, _) = accepted.unwrap();
                let (count, released) = (Arc::clone(&count), released.clone());
                tokio::spawn(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    // Whoever is cut leaves in the middle.
                    serve(stream, released).await.ok();
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open, let_go }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Lets every download end.
    pub fn let_go(&self) {
        self.let_go.send_replace(true);
    }
}

async fn serve(mut stream: TcpStream, mut released: watch::Receiver<bool>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (head, _) = read_head(&mut stream).await?;
    if head.to_ascii_lowercase().contains("upgrade: websocket") {
        let fields = "Upgrade: websocket\r\nConnection: Upgrade";
        stream.write_all(format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n").as_bytes()).await?;
        let mut block = [0; 1024];
        while let count @ 1.. = stream.read(&mut block).await? {
            stream.write_all(&block[..count]).await?;
        }
        return Ok(());
    }
    let fields = format!("Content-Length: {DOWNLOAD}\r\nConnection: close");
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes()).await?;
    let (mut sent, mut nothing) = (0, [0]);
    // The last piece waits for the release, however long that takes.
    while !*released.borrow() {
        if sent + PIECE < DOWNLOAD {
            stream.write_all(&octets(sent, PIECE)).await?;
            sent += PIECE;
        }
        tokio::select! {
            () = sleep(BEAT) => {}
            _ = released.changed() => {}
            closed = stream.read(&mut nothing) => return closed.map(drop),
        }
    }
    stream.write_all(&octets(sent, DOWNLOAD - sent)).await?;
    stream.shutdown().await
}

/// A head, and what came behind it.
async fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let (mut came, mut block) = (Vec::new(), [0; 1024]);
    loop {
        let count = stream.read(&mut block).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        came.extend_from_slice(&block[..count]);
        if let Some(end) = came.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = came.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&came).into_owned(), rest));
        }
    }
}

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// An upgraded connection on which every octet comes back.
    WebSocket,
    /// A long answer.
    Download,
}

/// What became of a connection.
#[derive(Debug)]
pub struct Fate {
    /// The host asked for.
    pub host: &'static str,
    /// The path, which no other connection has.
    pub path: String,
    /// When the client saw its end, or what was wrong; `None` when it went on to the last octet.
    pub ended: Option<Result<Timestamp, String>>,
}

/// Connections that are under way.
pub struct Streams {
    under_way: Arc<AtomicUsize>,
    silent: Arc<AtomicUsize>,
    finish: watch::Sender<bool>,
    thread: std::thread::JoinHandle<Vec<Fate>>,
}

impl Streams {
    /// Opens `count` of each of these, on a thread of its own.
    pub fn open(edge: SocketAddr, kinds: &[(&'static str, Carries, usize)]) -> Self {
        let (under_way, silent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (finish, finished) = watch::channel(false);
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        let mut clients = Vec::new();
        for &(host, carries, count) in kinds {
            for number in 0..count {
                let (under_way, silent) = (Arc::clone(&under_way), Arc::clone(&silent));
                let (gate, finished) = (Arc::clone(&gate), finished.clone());
                clients.push(async move {
                    let path = format!("/{carries:?}/{number}");
                    let client = Client { host, path, carries, under_way, gate, finished };
                    let ended = client.live(edge).await;
                    if matches!(ended, Ok(Some(_))) {
                        silent.fetch_add(1, Ordering::SeqCst);
                    }
                    Fate { host, path: format!("/{carries:?}/{number}"), ended: ended.transpose() }
                });
            }
        }
        let thread = beside(async move {
            let tasks: Vec<_> = clients.into_iter().map(tokio::spawn).collect();
            let mut fates = Vec::new();
            for task in tasks {
                fates.push(task.await.unwrap());
            }
            fates
        });
        Self { under_way, silent, finish, thread }
    }

    /// How many have got something of what they asked for.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// How many were ended by the edge.
    pub fn silent(&self) -> usize {
        self.silent.load(Ordering::SeqCst)
    }

    /// Lets each WebSocket that is left say a last word and hear it, and each download come to its end.
    pub fn finish(self) -> Vec<Fate> {
        self.finish.send_replace(true);
        self.thread.join().unwrap()
    }
}

struct Client {
    host: &'static str,
    path: String,
    carries: Carries,
    under_way: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
    finished: watch::Receiver<bool>,
}

impl Client {
    /// When the edge ended it; nothing when it came to its own end.
    async fn live(mut self, edge: SocketAddr) -> Result<Option<Timestamp>, String> {
        let said = |error: io::Error| format!("before anything came: {error}");
        let permit = Arc::clone(&self.gate).acquire_owned().await.unwrap();
        let (mut stream, first) = self.begin(edge).await.map_err(said)?;
        drop(permit);
        let mut sent = 0;
        let mut heard = first.len();
        if first != octets(0, heard) {
            return Err("other octets than were sent".to_owned());
        }
        self.under_way.fetch_add(usize::from(heard > 0), Ordering::SeqCst);
        let mut beat = interval(BEAT);
        let mut block = [0; 16 * 1024];
        let mut last_word = false;
        loop {
            let speaks = self.carries == Carries::WebSocket && !last_word;
            tokio::select! {
                came = stream.read(&mut block) => match came {
                    // A cut with unread octets arrives as a reset.
                    Ok(0) | Err(_) => return Ok(Some(Timestamp::now())),
                    Ok(count) => {
                        if block[..count] != octets(heard, count) {
                            return Err(format!("other octets than were sent, after {heard}"));
                        }
                        if heard == 0 {
                            self.under_way.fetch_add(1, Ordering::SeqCst);
                        }
                        heard += count;
                    }
                },
                _ = beat.tick(), if speaks => {
                    last_word = *self.finished.borrow_and_update();
                    // Whether it arrives is seen when it comes back.
                    stream.write_all(&octets(sent, 8)).await.ok();
                    sent += 8;
                }
                _ = self.finished.changed(), if speaks => beat.reset_immediately(),
            }
            let is_whole = match self.carries {
                Carries::WebSocket => last_word && heard == sent,
                Carries::Download => heard == DOWNLOAD,
            };
            if is_whole {
                return Ok(None);
            }
        }
    }

    /// The connection after the head of its answer, and what has come behind that.
    async fn begin(&self, edge: SocketAddr) -> io::Result<(TcpStream, Vec<u8>)> {
        let Self { host, path, .. } = self;
        let mut stream = TcpStream::connect(edge).await?;
        stream.set_nodelay(true)?;
        let upgrade = match self.carries {
            Carries::WebSocket => {
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
            Carries::Download => "",
        };
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n");
        stream.write_all(head.as_bytes()).await?;
        let (answer, first) = read_head(&mut stream).await?;
        let status = if self.carries == Carries::WebSocket { " 101 " } else { " 200 " };
        if answer.lines().next().is_some_and(|line| line.contains(status)) {
            return Ok((stream, first));
        }
        Err(io::Error::other(format!("the answer was {answer}")))
    }
}
