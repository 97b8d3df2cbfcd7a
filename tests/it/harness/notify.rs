//! A service manager, as far as `sd_notify` needs one.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wait_until;

/// Where a service says how it is.
pub struct ServiceManager {
    path: PathBuf,
    incoming: Arc<Mutex<Vec<String>>>,
    heard: Vec<String>,
}

impl ServiceManager {
    /// Listens at a path, all the time: a socket holds few messages.
    pub fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        let incoming = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::downgrade(&incoming);
        thread::spawn(move || {
            let mut datagram = [0; 4096];
            while let (Ok(length), Some(incoming)) = (socket.recv(&mut datagram), heard.upgrade()) {
                let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
                incoming.lock().unwrap().extend(text.lines().map(str::to_owned));
            }
        });
        Self { path: path.to_owned(), incoming, heard: Vec::new() }
    }

    /// What `NOTIFY_SOCKET` is to be.
    pub fn address(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Everything said so far, a word or assignment each, in order.
    pub fn heard(&mut self) -> &[String] {
        self.heard.append(&mut self.incoming.lock().unwrap());
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
