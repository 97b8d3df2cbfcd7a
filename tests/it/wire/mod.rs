//! The protocols on the wire: what a client may send, what must never pass, and what becomes of the rest.

mod house;
pub mod http2;
mod parts;
mod together;
mod tunnels;
