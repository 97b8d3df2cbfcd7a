//! Forward to origin: where a request may go once nothing stands against it.

mod resolve;
mod routes;

pub use resolve::{ResolveError, Resolver};
pub use routes::{Origin, Route, Routes};
