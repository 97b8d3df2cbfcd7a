//! The gate every request passes: decide -> record -> act.
//!
//! It holds the ruleset in force and the audit log, and is the same for HTTP/1, HTTP/2 and proxies that
//! embed this crate. It knows neither sockets nor Pingora: the facts of a request come in, a ruling goes out.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::act::{self, Ask};
use crate::audit::{Audit, Kind, Pending};
use crate::clock::Clock;
use crate::decide::{self, Subject, Verdict};
use crate::identify::Identity;
use crate::metrics::Metrics;
use crate::policy::{Action, CompiledCase, Ruleset};
use crate::rate::{Rate, Rates};
use crate::traffic::Traffic;

mod blocked;
mod found;
mod line;
mod now;
mod records;
#[cfg(test)]
mod tests;
pub use self::blocked::Blocked;
pub use self::records::Noted;

use found::Happened;
use now::Now;

/// What the gate must know of a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The names the request is about.
    pub identity: &'a Identity,
    /// Who asks.
    pub client: IpAddr,
    /// The address the connection came in on, as records show it; empty when it has none.
    pub listener: &'a str,
    /// The TLS version, on a connection with TLS.
    pub tls: Option<&'a str>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`; empty before there is a request.
    pub protocol: &'a str,
    /// The request method.
    pub method: &'a str,
    /// The path; a query behind it is never recorded.
    pub path: &'a [u8],
    /// The `User-Agent` field.
    pub user_agent: Option<&'a [u8]>,
    /// What kind of answer the client understands.
    pub ask: Ask<'a>,
}

/// What is under way when it is judged again after a change of rules.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// The origin it is connected to.
    pub upstream: Option<SocketAddr>,
    /// Octets of content that the client has got.
    pub sent: u64,
    /// Since the request began; of an idle connection, since it was opened.
    pub age: Duration,
    /// No request is under way: the connection only waits for one.
    pub idle: bool,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Ruling {
    /// Nothing stands against it: forward it to an origin.
    Forward,
    /// It is blocked, and this has been recorded: give its answer and nothing else.
    Enforce(Blocked),
}

/// The ruleset in force, the log and the clock, shared by all request threads.
#[derive(Debug)]
pub struct Gate {
    ruleset: ArcSwap<Ruleset>,
    audit: Arc<Audit>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    /// Counts the moments at which a verdict may have changed.
    changes: watch::Sender<u64>,
    /// How often each client network gets the whole answer of a case; always when it is not set.
    whole_answers: OnceLock<Rates>,
    /// Which hosts the last hour's requests were for.
    traffic: Traffic,
}

impl Gate {
    /// A gate that starts with this ruleset.
    #[must_use]
    pub fn new(
        ruleset: Arc<Ruleset>,
        audit: Arc<Audit>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let changes = watch::Sender::new(0);
        let ruleset = ArcSwap::new(ruleset);
        let traffic = Traffic::new(clock.now(), RandomState::new().hash_one(()));
        Self { ruleset, audit, metrics, clock, changes, whole_answers: OnceLock::new(), traffic }
    }

    /// From here on a client network that is blocked more often than this gets short answers; records stay whole. The
    /// first call counts.
    pub fn limit_whole_answers(&self, rate: Rate) {
        self.whole_answers.get_or_init(|| Rates::new(rate));
    }

    /// Chooses the answer of a case: the whole one, or a short one for who asks too often.
    fn blocked(&self, case: &Arc<CompiledCase>, asked: &Asked<'_>, at: Now, pending: Pending) -> Blocked {
        let in_time = |rates: &Rates| rates.take(asked.client, at.steady);
        let is_excess = !self.whole_answers.get().is_none_or(in_time);
        let prepared = if is_excess {
            self.metrics.shortened();
            act::prepare_short(case, &asked.ask)
        } else {
            act::prepare(case, &asked.ask)
        };
        Blocked { prepared, pending, is_excess, at: at.wall }
    }

