//! A signal ends a run as it would end: with policies put right, the log asked, and a report. Another one ends it at once.

use std::{fs, io, thread};

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::load::Stop;

/// What a shell adds to the number of the signal that ended a command.
const ENDED_BY_SIGNAL: i32 = 128;

/// Has `stop` told at the first signal, and this process ended at the second.
pub(super) fn heed(stop: &Stop) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let ignored = ignored();
    let listen = |kind: SignalKind| {
        let is_ignored = ignored & (1 << (kind.as_raw_value() - 1)) != 0;
        (!is_ignored).then(|| signal(kind)).transpose()
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    drop(entered);
    let stop = stop.clone();
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let kind = tokio::select! {
                    () = next(&mut interrupt) => SignalKind::interrupt(),
                    () = next(&mut terminate) => SignalKind::terminate(),
                    () = next(&mut hangup) => SignalKind::hangup(),
                };
                if stop.is_told() {
                    std::process::exit(ENDED_BY_SIGNAL + kind.as_raw_value());
                }
                note!("interdict: told to stop; what is under way is waited for, and a second signal ends it at once");
                stop.tell();
            }
        });
    });
    Ok(())
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The signals that this process was started to ignore, as `nohup` has it, a bit each (proc_pid_status(5)).
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
