//! A disk that knows what would be there after a power cut, and whose `fdatasync` fails when told to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
};

use rustix::io::Errno;

use super::{
    files::{Disk, DiskFile, FileState, Identity, JOURNAL, RealDisk},
    mapping::Mapped,
};

type Meanwhile = Box<dyn FnMut() + Send>;

/// What is on the platter of `journal/`; the other folders are held to their promises by tests of their own.
#[derive(Default)]
pub(super) struct Platter {
    state: Mutex<State>,
    /// What happens in each sync that fails.
    meanwhile: Mutex<Option<Meanwhile>>,
}

#[derive(Default)]
struct State {
    failing: u64,
    content: HashMap<Identity, Vec<u8>>,
    /// Files whose sync has failed: what was to be written there is thrown away, and later calls say nothing of it.
    doubtful: HashSet<Identity>,
    names: BTreeMap<String, Identity>,
}

/// Which names a power cut leaves, beyond those that were synced.
#[derive(Debug, Clone, Copy)]
pub(super) enum Names {
    Synced,
    /// All there were: a file system may write them earlier than it has to.
    All,
}

impl Platter {
    /// The next `count` syncs of files fail, and `meanwhile` happens in each.
    pub(super) fn fail_syncs(&self, count: u64, meanwhile: impl FnMut() + Send + 'static) {
        self.state.lock().unwrap().failing = count;
        *self.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
    }

    pub(super) fn forget_meanwhile(&self) {
        *self.meanwhile.lock().unwrap() = None;
    }

    /// What the power cut leaves of `directory`, in `target`.
    pub(super) fn cut_power(&self, directory: &Path, target: &Path, names: Names) {
        let state = self.state.lock().unwrap();
        copy_all(directory, target);
        let journal = target.join(JOURNAL);
        fs::remove_dir_all(&journal).unwrap();
        RealDisk::open(target, "ams-1").unwrap();
        let names = match names {
            Names::Synced => state.names.clone(),
            Names::All => present(&RealDisk::unlocked(directory, "ams-1")),
        };
        for (name, identity) in names {
            let content = state.content.get(&identity).map_or(&[][..], Vec::as_slice);
            fs::write(journal.join(name), content).unwrap();
        }
    }

    fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        let identity = file.state()?.identity;
        let fails = {
            let mut state = self.state.lock().unwrap();
            let fails = state.failing > 0;
            state.failing = state.failing.saturating_sub(1);
            if fails {
                state.doubtful.insert(identity);
            } else if !state.doubtful.contains(&identity) {
                let mut content = vec![0; usize::try_from(file.state()?.length).unwrap()];
                super::files::read_full_at(file, &mut content, 0)?;
                state.content.insert(identity, content);
            }
            fails
        };
        if !fails {
            return Ok(());
        }
        if let Some(meanwhile) = self.meanwhile.lock().unwrap().as_mut() {
            meanwhile();
        }
        Err(Errno::IO.into())
    }
}

fn present(disk: &RealDisk) -> BTreeMap<String, Identity> {
    let names = disk.list(JOURNAL).unwrap().into_iter();
    names
        .filter_map(|name| Some((name.clone(), disk.identity(&format!("{JOURNAL}/{name}")).ok()??)))
        .collect()
}

/// Copies what two folders deep is there.
fn copy_all(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

pub(super) struct PlatterDisk(pub(super) RealDisk, pub(super) Arc<Platter>);

impl Disk for PlatterDisk {
    fn claim(&self) -> io::Result<()> {
        self.0.claim()
    }
    fn release(&self) {
        self.0.release();
    }
    fn free(&self) -> io::Result<u64> {
        self.0.free()
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.0.make_folder(folder)
    }
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.0.create(path)?;
        let is_journal = path.starts_with(JOURNAL);
        Ok(if is_journal { Box::new(PlatterFile(file, Arc::clone(&self.1))) } else { file })
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.open(path)
    }
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.0.read(path)
    }
    fn identity(&self, path: &str) -> io::Result<Option<Identity>> {
        self.0.identity(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.0.sync_folder(folder)?;
        if folder == JOURNAL {
            self.1.state.lock().unwrap().names = present(&self.0);
        }
        Ok(())
    }
}

struct PlatterFile(Box<dyn DiskFile>, Arc<Platter>);

impl DiskFile for PlatterFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }
    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.0.preallocate(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.sync(self.0.as_ref())
    }
    fn state(&self) -> io::Result<FileState> {
        self.0.state()
    }
    fn map(&self, length: usize) -> io::Result<Box<dyn Mapped>> {
        self.0.map(length)
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }
}
