//! The control socket: how the commands talk to the running edge.
//!
//! One line in, one JSON line out. `control.sock` in the state directory, mode 0600.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::change::{self, KeeperLine};
use super::early::Work;
use super::reloading::Reloading;
use super::retention::Archivist;
use super::upgrade::Upgrader;
use crate::limits;
use crate::listen::{Cache, Reload, Removed};
use crate::policy::Pattern;
use crate::reload::{ApprovalRequest, request_approval};
use crate::status::Status;

/// The control socket cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("control socket `{path}`: {}", if self.is_silence() { "no answer in time".to_owned() } else { cause.to_string() })]
pub struct ControlError {
    pub(super) path: PathBuf,
    pub(super) cause: io::Error,
}

impl ControlError {
    /// Whether there is no edge to be asked, rather than one that does not answer.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        matches!(self.cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
    }

    /// Whether an edge is there and does not answer in time.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self.cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
    }
}

/// The socket of a running edge, served by a thread of its own.
pub(super) struct Control {
    path: PathBuf,
    /// Where the socket is made before it takes its place.
    beside: PathBuf,
    /// Device and inode of the socket: by the time this edge stops, another one may be in its place.
    identity: (u64, u64),
    /// Told once signals are to be answered.
    heeds: Arc<Notify>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What the socket answers from.
pub(super) struct Desk {
    pub(super) status: Arc<Status>,
    pub(super) keeper: KeeperLine,
    pub(super) approvals: mpsc::Sender<ApprovalRequest>,
    pub(super) archivist: Arc<Archivist>,
    pub(super) upgrader: Arc<Upgrader>,
    pub(super) reloading: Arc<Reloading>,
    pub(super) cache: Option<&'static Cache>,
}

impl Control {
    /// Makes the socket beside its place, and starts to answer.
    pub(super) fn start(
        state: &Path,
        desk: Desk,
        (runtime, signals): (Runtime, Work),
    ) -> Result<Self, ControlError> {
        let path = state.join("control.sock");
        // The shorter name: the path of a socket has 107 octets at most.
        let beside = state.join("control.new");
        let failed = |cause| ControlError { path: path.clone(), cause };
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(&beside).map_err(failed)?;
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let identity = identity(&beside).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let heeds = Arc::new(Notify::new());
        let heeded = Arc::clone(&heeds);
        let desk = Arc::new(desk);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listener, Arc::clone(&desk)) => {}
                        () = heed(signals, &heeded, Arc::clone(&desk)) => {}
                        _ = stopped => {}
                    }
                });
                // An upgrade that is under way ends with this process; nobody waits for it.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self { path, beside, identity, heeds, stop, thread })
    }

    /// Answers signals from now on, and those that have come since the start.
    pub(super) fn heed_signals(&self) {
        self.heeds.notify_one();
    }

    /// Puts the socket in its place. One of an edge that was killed, or that this one succeeds, is replaced: the lock
    /// on the state directory says that no other edge uses it.
    pub(super) fn publish(&self) -> Result<(), ControlError> {
        std::fs::rename(&self.beside, &self.path)
            .map_err(|cause| ControlError { path: self.path.clone(), cause })
    }

    pub(super) fn stop(self) {
        // The thread may have ended already; either way it is gone after this.
        self.stop.send(()).ok();
        if self.thread.join().is_err() {
            tracing::error!("the control socket ended in a panic");
        }
        for path in [&self.path, &self.beside] {
            if identity(path).is_ok_and(|there| there == self.identity) {
                std::fs::remove_file(path).ok();
            }
        }
    }
}

/// Device and inode of what is at a path.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

async fn heed(mut signals: Work, from: &Notify, desk: Arc<Desk>) {
    from.notified().await;
    loop {
        tokio::select! {
            Some(()) = signals.hangup.recv() => drop(desk.reloading.reload().await),
            // What comes of it is in the log.
            Some(()) = signals.upgrade.recv() => drop(upgrade(&desk).await),
            else => return,
        }
    }
}

async fn upgrade(desk: &Desk) -> Vec<u8> {
    let upgrader = Arc::clone(&desk.upgrader);
    match tokio::task::spawn_blocking(move || upgrader.upgrade()).await {
        Ok(answer) => line_of(&answer),
        Err(error) => line_of(&json!({ "error": error.to_string() })),
    }
}

