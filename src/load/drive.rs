//! One thread of the generator: its connections, and a worker for each request at a time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::judge::{Answer, Fault, judge};
use super::plan::{Expect, Host, Plan, Protocol};
use super::run::{Live, RunError};
use super::schedule::{Schedule, Ticket};
use super::stop::Stop;
use super::tally::Tally;
use super::wire::{Reach, client_hello};
use super::{hello, http1, http2};
use crate::limits;

/// A request made ready.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) expect: Expect,
    /// HTTP/1.1, or a ClientHello.
    pub(super) bytes: Vec<u8>,
    /// HTTP/2.
    pub(super) uri: http::Uri,
    host: String,
}

/// A fault, and what there is to say of it.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) fault: Fault,
    pub(super) text: String,
}

impl Trouble {
    pub(super) fn new(fault: Fault, text: impl std::fmt::Display) -> Self {
        Self { fault, text: text.to_string() }
    }
}

/// Makes the requests of a plan ready, in the order of [`Plan::choose`].
pub(super) fn prepare(plan: &Plan) -> Result<Vec<Prepared>, RunError> {
    let one = |host: &Host| {
        let refuse = |cause: &dyn std::fmt::Display| RunError::Host {
            host: host.name.clone(),
            cause: cause.to_string(),
        };
        let (name, path) = (&host.name, &plan.path);
        let bytes = match plan.protocol {
            Protocol::Handshake => client_hello(name).map_err(|error| refuse(&error))?,
            _ => format!(
                "GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: interdict-load\r\nAccept: text/html\r\n\r\n"
            )
            .into_bytes(),
        };
        let scheme = if plan.protocol.is_tls() { "https" } else { "http" };
        let uri = format!("{scheme}://{name}{path}").parse().map_err(|error| refuse(&error))?;
        Ok(Prepared { expect: host.expect, bytes, uri, host: host.name.clone() })
    };
    plan.hosts().map(one).collect()
}

/// What a thread is given.
pub(super) struct Thread {
    pub(super) plan: Arc<Plan>,
    pub(super) prepared: Arc<[Prepared]>,
    pub(super) reach: Arc<Reach>,
    pub(super) live: Arc<Live>,
    pub(super) runtime: Runtime,
    /// Which of the plan's threads it is.
    pub(super) index: usize,
    /// Met twice: when all connections are made, and when `start` is set.
    pub(super) gate: Arc<Barrier>,
    pub(super) start: Arc<OnceLock<Instant>>,
    pub(super) until: Stop,
}

/// What asks: one request at a time.
enum Client {
    Http1(http1::Client),
    Http2(http2::Client),
    Hello(hello::Client),
}

impl Client {
    async fn open(&mut self) -> Result<(), Trouble> {
        match self {
            Self::Http1(client) => client.open().await,
            Self::Http2(client) => client.open().await,
            Self::Hello(_) => Ok(()),
        }
    }

    async fn ask(&mut self, request: &Prepared) -> Result<Answer, Trouble> {
        match self {
            Self::Http1(client) => client.ask(request).await,
            Self::Http2(client) => client.ask(request).await,
            Self::Hello(client) => client.ask(request).await,
        }
    }

    fn abandon(&mut self) {
        // The others hold nothing of a request that was given up.
        if let Self::Http1(client) = self {
            client.abandon();
        }
    }

    fn renewed(&self) -> u64 {
        match self {
            Self::Http1(client) => client.renewed,
            Self::Http2(client) => client.renewed,
            Self::Hello(_) => 0,
        }
    }
}

/// What the workers of a thread share.
struct Shop {
    plan: Arc<Plan>,
    prepared: Arc<[Prepared]>,
    live: Arc<Live>,
    schedule: Schedule,
    tally: RefCell<Tally>,
    /// Seconds of which whoever watches has been told.
    shown: Cell<usize>,
}

impl Thread {
    /// Makes its connections, waits for the others, and sends until the schedule is over.
    pub(super) fn run(self) -> std::io::Result<Tally> {
        let local = LocalSet::new();
        let clients = local.block_on(&self.runtime, self.open());
        self.gate.wait();
        self.gate.wait();
        let Some(start) = self.start.get().copied() else {
            return Err(std::io::Error::other("the run was called off"));
        };
        local.block_on(&self.runtime, self.send(clients, start))
    }

    /// Its share of the connections. One that cannot be made now is made, or counted as failed, with a request.
    async fn open(&self) -> Vec<Client> {
        let mut clients = self.clients();
        for client in &mut clients {
            let opened = tokio::select! {
                opened = timeout(self.plan.timeout, client.open()) => matches!(opened, Ok(Ok(()))),
                () = self.until.told() => false,
            };
            if !opened {
                break;
            }
        }
        clients
    }

