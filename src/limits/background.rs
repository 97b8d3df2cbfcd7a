//! How far work in the background stands back behind the threads that serve requests, as `nice` counts.

/// Merging of names: what it makes is only smaller in memory, and nobody waits for it.
pub const MERGE_NICENESS: i32 = 10;
/// Sealing and compressing of records, which have to keep up with the requests: about a third of a processor is theirs
/// beside one thread that serves them.
pub const AUDIT_NICENESS: i32 = 5;
