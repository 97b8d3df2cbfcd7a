//! Forward to origin: where a request may go once nothing stands against it.

mod balance;
mod origins;
mod resolve;
mod routes;

pub use balance::{Balance, HashKey, Order};
pub use origins::{Lease, Member, Origins, Pool};
pub use resolve::{Dns, ResolveError, Resolver};
pub use routes::{HealthCheck, Origin, OriginTls, Route, Routes};
