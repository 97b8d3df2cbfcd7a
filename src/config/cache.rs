//! `[cache]`: what is kept of the origins' answers.

use std::time::Duration;

use super::Cache;
use crate::document::Table;

/// The store, in bytes, unless the configuration says otherwise.
const BYTES: u64 = 256 * 1024 * 1024;
/// The smallest store.
const MIN_BYTES: u64 = 1024 * 1024;
/// The largest store.
const MAX_BYTES: u64 = 1024 * 1024 * 1024 * 1024;
/// The largest object, unless the configuration says otherwise.
const OBJECT_BYTES: u64 = 16 * 1024 * 1024;
/// The smallest bound on an object.
const MIN_OBJECT_BYTES: u64 = 1024;

/// The section. Where it is absent there is no cache.
pub(super) fn settle(table: &Table<'_>, upper: &[&'static str]) -> Cache {
    let size = |key, range| table.optional(key).and_then(|value| value.integer(range));
    let bytes = size("bytes", MIN_BYTES..=MAX_BYTES).unwrap_or(BYTES);
    let object_bytes = size("object_bytes", MIN_OBJECT_BYTES..=MAX_BYTES);
    if let (Some(largest), Some(value)) = (object_bytes, table.optional("object_bytes"))
        && largest > bytes
    {
        value.spot().error_with_hint(
            format_args!("an object of {largest} bytes is larger than the cache, which has {bytes}"),
            "write a smaller `object_bytes`, or a larger `bytes`",
        );
    }
    let duration = |key, shortest, longest| {
        let range = Duration::from_millis(shortest)..=Duration::from_secs(longest);
        table.optional(key).and_then(|value| value.duration(range))
    };
    let cache = Cache {
        bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        object_bytes: usize::try_from(object_bytes.unwrap_or(OBJECT_BYTES).min(bytes)).unwrap_or(usize::MAX),
        default_ttl: duration("default_ttl", 1000, 31_536_000),
        lock_timeout: duration("lock_timeout", 10, 600).unwrap_or(Duration::from_secs(5)),
    };
    table.finish(upper);
    cache
}