    fn clients(&self) -> Vec<Client> {
        let own = (self.index..self.plan.connections).step_by(self.plan.threads.max(1));
        let mut clients = Vec::new();
        for _ in own {
            let reach = Arc::clone(&self.reach);
            match self.plan.protocol {
                Protocol::H1 | Protocol::TlsH1 => clients.push(Client::Http1(http1::Client::new(reach))),
                Protocol::Handshake => clients.push(Client::Hello(hello::Client::new(reach))),
                Protocol::H2 | Protocol::TlsH2 => {
                    let shared = Rc::new(http2::Shared::new(reach));
                    let streams = (0..self.plan.streams).map(|_| http2::Client::new(Rc::clone(&shared)));
                    clients.extend(streams.map(Client::Http2));
                }
            }
        }
        clients
    }

    async fn send(&self, clients: Vec<Client>, start: Instant) -> std::io::Result<Tally> {
        let Self { plan, prepared, live, .. } = self;
        let from = start + plan.warm_up;
        let stop = from + plan.duration + limits::LOAD_OVERTIME.min(plan.timeout);
        let end = plan.requests();
        let expected = (end / plan.threads.max(1) as u64) as usize;
        let share = (self.index as u64, plan.threads as u64);
        let shop = Rc::new(Shop {
            plan: Arc::clone(plan),
            prepared: Arc::clone(prepared),
            live: Arc::clone(live),
            schedule: Schedule::new(share, (start, stop), plan.rate, end, self.until.clone())?,
            tally: RefCell::new(Tally::new(from, plan.keep_ids, expected)),
            shown: Cell::new(0),
        });
        let before = processor_time();
        let workers: Vec<_> = clients
            .into_iter()
            .map(|client| tokio::task::spawn_local(work(client, Rc::clone(&shop))))
            .collect();
        for worker in workers {
            worker.await.map_err(std::io::Error::other)??;
        }
        let cpu = processor_time().saturating_sub(before);
        let cut = shop
            .schedule
            .left(|number, due, waited| {
                if let Some(request) = prepared.get(plan.choose(number)) {
                    shop.tally.borrow_mut().unsent(request.expect, due, waited);
                }
            })
            .await;
        let mut tally = shop.tally.replace(Tally::new(from, false, 0));
        (tally.cpu, tally.cut) = (cpu, cut);
        Ok(tally)
    }
}

async fn work(mut client: Client, shop: Rc<Shop>) -> std::io::Result<()> {
    while let Some(ticket) = shop.schedule.next().await? {
        let Some(request) = shop.prepared.get(shop.plan.choose(ticket.number)) else { continue };
        let came = match timeout(shop.plan.timeout, client.ask(request)).await {
            Ok(came) => came,
            Err(_) => {
                client.abandon();
                Err(Trouble::new(Fault::Timeout, format_args!("`{}`", request.host)))
            }
        };
        shop.note(&ticket, request, came);
    }
    shop.tally.borrow_mut().renewed += client.renewed();
    Ok(())
}

impl Shop {
    fn note(&self, ticket: &Ticket, request: &Prepared, came: Result<Answer, Trouble>) {
        let now = Instant::now();
        let (answer, judged) = match came {
            Err(trouble) => (None, Err(trouble)),
            Ok(answer) => {
                (Some(answer), judge(request.expect, answer).map_err(|fault| told(fault, request, answer)))
            }
        };
        self.live.failed.fetch_add(u64::from(judged.is_err()), Relaxed);
        self.live.done.fetch_add(1, Relaxed);
        let mut tally = self.tally.borrow_mut();
        tally.note(ticket, request.expect, answer, judged, now);
        let begun = tally.seconds.len();
        if self.shown.replace(begun) != begun
            && let Some(p99) = tally.last_p99_us()
        {
            self.live.p99_us.store(p99, Relaxed);
        }
    }
}

fn told(fault: Fault, request: &Prepared, answer: Answer) -> Trouble {
    match answer {
        Answer::Refused => Trouble::new(fault, format_args!("`{}` was refused", request.host)),
        Answer::Response { status: 0, .. } => {
            Trouble::new(fault, format_args!("`{}`: the handshake went on", request.host))
        }
        Answer::Response { status, id } => {
            let odd =
                if id == Some(0) { ", with an enforcement-id that is none or with several" } else { "" };
            Trouble::new(fault, format_args!("`{}` was answered {status}{odd}", request.host))
        }
    }
}

/// What this thread has used of a processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}
