//! Thousands of clients that send their request an octet at a time, while others go about their business.
//!
//! 300 of them with a deadline of two seconds, or with `INTERDICT_SOAK=1` 5,000 with the default one of ten.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::interval;

use crate::floods::rejected;
use crate::harness::crowd::{Spread, beside, is_soak, raise_open_files};
use crate::harness::ledger::Ledger;
use crate::harness::{CaseFile, Client, Edge, Origin, PATIENCE, Setup};

const BLOCKED: &str = "blocked.example";
const ALLOWED: &str = "allowed.example";

/// What a slow connection may hold of the edge's memory, in octets.
const MOST_EACH: u64 = 64 * 1024;

/// How slow clients are met at a size.
struct Trial {
    slow: usize,
    /// Between two octets of one client.
    beat: Duration,
    /// In the configuration; the default when it is empty.
    limits: &'static str,
    deadline: Duration,
}

fn trial() -> Trial {
    if is_soak() {
        return Trial {
            slow: 5000,
            beat: Duration::from_secs(1),
            limits: "",
            deadline: Duration::from_secs(10),
        };
    }
    Trial {
        slow: 300,
        beat: Duration::from_millis(100),
        limits: "[limits]\nheader_timeout = \"2s\"",
        deadline: Duration::from_secs(2),
    }
}

#[test]
fn thousands_of_slow_clients_are_closed_at_the_deadline_and_hold_up_nobody() {
    let trial = trial();
    raise_open_files(3 * trial.slow as u64);
    let origin = Origin::start();
    let edge =
        Setup::new().origin(&origin).case(CaseFile::new("page", &[BLOCKED])).table(trial.limits).start();

    let others = Others::start(&edge);
    std::thread::sleep(trial.deadline);
    let quiet = others.finish();
    let before = edge.process().resident_bytes();
    let others = Others::start(&edge);
    let slow = SlowClients::start(edge.address(), &trial);
    let most = slow.most_memory(&edge);
    let ends = slow.finish();
    let crowded = others.finish();

    let each = most.saturating_sub(before) / trial.slow as u64;
    let times = Spread::of(ends.iter().map(|end| end.after));
    println!("{} slow clients closed: {times}; {each} octets of memory each", trial.slow);
    println!("others alone:  {quiet}");
    let ratio = crowded.per_mille(990).as_secs_f64() / quiet.per_mille(990).as_secs_f64();
    println!("others beside: {crowded}; p99 {ratio:.2} ×");
    for end in &ends {
        assert!(end.answer.starts_with("HTTP/1.1 408 "), "{end:?}");
        // Rounded as timers are.
        assert!(end.after + Duration::from_millis(5) >= trial.deadline, "{end:?}");
    }
    if is_soak() {
        assert!(times.most() < trial.deadline + Duration::from_secs(1), "{times}");
    }
    assert!(each < MOST_EACH, "{each} octets each");
    assert_eq!(rejected(&edge, "slow"), trial.slow as u64);
    let asked = origin.requests();
    assert!(asked.iter().all(|request| request.field("host") == [ALLOWED]), "a slow client came through");
}

/// How one slow client ended.
#[derive(Debug)]
struct End {
    /// From its first octet to the end of the connection.
    after: Duration,
    answer: String,
}

/// Clients that send an octet a beat for as long as they may.
struct SlowClients {
    done: Arc<AtomicUsize>,
    count: usize,
    thread: JoinHandle<Vec<io::Result<End>>>,
}

impl SlowClients {
    fn start(edge: SocketAddr, trial: &Trial) -> Self {
        let (done, count, beat) = (Arc::new(AtomicUsize::new(0)), trial.slow, trial.beat);
        let counted = Arc::clone(&done);
        let thread = beside(async move {
            let gate = Arc::new(Semaphore::new(64));
            let client = |_| {
                let (gate, counted) = (Arc::clone(&gate), Arc::clone(&counted));
                tokio::spawn(async move {
                    let permit = gate.acquire_owned().await.unwrap();
                    let stream = TcpStream::connect(edge).await;
                    drop(permit);
                    let end = trickle(stream, beat).await;
                    counted.fetch_add(1, Ordering::SeqCst);
                    end
                })
            };
            let tasks: Vec<_> = (0..count).map(client).collect();
            let mut ends = Vec::new();
            for task in tasks {
                ends.push(task.await.unwrap());
            }
            ends
        });
        Self { done, count, thread }
    }

    /// The most memory the edge holds before all of them have ended.
    fn most_memory(&self, edge: &Edge) -> u64 {
        let (mut most, deadline) = (0, Instant::now() + PATIENCE * 2);
        while self.done.load(Ordering::SeqCst) < self.count {
            assert!(Instant::now() < deadline, "{:?} of {} are closed", self.done, self.count);
            most = most.max(edge.process().resident_bytes());
            std::thread::sleep(Duration::from_millis(20));
        }
        most
    }

    fn finish(self) -> Vec<End> {
        self.thread.join().unwrap().into_iter().map(Result::unwrap).collect()
    }
}

async fn trickle(stream: io::Result<TcpStream>, beat: Duration) -> io::Result<End> {
    let mut stream = stream?;
    stream.set_nodelay(true)?;
    let head = format!("GET / HTTP/1.1\r\nHost: {ALLOWED}\r\nX: ");
    let mut octets = head.bytes().chain(std::iter::repeat(b'x'));
    let began = Instant::now();
    let mut beats = interval(beat);
    let mut answer = Vec::new();
    let mut block = [0; 1024];
    loop {
        tokio::select! {
            came = stream.read(&mut block) => match came {
                Ok(count @ 1..) => answer.extend_from_slice(&block[..count]),
                // The octet that crosses with the close makes it a reset; the answer is in by then.
                Ok(0) | Err(_) => {
                    let answer = String::from_utf8_lossy(&answer).into_owned();
                    return Ok(End { after: began.elapsed(), answer });
                }
            },
            // A peer that has closed is noticed when reading.
            _ = beats.tick() => drop(stream.write_all(&[octets.next().unwrap_or_default()]).await),
        }
    }
}

/// Clients that mean well, at a steady pace: allowed and blocked requests in turn.
struct Others {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Vec<Duration>>>,
}

impl Others {
    fn start(edge: &Edge) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = |_| {
            let (stop, address, ledger) = (Arc::clone(&stop), edge.address(), edge.ledger());
            std::thread::spawn(move || ask(address, &ledger, &stop))
        };
        let workers: Vec<_> = (0..2).map(worker).collect();
        Self { stop, workers }
    }

    fn finish(self) -> Spread {
        self.stop.store(true, Ordering::SeqCst);
        Spread::of(self.workers.into_iter().flat_map(|worker| worker.join().unwrap()))
    }
}

fn ask(edge: SocketAddr, ledger: &Ledger, stop: &AtomicBool) -> Vec<Duration> {
    const PACE: Duration = Duration::from_millis(5);
    let mut client = Client::connect(edge, ledger.clone()).unwrap();
    let mut times = Vec::new();
    let mut next = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        let host = if times.len() % 2 == 0 { ALLOWED } else { BLOCKED };
        let answer = client.get(host, "/").expect("an answer");
        // Since it was due: an answer that is late delays the next, which counts as late too.
        times.push(next.elapsed());
        match host {
            ALLOWED => answer.assert_forwarded(),
            _ => answer.assert_blocked(403),
        };
        next += PACE;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    times
}
