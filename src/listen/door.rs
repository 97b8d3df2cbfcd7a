//! The one door to the origins: every connection to one is made here, and can be ended from here.
//!
//! A request is judged before it picks an address, by the ruleset it keeps to. A connection is another matter: it is
//! made for one request and lives on for others. So the door asks the ruleset *in force* at the moment of connecting,
//! whoever connects (a request, its retry, a health check), and keeps hold of each connection it made, pooled or in
//! use, so that a swap that closes a network ends what leads into it.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hashbrown::HashMap;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::VirtualSocketStream;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora::upstreams::peer::{Tracer, Tracing};
use pingora::{Error, ErrorType, Result};
use smallvec::SmallVec;
use tokio::net::TcpStream;

use super::flight::Flight;
use super::unhurried::Unhurried;
use crate::gate::Gate;
use crate::identify::Identity;
use crate::limits;
use users::Users;

/// The kind of error of a connection that the ruleset in force forbids.
const CLOSED: &str = "closed network";

/// Whether the door refused a connection, rather than the origin or the way there.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error.etype(), ErrorType::Custom(CLOSED))
}

/// What the door says to what must not go out.
pub(super) fn refusal(reason: String) -> Box<Error> {
    Error::explain(ErrorType::Custom(CLOSED), reason)
}

/// Makes all connections to origins and knows which are open.
#[derive(Debug)]
pub struct Door {
    gate: Arc<Gate>,
    /// Every open connection, by the descriptor of its socket, which also says where it is noted: request threads
    /// rarely meet there.
    shards: Box<[Arc<Shard>]>,
}

