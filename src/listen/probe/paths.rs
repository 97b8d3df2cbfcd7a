//! Both paths of the requests of one HTTP/1 connection, without a socket: the fast one and the full one.

use std::sync::Arc;
use std::time::Duration;

use pingora::proxy::{HttpProxy, http_proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::watch;

use crate::audit::drafted;
use crate::forward::{Dns, Origins, Resolver, Routes};
use crate::gate::Gate;
use crate::limits;
use crate::listen::facts::Connection;
use crate::listen::frames::FrameLimits;
use crate::listen::stream::EdgeStream;
use crate::listen::{
    Bounds, EdgeApp, EdgeProxy, Listeners, Live, Patience, Settings, Timeouts, TrustError, Upstream,
    server_conf,
};

/// Turns of the scheduler in which a connection of HTTP/2 has done all that it can with a few streams.
const HTTP2_TURNS: u32 = 1000;

/// Everything a client can make out of what it sent, and everything an edge keeps of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The answers, as text, without the date and the number of the record, which are new each time.
    pub answers: String,
    /// How many events were recorded.
    pub recorded: u64,
    /// The last record of this thread, without its id and its time.
    pub last: Option<String>,
    /// There was a request that a flood may be in the way of: one that no case has answered.
    pub others: bool,
}

/// An edge that leads nowhere.
pub struct Stage {
    gate: Arc<Gate>,
    fast: Arc<EdgeApp<HttpProxy<EdgeProxy>>>,
    full: Arc<EdgeApp<HttpProxy<EdgeProxy>>>,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    /// Judges by `gate`, whose events must be recorded on this thread alone.
    ///
    /// # Errors
    /// When the system's certificate authorities cannot be used.
    pub fn new(gate: Arc<Gate>) -> Result<Self, TrustError> {
        let second = Duration::from_secs(1);
        let patience = Patience { connect: second, silence: second, client: second, min_rate: 0 };
        let resolver = Arc::new(Resolver::new(Dns::default(), Arc::clone(gate.metrics())));
        let origins = Arc::new(Origins::new(Routes::default()));
        let upstream = Upstream::new(Arc::clone(&gate), origins, resolver, &patience)?;
        let live = Arc::new(Live::new(Settings {
            upstream: Arc::new(upstream),
            patience,
            timeouts: Timeouts { header: second, idle: second, read: second, write: second },
            bounds: Bounds {
                head_bytes: limits::PIPELINE_BYTES,
                header_fields: limits::HEADER_FIELDS,
                frames: FrameLimits { resets: 10, control: 10, header_list: 1000, header_timeout: second },
                min_rate: 0,
                connections: 10,
                connections_per_network: 10,
            },
        }));
        let conf = Arc::new(server_conf(1, second));
        let app = || {
            let proxy = http_proxy(&conf, EdgeProxy::new(Arc::clone(&gate), Arc::clone(&live)));
            EdgeApp::new(proxy, Arc::clone(&gate), Listeners::new(Vec::new()), Arc::clone(&live))
        };
        let (fast, full) = (Arc::new(app()), Arc::new(app().on_the_full_path()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|_| TrustError::System)?;
        Ok(Self { gate, fast, full, runtime })
    }

    /// What becomes of these bytes and the end of the connection behind them: where requests may take the fast path, and
    /// where none does.
    #[must_use]
    pub fn both(&self, bytes: &[u8]) -> (Conversation, Conversation) {
        (self.converse(&self.fast, bytes), self.converse(&self.full, bytes))
    }

    /// Sends a request so many times on one connection and lets go of the answers, for a bench.
    pub fn drive(&self, head: &[u8], count: u64, fast: bool) {
        let app = if fast { &self.fast } else { &self.full };
        self.runtime.block_on(async {
            let (client, server) = duplex(1 << 16);
            let (mut reading, mut writing) = tokio::io::split(client);
            let connection = Arc::new(Connection::cleartext(None, None));
            let stream = Box::new(EdgeStream::new(Box::new(server), app.pace()));
            let (_stop, stopping) = watch::channel(false);
            let asking = async {
                for _ in 0..count {
                    writing.write_all(head).await.ok();
                }
                accepted(head).await;
                writing.shutdown().await.ok();
            };
            let taking = async {
                let mut sink = [0; 16 * 1024];
                while reading.read(&mut sink).await.is_ok_and(|read| read > 0) {}
            };
            tokio::join!(app.serve_any(stream, &connection, &stopping), asking, taking);
        });
    }

    /// How many times a request on the fast path had to let others go first.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.fast.turnstile.passes()
    }

    fn converse(&self, app: &Arc<EdgeApp<HttpProxy<EdgeProxy>>>, bytes: &[u8]) -> Conversation {
        let before = self.gate.audit().counters().decided;
        let answers = self.runtime.block_on(async {
            let (mut client, server) = duplex(1 << 20);
            let connection = Arc::new(Connection::cleartext(None, None));
            let stream = Box::new(EdgeStream::new(Box::new(server), app.pace()));
            let (_stop, stopping) = watch::channel(false);
            let mut answers = Vec::new();
            let asking = async {
                client.write_all(bytes).await.ok();
                accepted(bytes).await;
                client.shutdown().await.ok();
                client.read_to_end(&mut answers).await.ok();
            };
            tokio::join!(app.serve_any(stream, &connection, &stopping), asking);
            // Streams of HTTP/2 are served beside their connection, and end after it.
            while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
            answers
        });
        let recorded = self.gate.audit().counters().decided - before;
        Conversation {
            answers: without_what_is_new(&answers),
            recorded,
            last: drafted().filter(|_| recorded > 0),
            others: app.turnstile.take_others(),
        }
    }
}

/// Lets a connection of HTTP/2 do what it can with these bytes: at its end it forgets streams that it has not accepted.
async fn accepted(bytes: &[u8]) {
    if bytes.starts_with(b"PRI * HTTP/2.0\r\n") {
        for _ in 0..HTTP2_TURNS {
            tokio::task::yield_now().await;
        }
    }
}

/// The answers with what is new in each left out.
fn without_what_is_new(answers: &[u8]) -> String {
    let text = String::from_utf8_lossy(answers);
    let is_new = |line: &&str| !line.starts_with("enforcement-id: ") && !line.starts_with("Date: ");
    text.split_inclusive("\r\n").filter(is_new).collect()
}
