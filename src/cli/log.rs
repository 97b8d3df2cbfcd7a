//! The edge's own log: structured lines on standard error, which enforcement never waits for.
//!
//! Whoever reads them may stop reading, go away, or keep them on a disk that is full. A line is therefore written by a
//! thread that does nothing else. When that one cannot keep up, lines are lost and counted; nothing else is.

use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::LogFormat;
use crate::limits;

/// What the writing thread is told.
enum Word {
    Line(Vec<u8>),
    /// To say when all before it is written.
    Asked(SyncSender<()>),
}

/// Where lines go, from any thread.
#[derive(Debug, Clone)]
struct Log {
    words: SyncSender<Word>,
    lost: Arc<AtomicU64>,
}

/// How the log is ended.
pub(super) struct Ending(Log);

/// Starts it. Pingora's own lines are shown from warnings upwards.
pub(super) fn start(format: LogFormat) -> Ending {
    let quiet_by_default = "info,pingora_core=warn,pingora_proxy=warn,pingora_pool=warn,pingora_cache=error";
    let filter =
        EnvFilter::try_from_env("INTERDICT_LOG").unwrap_or_else(|_| EnvFilter::new(quiet_by_default));
    let log = Log::start(io::stderr());
    // An event that cannot be written is not worth a panic, which is what saying so on standard error would be.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(log.clone())
        .with_ansi(false);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    // What a panic says by itself, it says on standard error, and waits until that is taken.
    panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread has ended in a panic")));
    Ending(log)
}

impl Log {
    fn start(out: impl Write + Send + 'static) -> Self {
        let (words, said) = sync_channel(limits::LOG_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        // Without the thread nothing takes the lines, and they are lost.
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(out, &said, &counted)).ok();
        Self { words, lost }
    }
}

impl Ending {
    /// Waits a while until all lines are written; false when nobody takes them: then nothing else can be said on standard
    /// error either, whose lock the writing thread may hold for ever.
    pub(super) fn end(self) -> bool {
        let (written, all) = sync_channel(1);
        let is_asked = self.0.words.try_send(Word::Asked(written)).is_ok();
        is_asked && all.recv_timeout(limits::LOG_ENDING).is_ok()
    }
}

fn write_all(mut out: impl Write, said: &Receiver<Word>, lost: &AtomicU64) {
    while let Ok(word) = said.recv() {
        match word {
            // There is nowhere else to say that it cannot be written.
            Word::Line(line) => out.write_all(&line).unwrap_or_default(),
            Word::Asked(written) => written.send(()).unwrap_or_default(),
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            tracing::warn!(lines = missing, "lines of this log are lost: they were not taken in time");
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Log {
    /// One event, which the subscriber writes as a whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.words.try_send(Word::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
