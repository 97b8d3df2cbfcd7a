//! The protocols on the wire: what a client may send, what must never pass, and what becomes of the rest.

mod cuts;
mod fields;
mod floods;
mod house;
pub mod http2;
mod interim;
mod parts;
mod together;
mod tunnels;
