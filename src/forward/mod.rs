//! Forward to origin: where a request may go once nothing stands against it.

mod resolve;

pub use resolve::{Resolver, ResolveError};
