//! Who stands back behind whom: work in the background, as `nice` counts, floods, and the edge's own log.

use std::time::Duration;

/// How long work in the background may have to wait for all other threads before it competes with them. New policies of
/// many names are compiled that much later on an edge that is busy on every processor.
pub const ASIDE_AT_MOST: Duration = Duration::from_secs(10);
/// How long a pass of sealing stands aside, waiting or not: records are sealed within a second.
pub const SEALING_ASIDE_AT_MOST: Duration = Duration::from_millis(300);
/// How long compressing does: nobody waits for it, and how many segments are left tells when it is late.
pub const COMPRESSING_ASIDE_AT_MOST: Duration = Duration::from_secs(5);

/// How long background work has the processor at a time while others want it, where the kernel lets threads choose: the
/// least that Linux takes.
pub const SLICE: Duration = Duration::from_micros(100);

/// Rest after a piece of work on records, in hundredths of the processor time that it took: a third of a processor is left
/// for it where others want it too.
pub const REST: u32 = 200;
/// The same while more is left to do: two thirds.
pub const REST_BEHIND: u32 = 50;
/// However long a piece was.
pub const REST_AT_MOST: Duration = Duration::from_millis(2);

/// Merging of names: what it makes is only smaller in memory, and nobody waits for it.
pub const MERGE_NICENESS: i32 = 10;
/// Compiling of a set with long lists that are new: requests come first, and the set into force.
pub const COMPILE_NICENESS: i32 = 5;
/// Octets of lists that are compiled at once, by the keeper itself.
pub const COMPILED_AT_ONCE_BYTES: u64 = 1 << 20;
/// Changes of fewer names are held against what was by the keeper itself.
pub const COMPARED_BY_ONE_NAMES: u64 = 100_000;
/// Files of the journal that are not sealed: with more of them, sealing takes more of a processor. A full file is some
/// eighty thousand records, and beyond 128 of them events are only counted.
pub const LARGE_UNSEALED: usize = 4;
/// With more than these it rests no longer.
pub const HUGE_UNSEALED: usize = 8;
/// Segments that are not compressed: with more of them, compressing takes more of a processor.
pub const LARGE_UNCOMPRESSED: usize = 2;
/// With more than these it rests no longer.
pub const HUGE_UNCOMPRESSED: usize = 3;
/// How long a full segment is left alone that is not what was sealed: only a person can put it right.
pub const CHANGED_SEGMENT_AGAIN: Duration = Duration::from_secs(600);
/// Work on records that stands aside starves once none of it has had a processor for so long.
pub const STARVED: Duration = Duration::from_millis(3);
/// How long floods rest then, so that it has one.
pub const FLOOD_REST: Duration = Duration::from_millis(1);
/// Connections of a flood, for each thread, that are served before whatever else has become ready gets its turn.
pub const FLOOD_TURNS: usize = 1;
/// However many threads there are, since the turns of a round may all be one thread's.
pub const FLOOD_TURNS_AT_MOST: usize = 8;
/// After so many of them, whoever else is there has to be seen again.
pub const FLOOD_TURNS_REMEMBERED: u64 = 4096;
/// Lines of the edge's own log that wait to be written; more of them are lost.
pub const LOG_LINES: usize = 8192;
/// How long the end of the edge waits for its last lines to be written.
pub const LOG_ENDING: Duration = Duration::from_secs(1);
