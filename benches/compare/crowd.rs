//! A client that keeps every connection busy: one thread, one epoll, one request at a time on each connection. It is
//! lean, so that the server is the limit; the report says how busy both were.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

/// Waiting for an answer never takes so long, whatever the server does.
const STALLED: Duration = Duration::from_secs(30);

/// What is asked for, and how it is answered.
#[derive(Clone)]
pub struct Request {
    pub bytes: Vec<u8>,
}

impl Request {
    /// The same bytes that `interdict load` sends.
    pub fn get(host: &str) -> Self {
        let bytes = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: interdict-load\r\nAccept: text/html\r\n\r\n"
        );
        Self { bytes: bytes.into_bytes() }
    }
}

/// Open connections, each with a request under way once it was run.
pub struct Crowd<'r> {
    target: SocketAddr,
    requests: &'r [Request],
    status: u16,
    epoll: OwnedFd,
    wires: Vec<Wire>,
    scratch: Vec<u8>,
    shape: Shape,
    /// Whether answers are waited for only, and how many connections have theirs.
    settling: bool,
    settled: usize,
    /// Connections that the server had ended, and that were made again.
    pub renewed: u64,
}

struct Wire {
    stream: TcpStream,
    /// Of an answer that is not whole.
    part: Vec<u8>,
    next: usize,
}

/// What the last answer looked like; the next one mostly looks the same.
#[derive(Clone, Copy, Default)]
pub struct Shape {
    pub head: usize,
    pub whole: usize,
}

impl<'r> Crowd<'r> {
    /// Connects and asks on every connection. Connection `n` begins with request `n` and goes on by as many requests as
    /// there are connections, so that all are asked for.
    pub fn open(target: SocketAddr, requests: &'r [Request], status: u16, connections: usize) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut crowd = Self {
            target,
            requests,
            status,
            epoll,
            wires: Vec::with_capacity(connections),
            scratch: vec![0; 64 * 1024],
            shape: Shape::default(),
            settling: false,
            settled: 0,
            renewed: 0,
        };
        for at in 0..connections {
            let stream = crowd.connect(at);
            crowd.wires.push(Wire { stream, part: Vec::new(), next: at });
            crowd.ask(at);
        }
        crowd
    }

    fn connect(&self, at: usize) -> TcpStream {
        let stream = TcpStream::connect(self.target).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        let data = epoll::EventData::new_u64(at as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN).unwrap();
        stream
    }

    fn ask(&mut self, at: usize) {
        if self.settling {
            self.settled += 1;
            return;
        }
        let step = self.wires.capacity();
        let wire = &mut self.wires[at];
        let request = &self.requests[wire.next % self.requests.len()];
        wire.next += step;
        // A connection that has ended says so when it is read.
        wire.stream.write_all(&request.bytes).ok();
    }

    /// Goes on for so long; tells how many answers came.
    pub fn run_for(&mut self, length: Duration) -> u64 {
        let end = Instant::now() + length;
        let mut answers = 0;
        let mut heard = Instant::now();
        let mut events = Vec::with_capacity(1024);
        let patience = rustix::time::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        loop {
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&patience)).unwrap();
            let now = Instant::now();
            if now >= end {
                return answers;
            }
            if !events.is_empty() {
                heard = now;
            }
            assert!(now - heard < STALLED, "{} does not answer", self.target);
            for event in events.drain(..) {
                answers += u64::from(self.read(event.data.u64() as usize));
            }
        }
    }

    /// Takes the answers that are under way and asks no more, a second at most; tells how many came.
    pub fn settle(&mut self) -> u64 {
        self.settling = true;
        let began = Instant::now();
        let mut answers = 0;
        while self.settled < self.wires.len() && began.elapsed() < Duration::from_secs(1) {
            answers += self.run_for(Duration::from_millis(20));
        }
        answers
    }

    /// Takes what has come; whether an answer is whole.
    fn read(&mut self, at: usize) -> bool {
        let wire = &mut self.wires[at];
        match wire.stream.read(&mut self.scratch) {
            Ok(0) => self.renew(at),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.renew(at),
            Ok(count) if wire.part.is_empty() => {
                let bytes = &self.scratch[..count];
                if is_whole(bytes, &mut self.shape, self.status) {
                    self.ask(at);
                    return true;
                }
                wire.part.extend_from_slice(bytes);
            }
            Ok(count) => {
                wire.part.extend_from_slice(&self.scratch[..count]);
                if is_whole(&wire.part, &mut self.shape, self.status) {
                    wire.part.clear();
                    self.ask(at);
                    return true;
                }
            }
        }
        false
    }

    fn renew(&mut self, at: usize) {
        self.renewed += 1;
        let stream = self.connect(at);
        let wire = &mut self.wires[at];
        // Closed, the old one leaves the epoll by itself.
        wire.stream = stream;
        wire.part.clear();
        self.ask(at);
    }

    /// Octets of the last answer.
    pub fn answer_bytes(&self) -> usize {
        self.shape.whole
    }
}

/// Whether these are all octets of one answer with this status; fails when they are anything else.
fn is_whole(bytes: &[u8], shape: &mut Shape, status: u16) -> bool {
    if bytes.len() < 12 {
        return false;
    }
    let found = &bytes[9..12];
    let wanted = [b'0' + (status / 100) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
    assert!(found == wanted, "{status} was to come, not {}", String::from_utf8_lossy(bytes));
    if bytes.len() == shape.whole && &bytes[shape.head - 4..shape.head] == b"\r\n\r\n" {
        return true;
    }
    let Some(found) = shape_of(bytes) else { return false };
    *shape = found;
    assert!(bytes.len() <= found.whole, "more came than was asked for");
    bytes.len() == found.whole
}

/// The form of an answer whose head is whole.
pub fn shape_of(bytes: &[u8]) -> Option<Shape> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(bytes).unwrap() else { return None };
    let length = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(length.expect("a length").value).unwrap().parse().unwrap();
    Some(Shape { head, whole: head + length })
}

/// The body of the answer to one request.
pub fn body(target: SocketAddr, request: &Request) -> Vec<u8> {
    let mut stream = TcpStream::connect(target).unwrap();
    stream.write_all(&request.bytes).unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{target} did not answer");
        answer.extend_from_slice(&buffer[..count]);
        match shape_of(&answer) {
            Some(shape) if answer.len() >= shape.whole => return answer[shape.head..shape.whole].to_vec(),
            _ => {}
        }
    }
}
