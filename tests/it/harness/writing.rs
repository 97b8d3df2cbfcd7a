//! Files that are being written for a long time.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::wait_until;

/// Has `path` written without a pause, as by a download that goes on and on, while `work` is done; then `end` follows.
#[track_caller]
pub fn while_written(path: &Path, end: &str, work: impl FnOnce()) {
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut file = fs::File::create(path).unwrap();
            // Half a list is a valid, shorter list.
            if path.extension().is_some_and(|extension| extension == "txt") {
                writeln!(file, "half.example").unwrap();
            }
            while !done.load(Ordering::Relaxed) {
                writeln!(file, "# still coming").unwrap();
                begun.store(true, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(5));
            }
            file.write_all(end.as_bytes()).unwrap();
        });
        wait_until("it has begun", || begun.load(Ordering::Relaxed));
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let goes_on = !writing.is_finished();
        done.store(true, Ordering::Relaxed);
        writing.thread().unpark();
        if let Err(panic) = worked {
            std::panic::resume_unwind(panic);
        }
        assert!(goes_on);
    });
}
