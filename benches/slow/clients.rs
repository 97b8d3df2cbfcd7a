//! Clients that send an octet of a request head every second, for as long as they are let: one thread, one epoll.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;

const BEAT: Duration = Duration::from_secs(1);
/// A server that closes later than this after its deadline has no deadline.
const LATE: Duration = Duration::from_secs(1);
const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: allowed.example\r\nX: xxxxxxxx";

/// All of them, under way.
pub struct SlowClients {
    began: Instant,
    deadline: Duration,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl SlowClients {
    /// As many clients of `target`, which closes each after `deadline`. They come spread over that time.
    pub fn start(target: SocketAddr, count: usize, deadline: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut herd = Herd::new(target, count, deadline);
            while !told.load(Ordering::Relaxed) {
                herd.go_on();
            }
            herd.ends
        });
        Self { began: Instant::now(), deadline, stop, thread }
    }

    /// Waits until all are there and the first of them have been closed.
    pub fn wait_until_spread(&self) {
        let wait = self.deadline + LATE / 2;
        std::thread::sleep(wait.saturating_sub(self.began.elapsed()));
    }

    /// Ends them; how long those lasted that the server closed.
    pub fn finish(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

struct Herd {
    target: SocketAddr,
    deadline: Duration,
    epoll: OwnedFd,
    clients: Vec<Option<Client>>,
    began: Instant,
    /// Turns so far: each client has one a beat.
    turns: usize,
    ends: Vec<Duration>,
}

struct Client {
    stream: TcpStream,
    began: Instant,
    sent: usize,
    answer: Vec<u8>,
}

impl Herd {
    fn new(target: SocketAddr, count: usize, deadline: Duration) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let clients = (0..count).map(|_| None).collect();
        Self { target, deadline, epoll, clients, began: Instant::now(), turns: 0, ends: Vec::new() }
    }

    /// Everything that is due now, and a millisecond of waiting for servers that close.
    fn go_on(&mut self) {
        let count = self.clients.len();
        let due = (self.began.elapsed().as_secs_f64() / BEAT.as_secs_f64() * count as f64) as usize;
        for turn in self.turns..due {
            let (beat, at) = (turn / count, turn % count);
            let beats = self.deadline.as_secs() as usize;
            match &mut self.clients[at] {
                Some(client) => client.send(),
                None if beat >= at % beats => self.connect(at),
                None => {}
            }
        }
        self.turns = due;
        let mut events = Vec::with_capacity(256);
        let patience = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&patience)).unwrap();
        for event in events {
            let at = event.data.u64() as usize;
            let Some(client) = self.clients[at].as_mut() else { continue };
            if client.is_over() {
                self.ends.push(client.end(self.deadline));
                self.connect(at);
            }
        }
    }

    fn connect(&mut self, at: usize) {
        let began = Instant::now();
        let stream = TcpStream::connect(self.target).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)
            .unwrap();
        let mut client = Client { stream, began, sent: 0, answer: Vec::new() };
        client.send();
        // The old one leaves the epoll by being closed.
        self.clients[at] = Some(client);
    }
}

impl Client {
    /// The next octet. A peer that has closed is noticed when reading.
    fn send(&mut self) {
        let octet = HEAD.get(self.sent).copied().unwrap_or(b'x');
        self.sent += self.stream.write(&[octet]).unwrap_or(0);
    }

    /// Takes what has come; whether the server has closed.
    fn is_over(&mut self) -> bool {
        let mut block = [0; 1024];
        loop {
            match self.stream.read(&mut block) {
                Ok(0) => return true,
                Ok(count) => self.answer.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // An octet that crosses with the close makes it a reset; the answer is in by then.
                Err(_) => return true,
            }
        }
    }

    /// How long it lasted; fails when it did not end as it should.
    fn end(&self, deadline: Duration) -> Duration {
        let lasted = self.began.elapsed();
        let answer = String::from_utf8_lossy(&self.answer);
        assert!(answer.starts_with("HTTP/1.1 408 "), "after {lasted:?}: {answer:?}");
        // Rounded as timers are.
        assert!(
            lasted + Duration::from_millis(5) >= deadline && lasted < deadline + LATE,
            "after {lasted:?}"
        );
        lasted
    }
}
