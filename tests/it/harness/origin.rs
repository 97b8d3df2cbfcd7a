//! A customer's server: real sockets, and a memory of every byte it was sent.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::canned::Canned;
use super::wait_for;

/// An HTTP/1.1 origin.
///
/// * A target that [`Origin::answers`] says so.
/// * `/slow/N` streams N chunks, twenty milliseconds apart.
/// * `/never` takes the request and does not answer before its client goes away.
/// * `/hangs` is the same for a WebSocket.
/// * `/die` takes the request and closes without an answer.
/// * `/echo` gives the request's content back.
/// * A request with `Upgrade: websocket` gets 101, and then every byte comes back.
/// * `/healthz` gets 200, or 503 while it is [unwell](Origin::set_unwell); it is counted and not remembered.
/// * Anything else gets `METHOD path host`.
///
/// An origin named `dying` takes each request and closes without an answer.
///
/// Every answer carries the field `origin` with the origin's name.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    connections: AtomicUsize,
    open: AtomicUsize,
    checks: AtomicUsize,
    unwell: AtomicBool,
    requests: Mutex<Vec<Received>>,
    canned: Mutex<HashMap<String, Canned>>,
    closing: AtomicBool,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The head, byte for byte, with the empty line that ends it.
    pub head: Vec<u8>,
    /// The content.
    pub body: Vec<u8>,
}

impl Received {
    /// The words of the request line.
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.head).lines().next().unwrap_or_default().to_owned()
    }

    /// All values of a field.
    pub fn field(&self, name: &str) -> Vec<String> {
        let head = String::from_utf8_lossy(&self.head).into_owned();
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).collect()
    }
}

impl Origin {
    /// Starts one on 127.0.0.1.
    pub fn start() -> Self {
        Self::named("origin", "127.0.0.1:0")
    }

    /// Starts one with a name of its own, at an address with port 0.
    pub fn named(name: &str, address: &str) -> Self {
        Self::at(name, TcpListener::bind(address).unwrap())
    }

