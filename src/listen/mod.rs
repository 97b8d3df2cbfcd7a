//! Where requests come in, and the only place that knows Pingora.
//!
//! ```text
//! connection: accept -> admit -> PROXY header -> TLS -> read a whole head -> identify -> Pingora's proxy -> the next head
//! request:    enforce (gate: decide -> record -> act) -> forward to an origin the gate permits
//! ```

mod admin;
mod admission;
mod connection;
mod enforce;
mod facts;
mod flight;
mod forwarded;
mod frames;
mod head;
mod http2;
mod listeners;
mod preamble;
mod proxy;
mod respond;
mod sockets;
mod stream;
mod tls;
mod upload;

pub use admin::{Admin, AdminError};
pub use connection::{Bounds, EdgeApp, Timeouts};
pub(crate) use enforce::answered;
pub use enforce::{Passed, carry_out, enforce_request, judge_origin};
pub use facts::{Connection, Tls};
pub use forwarded::ClientHeader;
pub use frames::FrameLimits;
pub use listeners::{Front, Listener, Listeners};
pub use proxy::{Context, EdgeProxy, Patience, server_conf};
pub use sockets::{BindError, BoundListener, Listening};
pub use tls::{Certificates, Terminator, TlsError};