    /// The ruleset in force. A request asks once and keeps to it until its end.
    #[must_use]
    pub fn ruleset(&self) -> Arc<Ruleset> {
        self.ruleset.load_full()
    }

    /// Puts another ruleset in force and returns the one before, for the caller to drop in good time.
    #[must_use]
    pub fn swap(&self, ruleset: Arc<Ruleset>) -> Arc<Ruleset> {
        let before = self.ruleset.swap(ruleset);
        self.changed();
        before
    }

    /// Puts the same rules in force, held in memory in another way: no verdict is another one. Returns those before.
    #[must_use]
    pub fn replace(&self, same: Arc<Ruleset>) -> Arc<Ruleset> {
        self.ruleset.swap(same)
    }

    /// Tells whoever serves something that its verdict may be another one now.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Changes with every swap, and with every start or end of a case or exemption: what is under way is judged
    /// again then.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Which hosts the last hour's requests were for.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How many such moments there have been.
    #[must_use]
    pub fn moment(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Whether a verdict by `ruleset` at this moment is still the verdict of now.
    #[must_use]
    pub fn stands(&self, ruleset: &Arc<Ruleset>, moment: u64) -> bool {
        self.moment() == moment && Arc::ptr_eq(&self.ruleset.load(), ruleset)
    }

    /// The audit log behind this gate.
    #[must_use]
    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// The counters of this gate.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The clock of this gate.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Judges a request by its names. Whatever is not plainly allowed has been recorded on return.
    #[must_use]
    pub fn judge(&self, ruleset: &Ruleset, asked: &Asked<'_>) -> Ruling {
        let began = Instant::now();
        self.traffic.note(&asked.identity.host);
        let subject = Subject { names: &asked.identity.names, client: asked.client };
        let wall = self.clock.now();
        let verdict = decide::decide(ruleset, &subject, wall);
        let at = self.judged(began, wall);
        if matches!(verdict, Verdict::Allow) {
            self.metrics.allowed();
        }
        self.rule(&verdict, Kind::RequestBlocked, ruleset, asked, at, None)
    }

    /// Judges a request that may be answered on the fast path, which can do nothing but block. `None`: no case blocks it;
    /// nothing of it is counted or recorded then, and it is still to be judged.
    #[must_use]
    pub fn block(&self, asked: &Asked<'_>) -> Option<Blocked> {
        let began = Instant::now();
        let ruleset = self.ruleset.load();
        let subject = Subject { names: &asked.identity.names, client: asked.client };
        let wall = self.clock.now();
        let verdict = decide::decide(&ruleset, &subject, wall);
        if !matches!(verdict, Verdict::Block(_)) {
            return None;
        }
        self.traffic.note(&asked.identity.host);
        let at = self.judged(began, wall);
        self.metrics.fast();
        match self.rule(&verdict, Kind::RequestBlocked, &ruleset, asked, at, None) {
            Ruling::Enforce(blocked) => Some(blocked),
            Ruling::Forward => None,
        }
    }

    /// Judges a connection to an origin before it is opened. On [`Ruling::Enforce`] it must not be.
    #[must_use]
    pub fn judge_origin(&self, ruleset: &Ruleset, asked: &Asked<'_>, upstream: SocketAddr) -> Ruling {
        let at = Now::of(self.clock.as_ref());
        let verdict = decide::judge_origin(ruleset, upstream.ip(), asked.client, at.wall);
        self.rule(&verdict, Kind::UpstreamRefused, ruleset, asked, at, Some(upstream))
    }

    /// Whether the ruleset in force keeps a client from an address, or anybody when no client asks. Records nothing:
    /// what asks here is refused a connection, and the request behind it is judged and recorded by itself.
    #[must_use]
    pub fn closes(&self, upstream: IpAddr, client: Option<IpAddr>) -> bool {
        let (ruleset, now) = (self.ruleset.load(), self.clock.now());
        match client {
            Some(client) => {
                matches!(decide::judge_origin(&ruleset, upstream, client, now), Verdict::Block(_))
            }
            None => decide::closes_to_somebody(&ruleset, upstream, now),
        }
    }

    /// Judges a TLS handshake by its server name, before any cryptography. On [`Ruling::Enforce`] it must end with an
    /// alert, and this has been recorded.
    ///
    /// A name that gets a page can only be refused here when there is no certificate to show it with
    /// (`has_certificate`); otherwise its requests are judged. Nor are cases in shadow mode and exemptions recorded
    /// twice.
    #[must_use]
    pub fn judge_handshake(&self, asked: &Asked<'_>, has_certificate: bool) -> Ruling {
        let ruleset = self.ruleset();
        let subject = Subject { names: &asked.identity.names, client: asked.client };
        let at = Now::of(self.clock.as_ref());
        let verdict = decide::decide(&ruleset, &subject, at.wall);
        match &verdict {
            Verdict::Block(found) if found.case.action == Action::Refuse || !has_certificate => {
                self.rule(&verdict, Kind::HandshakeRefused, &ruleset, asked, at, None)
            }
            _ => Ruling::Forward,
        }
    }

    /// Judges what is under way by the rules of now. `None`: it may go on. Otherwise it must end as soon as what comes
    /// back is acknowledged; the cut has been recorded.
    #[must_use]
    pub fn judge_again(&self, asked: &Asked<'_>, cut: &Cut) -> Option<Pending> {
        let ruleset = self.ruleset();
        let now = self.clock.now();
        let subject = Subject { names: &asked.identity.names, client: asked.client };
        let by_name = decide::decide(&ruleset, &subject, now);
        let by_origin = || Some(decide::judge_origin(&ruleset, cut.upstream?.ip(), asked.client, now));
        let found = match (by_name, by_origin) {
            (Verdict::Block(found), _) => found,
            (_, by_origin) => match by_origin() {
                Some(Verdict::Block(found)) => found,
                _ => return None,
            },
        };
        let detail = object(json!({
            "bytes_sent": cut.sent,
            "age_ms": u64::try_from(cut.age.as_millis()).unwrap_or(u64::MAX),
            "idle": cut.idle,
        }));
        let happened =
            Happened { kind: Kind::ConnectionCut, at: now, upstream: cut.upstream, detail: Some(&detail) };
        Some(self.record_found(&ruleset, &found, asked, &happened))
    }

    /// Notes how long a verdict took that is given at this time of the wall clock.
    fn judged(&self, began: Instant, wall: Timestamp) -> Now {
        let steady = Instant::now();
        self.metrics.judged(steady.saturating_duration_since(began));
        Now { wall, steady }
    }

    /// Records what a verdict found, and turns it into what is to be done. `blocked` is the kind of event when
    /// the request or connection is stopped; a case in shadow mode and an exempt client let it through.
    fn rule(
        &self,
        verdict: &Verdict<'_>,
        blocked: Kind,
        ruleset: &Ruleset,
        asked: &Asked<'_>,
        at: Now,
        upstream: Option<SocketAddr>,
    ) -> Ruling {
        let (kind, found) = match verdict {
            Verdict::Allow => return Ruling::Forward,
            Verdict::Block(found) => (blocked, found),
            Verdict::Shadow(found) => (Kind::RequestShadowed, found),
            Verdict::Exempt(found) => (Kind::RequestExempted, found),
        };
        let happened = Happened { kind, at: at.wall, upstream, detail: None };
        let pending = self.record_found(ruleset, found, asked, &happened);
        match verdict {
            Verdict::Block(_) => Ruling::Enforce(self.blocked(found.case, asked, at, pending)),
            // Nobody waits who is let through.
            _ => Ruling::Forward,
        }
    }
}

/// The fields of a JSON object written in place.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