    fn at(name: &str, listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            checks: AtomicUsize::new(0),
            unwell: AtomicBool::new(false),
            requests: Mutex::new(Vec::new()),
            canned: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Starts one at each of these addresses, all on the same port. Each is called by its address.
    pub fn neighbours<const N: usize>(addresses: [&str; N]) -> [Self; N] {
        // Whether a port is free everywhere shows when it is taken.
        wait_for("a port is free at every address", || {
            let first = TcpListener::bind((addresses[0], 0)).unwrap();
            let port = first.local_addr().unwrap().port();
            let others = addresses.iter().skip(1).map(|address| TcpListener::bind((*address, port)));
            let others: Vec<TcpListener> = others.collect::<io::Result<_>>().ok()?;
            let mut listeners = [first].into_iter().chain(others);
            Some(addresses.map(|address| Self::at(address, listeners.next().unwrap())))
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it was offered.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// How often its health was asked for.
    pub fn checks(&self) -> usize {
        self.shared.checks.load(Ordering::SeqCst)
    }

    /// Says from now on that it is unwell, or well.
    pub fn set_unwell(&self, unwell: bool) {
        self.shared.unwell.store(unwell, Ordering::SeqCst);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// From now on says this to whoever asks for `target`.
    pub fn answers(&self, target: &str, canned: Canned) {
        self.shared.canned.lock().unwrap().insert(target.to_owned(), canned);
    }

    /// Has no answer of its own any more to whoever asks for `target`.
    pub fn falls_silent(&self, target: &str) {
        self.shared.canned.lock().unwrap().remove(target);
    }

    /// How often `target` was asked for.
    pub fn asked_for(&self, target: &str) -> usize {
        self.shared.asked_for(target)
    }

    /// The only request so far; fails when there are none or several.
    #[track_caller]
    pub fn only_request(&self) -> Received {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }

    /// Fails when it was ever spoken to.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(self.connections(), 0, "the origin was reached: {:?}", self.requests());
    }
}

impl Shared {
    fn asked_for(&self, target: &str) -> usize {
        let asks = |request: &&Received| request.line().split(' ').nth(1) == Some(target);
        self.requests.lock().unwrap().iter().filter(asks).count()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; when this fails it is awake or gone already.
        TcpStream::connect(self.address).ok();
    }
}

/// An address on which nobody listens: bound once, then let go.
pub fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(shared);
        // A client that goes away in the middle is part of many tests.
        thread::spawn(move || {
            shared.open.fetch_add(1, Ordering::SeqCst);
            serve(stream, &shared).ok();
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    while let Some(request) = receive(&mut stream, &mut unread)? {
        if request.line().starts_with("GET /healthz ") {
            answer_check(&mut stream, shared)?;
            continue;
        }
        shared.requests.lock().unwrap().push(request.clone());
        if shared.name == "dying" {
            return Ok(());
        }
        answer(&mut stream, shared, &request)?;
        if request.field("upgrade").iter().any(|to| to.eq_ignore_ascii_case("websocket")) {
            return echo(&mut stream, &unread);
        }
        if request.field("connection").iter().any(|option| option.eq_ignore_ascii_case("close")) {
            return Ok(());
        }
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<Option<Received>> {
    let end = loop {
        match find(unread, b"\r\n\r\n") {
            Some(at) => break at + 4,
            None if !fill(stream, unread)? => return Ok(None),
            None => {}
        }
    };
    let mut request = Received { head: unread.drain(..end).collect(), body: Vec::new() };
    if !request.field("expect").is_empty() {
        // One that wants no content says so at once, and waits for none.
        if request.line().starts_with("POST /unwanted ") {
            return Ok(Some(request));
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\nfrom: origin\r\n\r\n")?;
    }
    if let Some(length) = request.field("content-length").first() {
        let length: usize = length.parse().map_err(io::Error::other)?;
        while unread.len() < length && fill(stream, unread)? {}
        request.body = unread.drain(..length.min(unread.len())).collect();
    } else if !request.field("transfer-encoding").is_empty() {
        // The coding is kept as it came: tests look at the bytes.
        while find(unread, b"0\r\n\r\n").is_none() && fill(stream, unread)? {}
        request.body = std::mem::take(unread);
    }
    Ok(Some(request))
}

fn answer_check(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    shared.checks.fetch_add(1, Ordering::SeqCst);
    let status = if shared.unwell.load(Ordering::SeqCst) { "503 Service Unavailable" } else { "200 OK" };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

fn answer(stream: &mut TcpStream, shared: &Shared, request: &Received) -> io::Result<()> {
    let line = request.line();
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let name = &shared.name;
    if !request.field("upgrade").is_empty() && path != "/hangs" {
        let fields = "Upgrade: websocket\r\nConnection: Upgrade";
        return write!(stream, "HTTP/1.1 101 Switching Protocols\r\n{fields}\r\norigin: {name}\r\n\r\n");
    }
    if let Some(count) = path.strip_prefix("/slow/") {
        write!(stream, "HTTP/1.1 200 OK\r\norigin: {name}\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for index in 0..count.parse().unwrap_or(0) {
            write!(stream, "8\r\n{index:>7} \r\n")?;
            thread::sleep(Duration::from_millis(20));
        }
        return stream.write_all(b"0\r\n\r\n");
    }
    let canned = shared.canned.lock().unwrap().get(path).cloned();
    if let Some(canned) = canned {
        return canned.write(stream, request, name, shared.asked_for(path));
    }
    if path == "/unwanted" {
        let fields = "Content-Length: 0\r\nConnection: close";
        write!(stream, "HTTP/1.1 413 Content Too Large\r\norigin: {name}\r\n{fields}\r\n\r\n")?;
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    if path == "/die" {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    if path == "/never" || path == "/hangs" {
        while stream.read(&mut [0; 1024])? > 0 {}
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let host = request.field("host").join(", ");
    let body =
        if path == "/echo" { request.body.clone() } else { format!("{method} {path} {host}\n").into_bytes() };
    write!(stream, "HTTP/1.1 200 OK\r\norigin: {name}\r\nContent-Length: {}\r\n\r\n", body.len())?;
    if method == "HEAD" { Ok(()) } else { stream.write_all(&body) }
}

fn echo(stream: &mut TcpStream, first: &[u8]) -> io::Result<()> {
    stream.write_all(first)?;
    let mut block = [0; 4096];
    while let count @ 1.. = stream.read(&mut block)? {
        stream.write_all(&block[..count])?;
    }
    Ok(())
}

fn fill(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<bool> {
    let mut block = [0; 4096];
    let count = stream.read(&mut block)?;
    unread.extend_from_slice(&block[..count]);
    Ok(count > 0)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
