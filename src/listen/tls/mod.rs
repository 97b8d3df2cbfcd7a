//! TLS, ended at the edge.
//!
//! ```text
//! ClientHello -> judge its name -> refuse with an alert | choose a certificate -> handshake -> cleartext above
//! ```
//!
//! The name is judged before a key is exchanged or a signature made, so a refusal costs no cryptography. A resumed
//! session and a ClientHello in many pieces come the same way.

mod certificates;
mod hello;
mod names;
mod stream;

pub use certificates::{Certificates, TlsError};
pub use hello::Terminator;
pub(super) use hello::{Hello, Outcome};
