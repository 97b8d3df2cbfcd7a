//! An origin that reads by the letter, counts what it reads and keeps every octet.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::canonical::{Message, Reading, read};

/// One connection from the edge.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// Every octet that came, up to an upgrade.
    pub bytes: Vec<u8>,
    /// The whole requests in them, in order.
    pub requests: Vec<Message>,
    /// The octets of those.
    pub read: usize,
    /// The head of a request whose content has not all come.
    pub begun: Option<Message>,
    /// Why it cannot be read any further.
    pub unclear: Option<String>,
    /// Octets after an upgrade.
    pub tunnelled: usize,
    /// It is closed.
    pub ended: bool,
}

impl Connection {
    /// Whether it is open and holds a part of a request.
    pub fn is_torn(&self) -> bool {
        !self.ended && self.read < self.bytes.len()
    }
}

/// The origin.
///
/// * It answers each whole request with `METHOD target`, and HEAD with 204.
/// * A target that begins with `/early/` is answered before its content has come.
/// * One that begins with `/upgrade/` and asks for a WebSocket gets 101, and the first octets after that end the connection.
/// * Before a content that is expected to be asked for it says `100 Continue`.
pub struct Raw {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Connection>>>,
    closing: Arc<AtomicBool>,
}

impl Raw {
    /// Starts one on 127.0.0.1.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let closing = Arc::new(AtomicBool::new(false));
        let (known, ending) = (Arc::clone(&connections), Arc::clone(&closing));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Serving { stream, at: add(&known), connections: Arc::clone(&known) };
                thread::spawn(move || serving.run());
            }
        });
        Self { address, connections, closing }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen.
    pub fn connections(&self) -> Vec<Connection> {
        self.connections.lock().unwrap().clone()
    }

    /// Whether something is true of all connections.
    pub fn all(&self, holds: impl Fn(&Connection) -> bool) -> bool {
        self.connections.lock().unwrap().iter().all(holds)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; when this fails it is awake or gone already.
        TcpStream::connect(self.address).ok();
    }
}

fn add(connections: &Mutex<Vec<Connection>>) -> usize {
    let mut connections = connections.lock().unwrap();
    connections.push(Connection::default());
    connections.len() - 1
}

struct Serving {
    stream: TcpStream,
    at: usize,
    connections: Arc<Mutex<Vec<Connection>>>,
}

impl Serving {
    fn run(mut self) {
        // The edge goes away in the middle of many a request: that is what is tested.
        self.serve().ok();
        self.with(|connection| connection.ended = true);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Connection) -> T) -> T {
        change(&mut self.connections.lock().unwrap()[self.at])
    }

    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut block = [0; 16 * 1024];
        let mut answered_early = false;
        while let count @ 1.. = self.stream.read(&mut block)? {
            self.with(|connection| connection.bytes.extend_from_slice(&block[..count]));
            loop {
                match self.with(step) {
                    Reading::Part => break,
                    Reading::Unclear(_) => return Ok(()),
                    Reading::Head(message) => {
                        if message.target.starts_with("/early/") && !answered_early {
                            answered_early = true;
                            self.answer(&message)?;
                        } else if !message.values("expect").is_empty() {
                            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                        }
                        break;
                    }
                    Reading::Whole(message) if message.values("upgrade") == ["websocket"] => {
                        return self.upgrade(&message);
                    }
                    Reading::Whole(message) => {
                        if !std::mem::take(&mut answered_early) {
                            self.answer(&message)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, message: &Message) -> io::Result<()> {
        let answer = match message.method.as_str() {
            "HEAD" => "HTTP/1.1 204 No Content\r\norigin: raw\r\n\r\n".to_owned(),
            method => {
                let body = format!("{method} {}", message.target);
                format!("HTTP/1.1 200 OK\r\norigin: raw\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
        };
        self.stream.write_all(answer.as_bytes())
    }

    fn upgrade(&mut self, message: &Message) -> io::Result<()> {
        if !message.target.starts_with("/upgrade/") {
            return self.answer(message);
        }
        let mut block = [0; 4096];
        let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\norigin: raw";
        write!(self.stream, "HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n")?;
        let early = self.with(|connection| connection.bytes.split_off(connection.read).len());
        let count = if early == 0 { self.stream.read(&mut block)? } else { early };
        self.with(|connection| connection.tunnelled = count);
        Ok(())
    }
}

/// Reads one more request.
fn step(connection: &mut Connection) -> Reading {
    if connection.read == connection.bytes.len() {
        return Reading::Part;
    }
    let reading = read(&connection.bytes[connection.read..]);
    connection.begun = None;
    match &reading {
        Reading::Whole(message) => {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            connection.read += message.octets;
            let order = COUNT.fetch_add(1, Ordering::SeqCst);
            connection.requests.push(Message { order, ..message.clone() });
        }
        Reading::Head(message) => connection.begun = Some(message.clone()),
        Reading::Unclear(why) => connection.unclear = Some(why.clone()),
        Reading::Part => {}
    }
    reading
}
