//! Where requests come in, and the only place that knows Pingora.
//!
//! ```text
//! connection: accept -> admit -> PROXY header -> ClientHello: judge its name -> handshake -> a whole head or a stream
//! request:    identify -> flight -> enforce (gate: decide -> record -> act) -> forward to an origin through the door
//! a change:   every flight is judged again -> recorded -> cut
//! ```

mod admin;
mod admission;
mod begin;
mod cache;
mod chunks;
mod client_header;
mod connection;
mod date;
mod door;
mod enforce;
mod facts;
mod fast;
mod flight;
mod forwarded;
mod frames;
mod framing;
mod head;
mod health;
mod http2;
mod interim;
mod leave;
mod listeners;
mod live;
mod preamble;
#[doc(hidden)]
pub mod probe;
mod proxy;
mod refresh;
mod respond;
mod returning;
mod sockets;
mod stream;
mod tls;
mod trip;
mod turnstile;
mod unhurried;
mod upload;
mod upstream;
mod waiting;
mod way;

pub use admin::{Admin, AdminError, Reload};
pub use cache::{Cache, Purger, Removed, Settings as CacheSettings};
pub use client_header::ClientHeader;
pub use connection::{Bounds, EdgeApp, Timeouts};
pub use door::{Door, Warden};
pub(crate) use enforce::answered;
pub use enforce::{Passed, carry_out, enforce_request, judge_origin};
pub use facts::{Connection, Tls};
pub use frames::FrameLimits;
pub use health::HealthChecks;
pub use leave::Leave;
pub use listeners::{Front, Listener, Listeners};
pub use live::{Live, Settings};
pub use proxy::{Context, EdgeProxy, Patience, server_conf};
pub use sockets::{BindError, BoundListener, Listening};
pub use tls::{Certificates, Terminator, TlsError};
pub use upstream::Upstream;
pub use way::TrustError;
