//! What is in the journal and not sealed yet, for tools that read a log while it is written.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    path::Path,
    sync::Arc,
};

use jiff::Timestamp;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{
    files::{DiskFile, JOURNAL, RealDisk, if_there, names_in},
    id::Nonce,
    journal::{Header, LaneReader, LaneState, Source, decode},
    read::Record,
    record,
    repeated::Repeated,
};

/// Looks at a folder that changes meanwhile.
const LOOKS: u32 = 8;

/// The lanes of a directory as they were when it was opened.
#[derive(Default)]
pub(super) struct Unsealed {
    lanes: BTreeMap<Nonce, LaneState>,
    repeated: Repeated,
}

impl Unsealed {
    /// Opens every file of the journal; one that goes away afterwards can still be read.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        // One that has gone since its name was read was sealed, or its records stand in others that came meanwhile.
        for _ in 0..LOOKS {
            if let Some(unsealed) = Self::open_all(directory, false)? {
                return Ok(unsealed);
            }
        }
        // A log that is sealed as fast as it is read.
        Ok(Self::open_all(directory, true)?.unwrap_or_default())
    }

    /// None where a file has gone, unless that does not matter.
    fn open_all(directory: &Path, may_be_gone: bool) -> io::Result<Option<Self>> {
        let mut lanes: BTreeMap<Nonce, LaneState> = BTreeMap::new();
        for name in names_in(&directory.join(JOURNAL))? {
            if Header::parse_name(&name).is_none() {
                continue;
            }
            let Some(file) = if_there(File::open(directory.join(JOURNAL).join(&name)))? else {
                if may_be_gone {
                    continue;
                }
                return Ok(None);
            };
            // A file that begins with anything else is not begun, or for the sealer to report.
            let Some(reader) = LaneReader::open(&file)? else { continue };
            let lane = lanes.entry(reader.header().nonce).or_default();
            let complete = is_abandoned(&file)?;
            let file: Arc<dyn DiskFile> = Arc::new(file);
            let disk = Arc::new(RealDisk::unlocked(directory, ""));
            let committed = reader.position();
            lane.add(Source { disk, file, path: name.into(), reader, committed, end: 0, complete });
        }
        Ok(Some(Self { lanes, repeated: Repeated::default() }))
    }

    /// The next record that was not seen, by its time.
    pub(super) fn next(&mut self, seq: u64, seen: &mut HashMap<Nonce, u64>) -> io::Result<Option<Record>> {
        let mut earliest: Option<(Timestamp, Nonce)> = None;
        for (nonce, lane) in &mut self.lanes {
            lane.handed = lane.handed.max(seen.get(nonce).copied().unwrap_or(0));
            if let Some(time) = lane.peek(u64::MAX)?
                && earliest.is_none_or(|(best, _)| time < best)
            {
                earliest = Some((time, *nonce));
            }
        }
        let Some((_, nonce)) = earliest else { return self.next_kept_gap(seq, seen) };
        let Some(lane) = self.lanes.get_mut(&nonce) else { return Ok(None) };
        let Some(source) = lane.files.get_mut(lane.current) else { return Ok(None) };
        let Some(entry) = source.reader.entry() else { return Ok(None) };
        let mut line = Vec::new();
        record::line(&mut line, &source.reader.header().edge, seq, &entry, &mut self.repeated);
        line.pop();
        let record = Record { seq, id: entry.id, time: entry.time, place: None, line };
        seen.insert(entry.id.nonce(), entry.id.ordinal());
        source.reader.advance();
        Ok(Some(record))
    }

    /// Gap records that processes kept and did not come to write: they are the last of their lane.
    fn next_kept_gap(&mut self, seq: u64, seen: &mut HashMap<Nonce, u64>) -> io::Result<Option<Record>> {
        for (nonce, lane) in &self.lanes {
            let last = seen.get(nonce).copied().unwrap_or(0);
            let Some((source, slot)) = lane.kept_gap(last)? else { continue };
            let Some(entry) = decode(&slot) else { continue };
            let mut line = Vec::new();
            record::line(&mut line, &source.reader.header().edge, seq, &entry, &mut self.repeated);
            line.pop();
            seen.insert(*nonce, entry.id.ordinal());
            return Ok(Some(Record { seq, id: entry.id, time: entry.time, place: None, line }));
        }
        Ok(None)
    }
}

/// Whether no process has the file any more.
fn is_abandoned(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            flock(file, FlockOperation::Unlock)?;
            Ok(true)
        }
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
