//! A file as memory: with `background`, the one place with `unsafe` code.
//!
//! Why: a record may not cost a system call (a `pwrite` of it takes four times as long as all the rest of
//! recording it; see `benches/audit`), and only a shared mapping of a file survives `kill -9` without one. What is
//! unsafe about it is kept here: the mapping itself, and `SIGBUS`.
//!
//! The kernel answers a store into a mapped page with `SIGBUS` when the page has no file behind it any more: somebody
//! cut the file, or the disk was full where space could not be reserved. Unhandled, that ends the process. The handler
//! puts a page of plain memory there, so that the store goes through, and marks the mapping; [`Mapped::write`] looks at
//! the mark after each store and reports an error like any failed write.

#![expect(unsafe_code, reason = "measured need, see above")]

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use memmap2::{Advice, MmapMut, MmapOptions};

use crate::background::rest;

/// Memory behind which there is a file.
pub(super) trait Mapped: Send {
    /// Copies `bytes` to `offset`. When this returns, a process that is killed has lost nothing of it.
    fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()>;
}

/// A shared, writable mapping of a file's start.
#[derive(Debug)]
pub(super) struct Mapping {
    memory: MmapMut,
    slot: &'static Slot,
}

/// Where a mapping is, for the signal handler, which may touch nothing but atomics.
#[derive(Debug)]
struct Slot {
    taken: AtomicBool,
    /// 0 while there is no mapping.
    start: AtomicUsize,
    length: AtomicUsize,
    faulted: AtomicBool,
}

impl Slot {
    const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            length: AtomicUsize::new(0),
            faulted: AtomicBool::new(false),
        }
    }

    fn holds(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::Acquire);
        start != 0 && address.wrapping_sub(start) < self.length.load(Ordering::Acquire)
    }
}

/// A system call is not interrupted for whoever waits for the processor: these take some thirty microseconds.
const POPULATED_AT_ONCE: usize = 64 * 1024;
static ZEROS: [u8; POPULATED_AT_ONCE] = [0; POPULATED_AT_ONCE];
/// Mappings there may be at a time: two for each log of a process, some that wait to be given back, and tests open many.
static SLOTS: [Slot; 256] = [const { Slot::new() }; 256];
static PREVIOUS: OnceLock<Result<libc::sigaction, i32>> = OnceLock::new();
static PAGE: AtomicUsize = AtomicUsize::new(4096);

impl Mapping {
    /// Maps the first `length` bytes of a new file; it has to be that long.
    pub(super) fn new(file: &File, length: usize) -> io::Result<Self> {
        guard()?;
        let slot = SLOTS.iter().find(|slot| !slot.taken.swap(true, Ordering::AcqRel));
        let slot = slot.ok_or_else(|| io::Error::other("too many journals are open"))?;
        // SAFETY: the memory is only ever written, through `&mut self`, and never read as Rust data, so that no
        // reference can observe what another process does to the file; a file that is cut under it is the handler's.
        let memory = match unsafe { MmapOptions::new().len(length).map_mut(file) } {
            Ok(memory) => memory,
            Err(error) => {
                slot.taken.store(false, Ordering::Release);
                return Err(error);
            }
        };
        slot.faulted.store(false, Ordering::Release);
        slot.length.store(length, Ordering::Release);
        slot.start.store(memory.as_ptr().addr(), Ordering::Release);
        let mapping = Self { memory, slot };
        mapping.populate(file)?;
        Ok(mapping)
    }

    /// Pages that are there already cost no fault on the request path. Zeros that are written bring them in for half of
    /// what faults cost, with megabytes read ahead for the first of them. Kernels before 5.14 cannot map them all at
    /// once; then each costs a small fault.
    fn populate(&self, file: &File) -> io::Result<()> {
        let length = self.memory.len();
        for at in (0..length).step_by(POPULATED_AT_ONCE) {
            let piece = POPULATED_AT_ONCE.min(length - at);
            file.write_all_at(ZEROS.get(..piece).unwrap_or_default(), at as u64)?;
            self.memory.advise_range(Advice::PopulateWrite, at, piece).ok();
            rest();
        }
        Ok(())
    }
}

impl Mapped for Mapping {
    fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len());
        let target = end.and_then(|end| self.memory.get_mut(offset..end));
        target.ok_or(io::ErrorKind::StorageFull)?.copy_from_slice(bytes);
        // The handler runs on this thread, inside the copy: a compiler must not look at the mark before it.
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        if self.slot.faulted.load(Ordering::Relaxed) {
            return Err(io::Error::other("the journal was cut under us, or its disk is full"));
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.slot.start.store(0, Ordering::Release);
        self.slot.taken.store(false, Ordering::Release);
    }
}

/// Installs the handler, once.
fn guard() -> io::Result<()> {
    let installed = PREVIOUS.get_or_init(|| {
        // SAFETY: both are plain C structures, and the handler keeps to what a handler may do.
        unsafe {
            PAGE.store(usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096), Ordering::Release);
            let mut action: libc::sigaction = std::mem::zeroed();
            let mut previous: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            match libc::sigaction(libc::SIGBUS, &raw const action, &raw mut previous) {
                0 => Ok(previous),
                _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
            }
        }
    });
    match installed {
        Ok(_) => Ok(()),
        Err(code) => Err(io::Error::from_raw_os_error(*code)),
    }
}

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO.
    let address = unsafe { (*info).si_addr() }.addr();
    if let Some(slot) = SLOTS.iter().find(|slot| slot.holds(address)) {
        slot.faulted.store(true, Ordering::Release);
        let page = PAGE.load(Ordering::Acquire);
        // SAFETY: the page lies inside a live mapping of ours that is only written to; `mmap` is a bare system call.
        let replaced = unsafe {
            libc::mmap(
                std::ptr::without_provenance_mut(address & !(page - 1)),
                page,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if replaced != libc::MAP_FAILED {
            return;
        }
    }
    pass_on(signal, info, context);
}

/// Somebody else's fault goes to whoever had the signal before us.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(Ok(previous)) = PREVIOUS.get() else { return };
    match previous.sa_sigaction {
        // SAFETY: the default action is put back, and the faulting instruction runs again: the process ends as it
        // would have without us.
        libc::SIG_DFL | libc::SIG_IGN => unsafe {
            libc::signal(signal, libc::SIG_DFL);
        },
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: a handler installed with SA_SIGINFO has this signature.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: a handler installed without SA_SIGINFO has this signature.
            let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn what_is_written_is_in_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let mut mapping = Mapping::new(&file, 8192).unwrap();
        mapping.write(4090, b"over a page").unwrap();
        let mut read = [0; 11];
        file.read_exact_at(&mut read, 4090).unwrap();
        assert_eq!(&read, b"over a page");
        assert_eq!(mapping.write(8190, b"too long").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_file_cut_under_it_is_a_failed_write_and_not_the_end() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let mut mapping = Mapping::new(&file, 8192).unwrap();
        let mut other = Mapping::new(&file, 8192).unwrap();
        mapping.write(0, b"sound").unwrap();
        file.set_len(0).unwrap();
        mapping.write(5000, b"gone").unwrap_err();
        mapping.write(0, b"gone as well").unwrap_err();
        file.set_len(8192).unwrap();
        mapping.write(0, b"never again").unwrap_err();
        other.write(0, b"sound").unwrap();
    }
}
