//! How Linux schedules a thread: its class, and the slice of the processor that it has at a time.
//!
//! Since 6.12 a thread of any niceness may ask for a slice of its own (`sched_runtime` of `sched_attr`, sched(7)). Its share
//! of the processor stays what it was; it has it in smaller pieces. Before that only the kernel's own slice is to be had, of
//! one to three milliseconds, and whoever offers the processor gives up what is left of it.

use std::io;

use libc::sched_attr as Attributes;

use crate::clock::nanoseconds;
use crate::limits;

/// The classes that background work is in (sched(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// As threads are.
    Other,
    /// Gives way to all others.
    Idle,
}

impl Class {
    const fn policy(self) -> u32 {
        match self {
            Self::Other => libc::SCHED_OTHER.unsigned_abs(),
            Self::Idle => libc::SCHED_IDLE.unsigned_abs(),
        }
    }

    /// Moves the calling thread to this class, as nice as it is, with a short slice.
    pub(super) fn enter(self) -> io::Result<()> {
        self.give(Thread::CALLING)
    }

    /// Moves a thread of this process there.
    pub(super) fn give(self, thread: Thread) -> io::Result<()> {
        let now = attributes(thread)?;
        set(
            thread,
            &Attributes {
                sched_policy: self.policy(),
                sched_flags: 0,
                sched_runtime: nanoseconds(limits::SLICE),
                ..now
            },
        )
    }

    /// Whether the calling thread is in this class.
    pub(super) fn is_entered(self) -> bool {
        attributes(Thread::CALLING).is_ok_and(|now| now.sched_policy == self.policy())
    }
}

/// A thread of this process, as the system numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thread(i32);

impl Thread {
    /// Whichever asks.
    const CALLING: Self = Self(0);

    /// The calling one, for others to name it by.
    pub(super) fn current() -> Self {
        Self(rustix::thread::gettid().as_raw_nonzero().get())
    }
}

/// Has the calling thread, and those that it starts, take their share of the processor in small pieces.
pub fn shorten_slice() {
    if let Err(error) = attributes(Thread::CALLING).and_then(|now| {
        set(Thread::CALLING, &Attributes { sched_flags: 0, sched_runtime: nanoseconds(limits::SLICE), ..now })
    }) {
        tracing::debug!(%error, "work in the background has the processor for as long at a time as any");
    }
}

/// What `sched_getattr` and `sched_setattr` know of.
const SIZE: u32 = size_of::<Attributes>() as u32;

#[expect(unsafe_code, reason = "no kept library knows of slices")]
fn attributes(of: Thread) -> io::Result<Attributes> {
    let mut attributes = Attributes {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the pointer is to a whole value of the size that is told, which outlives the call.
    checked(unsafe { libc::syscall(libc::SYS_sched_getattr, of.0, &raw mut attributes, SIZE, 0) })?;
    Ok(attributes)
}

#[expect(unsafe_code, reason = "no kept library knows of slices")]
fn set(of: Thread, attributes: &Attributes) -> io::Result<()> {
    // SAFETY: the pointer is to a whole value that outlives the call, which only reads it.
    checked(unsafe { libc::syscall(libc::SYS_sched_setattr, of.0, std::ptr::from_ref(attributes), 0) })
}

fn checked(outcome: libc::c_long) -> io::Result<()> {
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