async fn serve(listener: std::os::unix::net::UnixListener, desk: Arc<Desk>) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the control socket cannot be served"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &desk).await {
                        tracing::debug!(%error, "a caller of the control socket went away");
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "the control socket cannot accept");
                tokio::time::sleep(limits::CONTROL_RETRY).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
    let user = uid.map_or_else(|| "unknown".to_owned(), |uid| format!("uid {uid}"));
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(limits::CONTROL_LINE_BYTES));
    timeout(limits::CONTROL_PATIENCE, reader.read_line(&mut line)).await??;
    let answer = match line.trim() {
        "status" => desk.status.to_json(),
        "reload" => line_of(&desk.reloading.reload().await),
        "upgrade" => upgrade(desk).await,
        line if matches!(line.split(' ').next(), Some("hold" | "prune")) => retain(line, desk).await,
        line if change::is_change(line) => {
            change::converse(line, uid, &mut reader, &mut writer, desk).await?
        }
        "rehearse" => change::rehearse(&mut reader, desk).await?,
        "held" => line_of(&json!({ "held": desk.status.held() })),
        line if line.starts_with("approve ") => approve(line, user, desk).await,
        line if line.starts_with("cache purge ") => purge(line, desk).await,
        other => line_of(&json!({ "error": format!("unknown command `{}`", other.escape_debug()) })),
    };
    writer.write_all(&answer).await?;
    writer.shutdown().await
}

/// `approve DIGEST`, and behind it a signed statement in base64 where keys are asked for.
async fn approve(line: &str, user: String, desk: &Desk) -> Vec<u8> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let digest = words.next().unwrap_or_default().to_owned();
    let note = words.next().and_then(|note| BASE64.decode(note).ok());
    let note = note.and_then(|note| String::from_utf8(note).ok());
    match request_approval(&desk.approvals, digest, note, user).await {
        Some(answer) => line_of(&answer),
        None => line_of(&json!({ "error": "the edge is stopping" })),
    }
}

/// Holds and pruning wait for the disk: beside this thread, so that `status` is answered meanwhile.
async fn retain(line: &str, desk: &Desk) -> Vec<u8> {
    let (line, archivist) = (line.to_owned(), Arc::clone(&desk.archivist));
    match tokio::task::spawn_blocking(move || archivist.answer(&line)).await {
        Ok(answer) => line_of(&answer),
        Err(error) => line_of(&json!({ "error": error.to_string() })),
    }
}

/// `cache purge HOST`: a large cache is walked beside this thread.
async fn purge(line: &str, desk: &Desk) -> Vec<u8> {
    let Some(cache) = desk.cache else { return line_of(&json!({ "error": "this edge has no cache" })) };
    let host = line.trim_start_matches("cache purge ").trim();
    let pattern = match Pattern::parse(host) {
        Ok(pattern) => pattern,
        Err(error) => return line_of(&json!({ "error": format!("`{}`: {error}", host.escape_debug()) })),
    };
    match tokio::task::spawn_blocking(move || cache.purge(&pattern)).await {
        Ok(Removed { objects, bytes }) => line_of(&json!({ "objects": objects, "bytes": bytes })),
        Err(error) => line_of(&json!({ "error": error.to_string() })),
    }
}

pub(super) fn line_of(value: &impl serde::Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Asks the edge that uses the state directory `state`, and returns its one-line answer.
///
/// # Errors
/// When no edge answers there.
pub fn ask(state: &Path, command: &str) -> Result<String, ControlError> {
    ask_within(state, command, None)
}

/// The same, for whoever cannot wait for an edge that hangs.
///
/// # Errors
/// When no edge answers there, or a word of the answer takes longer than `patience`.
pub fn ask_within(state: &Path, command: &str, patience: Option<Duration>) -> Result<String, ControlError> {
    use std::io::{Read, Write};
    let path = state.join("control.sock");
    let talk = || {
        let mut stream = std::os::unix::net::UnixStream::connect(&path)?;
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(patience)?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    talk().map_err(|cause| ControlError { path: path.clone(), cause })
}
