//! A service manager, as far as `sd_notify` needs one.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wait_until;

/// Where a service says how it is.
pub struct ServiceManager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl ServiceManager {
    /// Listens at a path.
    pub fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { socket, path: path.to_owned(), heard: Vec::new() }
    }

    /// What `NOTIFY_SOCKET` is to be.
    pub fn address(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Everything said so far, a word or assignment each, in order.
    pub fn heard(&mut self) -> &[String] {
        let mut datagram = [0; 4096];
        loop {
            match self.socket.recv(&mut datagram) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
                    self.heard.extend(text.lines().map(str::to_owned));
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("the service manager hears nothing: {error}"),
            }
        }
        &self.heard
    }

    /// How often this was said so far.
    pub fn count(&mut self, word: &str) -> usize {
        self.heard().iter().filter(|heard| *heard == word).count()
    }

    /// Waits until this was said once more than `before`.
    #[track_caller]
    pub fn wait_for(&mut self, word: &str, before: usize) {
        wait_until(&format!("the service manager has heard {word}"), || self.count(word) > before);
    }

    /// Forgets what was said.
    pub fn forget(&mut self) {
        self.heard();
        self.heard.clear();
    }

    /// Where a word stands in what was said; fails when it is not there.
    #[track_caller]
    pub fn position(&mut self, word: &str) -> usize {
        let found = self.heard().iter().position(|heard| heard == word);
        found.unwrap_or_else(|| panic!("{word} is not in {:?}", self.heard))
    }
}