#[derive(Debug, Default)]
struct Shard(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    /// An entry leaves before its descriptor is closed, so no number stands for two connections.
    open: HashMap<RawFd, Open>,
    /// Requests that went out on connections of this shard, which numbers them.
    uses: u64,
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    fn number(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

/// An open connection.
#[derive(Debug)]
struct Open {
    address: IpAddr,
    /// A second descriptor of the socket, to end it by while its owner waits on the first.
    socket: OwnedFd,
    users: Users,
    /// Requests of several clients are on it at a time.
    shared: bool,
    /// The last request that went out on it.
    last: u64,
    /// What that one was about, once it has ended: the connection is idle.
    over: Option<Arc<Identity>>,
    /// It was ended from here, and its owner has not noticed yet.
    ended: bool,
}

/// A connection while one request is on it. It says nothing of the connection any more once another request has
/// followed, or another connection has got its descriptor.
#[derive(Debug)]
pub(super) struct Use {
    shard: Arc<Shard>,
    connection: RawFd,
    number: u64,
    is_late: bool,
}

impl Open {
    /// Whether the connection is of no use any more: it is idle, and the host that it served last is blocked by now to the
    /// client that asked. Whoever is let through there, or asks for another host, may have a new one.
    fn has_served_what_is_blocked(&self, gate: &Gate) -> bool {
        let over = self.over.as_ref().filter(|_| !self.shared);
        over.is_some_and(|identity| self.users.are_blocked(identity, gate))
    }
}

impl Use {
    /// Whether the connection was ended from here before the request came: nothing of it can go out there.
    pub(super) fn is_late(&self) -> bool {
        self.is_late
    }

    /// The request has ended, and the connection is idle unless it ended too, or serves another by now.
    pub(super) fn is_over(&self, about: &Arc<Identity>) {
        let mut noted = self.shard.lock();
        if let Some(open) = noted.open.get_mut(&self.connection).filter(|open| open.last == self.number) {
            open.over = Some(Arc::clone(about));
        }
    }

    /// Ends the connection. False when it has ended already, or is another request's by now.
    pub(super) fn end(&self) -> bool {
        let noted = self.shard.lock();
        let found = noted.open.get(&self.connection).filter(|open| open.last == self.number);
        if let Some(open) = found {
            end(&open.socket);
        }
        found.is_some()
    }
}

impl Door {
    /// A door that lets through what `gate` does not close.
    #[must_use]
    pub fn new(gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self { gate, shards: (0..limits::DOOR_SHARDS).map(|_| Arc::default()).collect() })
    }

    /// The way through the door for one client, or for nobody in particular.
    pub(super) fn way(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        patience: Duration,
        upgrade: bool,
    ) -> Arc<Doorway> {
        Arc::new(Doorway { door: Arc::clone(self), client, patience, upgrade })
    }

    /// Notes that a request of `client` goes out on a connection; `alone` when no other is on it. Nothing for one that
    /// has no descriptor, or ended.
    pub(super) fn note_user(&self, connection: RawFd, client: IpAddr, alone: bool) -> Option<Use> {
        let shard = self.shard(connection)?;
        let mut noted = shard.lock();
        let number = noted.number();
        let open = noted.open.get_mut(&connection)?;
        open.users.add(client, alone);
        open.shared = !alone;
        open.last = number;
        open.over = None;
        Some(Use { shard: Arc::clone(shard), connection, number, is_late: open.ended })
    }

    /// Where a descriptor is noted. There is always such a place.
    fn shard(&self, descriptor: RawFd) -> Option<&Arc<Shard>> {
        self.shards.get(descriptor.unsigned_abs() as usize % limits::DOOR_SHARDS)
    }

    /// Ends every connection whose address is closed to one of those it is open for, pooled or in use: nothing more
    /// is sent on it, what the system still holds of it included. So does every idle one that served a host which is blocked
    /// by now.
    pub fn close_what_is_closed(&self) -> usize {
        let mut ended = 0;
        for shard in &self.shards {
            for (descriptor, open) in shard.lock().open.iter_mut().filter(|(_, open)| !open.ended) {
                let is_closed = open.users.are_kept_from(open.address, &self.gate, open.shared);
                if is_closed || open.has_served_what_is_blocked(&self.gate) {
                    tracing::debug!(address = %open.address, descriptor, "a connection to an origin ends");
                    end(&open.socket);
                    open.ended = true;
                    ended += 1;
                }
            }
        }
        self.gate.metrics().upstream_cut(ended);
        ended
    }

    async fn connect(
        self: &Arc<Self>,
        address: SocketAddr,
        client: Option<IpAddr>,
        patience: Duration,
        upgrade: bool,
    ) -> Result<Stream> {
        self.ask(address.ip(), client)?;
        let connected = tokio::time::timeout(patience, TcpStream::connect(address)).await;
        let stream = connected
            .map_err(|_| Error::explain(ErrorType::ConnectTimedout, format!("{address}, {patience:?}")))?
            .map_err(|cause| unreachable_origin(address, cause))?;
        self.register(stream, address.ip(), client, upgrade)
    }

    /// Takes a connection in and asks once more: a swap between the question and this moment has not seen it.
    fn register(
        self: &Arc<Self>,
        stream: TcpStream,
        address: IpAddr,
        client: Option<IpAddr>,
        upgrade: bool,
    ) -> Result<Stream> {
        let duplicate = stream.as_fd().try_clone_to_owned();
        let socket =
            duplicate.map_err(|cause| Error::because(ErrorType::SocketError, "a descriptor", cause))?;
        let descriptor = stream.as_raw_fd();
        let users = client.map_or(Users::Anybody, |client| Users::Clients(SmallVec::from_elem(client, 1)));
        let nowhere = || Error::explain(ErrorType::SocketError, "a descriptor");
        let shard = Arc::clone(self.shard(descriptor).ok_or_else(nowhere)?);
        let last = {
            let mut noted = shard.lock();
            let last = noted.number();
            noted.open.insert(
                descriptor,
                Open { address, socket, users, shared: false, last, over: None, ended: false },
            );
            last
        };
        self.gate.metrics().upstream_opened();
        let mut stream = if upgrade {
            Stream::from(VirtualSocketStream::new(Box::new(Unhurried::new(stream))))
        } else {
            Stream::from(stream)
        };
        stream.tracer = Some(Tracer(Box::new(Leaving { door: Arc::clone(self), descriptor })));
        // When it is closed now the stream goes out of scope, and its entry with it.
        self.ask(address, client)?;
        if let (true, Some(flight)) = (upgrade, Flight::current()) {
            // Such a stream has no descriptor to be known by later, and is this request's alone from the start.
            flight.waits_on(Some(Use { shard, connection: descriptor, number: last, is_late: false }));
        }
        Ok(stream)
    }

    /// Whether the ruleset in force leaves the way to an address open. Asked for each connection that is made, and for
    /// each from the pool before a request goes out on it.
    pub(super) fn ask(&self, address: IpAddr, client: Option<IpAddr>) -> Result<()> {
        if self.gate.closes(address, client) {
            return Err(refusal(format!("a case closes {address}")));
        }
        Ok(())
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().open.len()).sum()
    }
}

