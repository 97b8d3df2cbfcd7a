//! `interdict load`: requests on a schedule, every answer checked, every id held against the log.
//!
//! ```text
//! plan -> threads: pacer -> worker (http1 | http2 | hello) -> judge -> tally -> report -> text | JSON | page
//! ```
//!
//! The loop is open: request *n* is due at *n / rate*, and its latency counts from then, whether or not a connection
//! was free (no coordinated omission). What the generator itself was late is told apart, so that nobody takes the
//! client's limit for the edge's.

mod chart;
mod compare;
mod drive;
mod hello;
mod holding;
mod hosts;
mod http1;
mod http2;
mod judge;
mod mark;
mod page;
mod plan;
mod report;
mod reporting;
mod run;
mod schedule;
mod search;
mod stop;
mod swaps;
mod tally;
mod wire;

pub use compare::{Comparison, compare};
pub use holding::{HoldError, Holding, Sought, hold};
pub use hosts::{HostsError, draw, read_hosts};
pub use page::page;
pub use plan::{Bound, Expect, Host, Plan, PlanError, Protocol};
pub use report::{Failures, Generator, Latency, Report, SearchReport, Second, Step, Swap};
pub use run::{Live, Progress, Run, RunError, run, run_until};
pub use search::find;
pub use stop::Stop;
pub use swaps::Swapping;
