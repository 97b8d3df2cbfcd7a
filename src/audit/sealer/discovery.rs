//! Which files there are to seal, and what becomes of those that are none.

use std::{io, sync::Arc};

use super::Sealer;
use crate::audit::{
    files::{Disk, DiskFile, JOURNAL, if_there, set_aside},
    handover::{OwnFile, OwnLane},
    journal::{DRAFT, Header, LaneFile, LaneReader, Source, is_unused},
    problem::Problem,
};

impl Sealer {
    /// Removes journal files that a process did not come to finish.
    pub(in crate::audit) fn clear_drafts(&self) -> io::Result<()> {
        for disk in &self.disks {
            for name in disk.list(JOURNAL)?.iter().filter(|name| name.ends_with(DRAFT)) {
                let path = format!("{JOURNAL}/{name}");
                let Some(file) = if_there(disk.open(&path))? else { continue };
                if file.try_lock()? {
                    if_there(disk.remove(&path))?;
                }
            }
        }
        Ok(())
    }

    /// Looks for files that are not known yet.
    pub(super) fn discover(&mut self, own: &OwnLane) -> io::Result<()> {
        for known in &own.files {
            self.take_in(&known.file.disk, &known.file.path, Some(known))?;
        }
        self.look_for_others(own)?;
        // What a process named or began before it let go of its last file counts, and may have come in behind the look.
        while self.look_at_owners(own)? {
            self.look_for_others(own)?;
        }
        Ok(())
    }

    fn look_for_others(&mut self, own: &OwnLane) -> io::Result<()> {
        for disk in self.disks.clone() {
            for name in disk.list(JOURNAL)? {
                if let Some((nonce, _)) = Header::parse_name(&name)
                    && nonce != own.nonce
                {
                    self.take_in(&disk, &format!("{JOURNAL}/{name}"), None)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a process has let go of a file since the last time.
    fn look_at_owners(&mut self, own: &OwnLane) -> io::Result<bool> {
        let mut has_ended = false;
        for (nonce, lane) in &mut self.lanes {
            has_ended |= lane.look_at_owners(*nonce == own.nonce, own)?;
        }
        Ok(has_ended)
    }

    fn take_in(&mut self, disk: &Arc<dyn Disk>, path: &str, own: Option<&OwnFile>) -> io::Result<()> {
        let end = own.map_or(0, |own| own.end);
        let is_known = |source: &&mut Source| *source.path == *path && Arc::ptr_eq(&source.disk, disk);
        if let Some(known) = self.lanes.values_mut().flat_map(|lane| &mut lane.files).find(is_known) {
            known.end = known.end.max(end);
            return Ok(());
        }
        let opened = match own {
            Some(own) => Some(Arc::clone(&own.file.file)),
            None => if_there(disk.open(path))?.map(Arc::from),
        };
        // Its own process has removed it in the meantime.
        let Some(file): Option<Arc<dyn DiskFile>> = opened else { return Ok(()) };
        let reader = match (LaneReader::open(file.as_ref())?, own) {
            (Some(reader), _) => reader,
            (None, Some(own)) => return self.give_up(&own.file),
            (None, None) => match self.look_again(disk.as_ref(), path, file.as_ref())? {
                Some(reader) => reader,
                None => return Ok(()),
            },
        };
        let committed = reader.position();
        let lane = self.lanes.entry(reader.header().nonce).or_default();
        let (disk, path) = (Arc::clone(disk), path.into());
        lane.add(Source { disk, file, path, reader, committed, end, complete: false });
        Ok(())
    }

    /// A file of this process that does not begin any more as it did: nothing can be read from it, and nothing more may
    /// be written there.
    fn give_up(&mut self, own: &LaneFile) -> io::Result<()> {
        if own.disk.identity(&own.path)? == Some(own.identity) {
            self.set_aside(own.disk.as_ref(), &own.path)?;
        }
        self.lost.push(Arc::clone(&own.path));
        Ok(())
    }

    /// The file that this process is writing, if not all that was recorded there can be read. To be asked when all of it was
    /// read that can be: what is spoilt there is told when the file is left, and until then nothing behind it would be sealed.
    pub(super) fn spoilt(&mut self, own: &OwnLane) -> io::Result<Option<Arc<str>>> {
        let Some(lane) = self.lanes.get_mut(&own.nonce) else { return Ok(None) };
        for source in lane.files.iter_mut().filter(|source| own.current.as_ref() == Some(&source.path)) {
            if source.is_spoilt()? {
                return Ok(Some(Arc::clone(&source.path)));
            }
        }
        Ok(None)
    }

    /// What becomes of a file of another process that did not begin as a lane does.
    fn look_again(
        &mut self,
        disk: &dyn Disk,
        path: &str,
        file: &dyn DiskFile,
    ) -> io::Result<Option<LaneReader>> {
        // A living process has made it ahead of time, or is about to begin it.
        if !file.try_lock()? {
            return Ok(None);
        }
        match disk.identity(path)? {
            Some(there) if there == file.state()?.identity => {}
            _ => return Ok(None),
        }
        // It may have been begun, and its process may have ended, since the first look.
        if let Some(reader) = LaneReader::open(file)? {
            return Ok(Some(reader));
        }
        // One that cannot be read to its end must not hold up all others.
        if is_unused(file).unwrap_or(false) {
            if_there(disk.remove(path))?;
        } else {
            self.set_aside(disk, path)?;
        }
        Ok(None)
    }

    fn set_aside(&mut self, disk: &dyn Disk, path: &str) -> io::Result<()> {
        let aside = set_aside(disk, path, "damaged")?;
        self.problems.push(Problem::Journal { path: path.to_owned(), offset: 0, aside });
        Ok(())
    }
}