/// Breaks a connection off at once: the other side gets a reset, and what the system had not sent yet is dropped.
fn end(socket: &OwnedFd) {
    if let Err(error) = rustix::net::connect_unspec(socket) {
        tracing::debug!(%error, "a connection could not be reset");
        // It has ended by itself, or the system knows no other way than to close it.
        rustix::net::shutdown(socket, rustix::net::Shutdown::Both).ok();
    }
}

fn unreachable_origin(address: SocketAddr, cause: std::io::Error) -> Box<Error> {
    let kind = match cause.kind() {
        std::io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        std::io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        std::io::ErrorKind::NetworkUnreachable | std::io::ErrorKind::HostUnreachable => {
            ErrorType::ConnectNoRoute
        }
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, format!("connecting to {address}"), cause)
}

/// Connects on somebody's behalf: what Pingora is given with every peer.
#[derive(Debug)]
pub(super) struct Doorway {
    door: Arc<Door>,
    client: Option<IpAddr>,
    patience: Duration,
    /// Whether the connection is for one request that may switch protocols.
    upgrade: bool,
}

#[async_trait]
impl L4Connect for Doorway {
    async fn connect(&self, address: &PingoraAddr) -> Result<Stream> {
        let inet = address.as_inet().copied();
        let address =
            inet.ok_or_else(|| Error::explain(ErrorType::ConnectError, "an origin without address"))?;
        self.door.connect(address, self.client, self.patience, self.upgrade).await
    }
}

/// Goes with a connection and takes its entry away when it closes. Pingora calls it before the descriptor is closed.
#[derive(Debug)]
struct Leaving {
    door: Arc<Door>,
    descriptor: RawFd,
}

impl Tracing for Leaving {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        // It is closed beside the lock.
        let open =
            self.door.shard(self.descriptor).and_then(|shard| shard.lock().open.remove(&self.descriptor));
        drop(open);
        self.door.gate.metrics().upstream_closed();
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(Self { door: Arc::clone(&self.door), descriptor: self.descriptor })
    }
}

/// Looks at the open connections after every change of the rules.
#[derive(Debug)]
pub struct Warden {
    door: Arc<Door>,
}

impl Warden {
    /// Watches over the connections made through `door`.
    #[must_use]
    pub fn new(door: Arc<Door>) -> Self {
        Self { door }
    }
}

#[async_trait]
impl BackgroundService for Warden {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut changes = self.door.gate.changes();
        // A change between the start of the edge and this moment.
        self.door.close_what_is_closed();
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                // Requests under way while the edge stops are still watched.
                _ = shutdown.wait_for(|_| false) => return,
            }
            // Whoever has a request under way there cuts it at once, and has the cut on record before. What is left
            // then is idle in the pool, where no request of a client that is kept out finds it.
            tokio::time::sleep(limits::CUTS_SETTLE).await;
            let ended = self.door.close_what_is_closed();
            if ended > 0 {
                tracing::info!(ended, "connections to origins were ended");
            }
        }
    }
}

#[cfg(test)]
mod tests;
mod users;
