//! Where requests come in, and the only place that knows Pingora.
//!
//! ```text
//! connection: accept -> read a whole head -> identify -> Pingora's proxy -> the next head
//! request:    enforce (gate: decide -> record -> act) -> forward to an origin the gate permits
//! origin:     upstream (which one, by which address) -> way (how) -> door (every connection, every swap)
//! ```

mod admin;
mod cache;
mod connection;
mod door;
mod enforce;
mod facts;
mod flight;
mod forwarded;
mod head;
mod health;
mod http2;
mod listeners;
mod proxy;
mod respond;
mod sockets;
mod stream;
mod tls;
mod upstream;
mod way;

pub use admin::{Admin, AdminError};
pub use cache::{Cache, Purger, Removed, Settings as CacheSettings};
pub use connection::{EdgeApp, Timeouts};
pub use door::{Door, Warden};
pub(crate) use enforce::answered;
pub use enforce::{Passed, carry_out, enforce_request, judge_origin};
pub use facts::{Connection, Tls};
pub use health::HealthChecks;
pub use listeners::{Listener, Listeners};
pub use proxy::{Context, EdgeProxy, Patience, server_conf};
pub use sockets::{BindError, BoundListener, Listening};
pub use tls::{Certificates, Terminator, TlsError};
pub use upstream::Upstream;
pub use way::TrustError;
