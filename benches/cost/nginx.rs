//! nginx that refuses every handshake but those for one name.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// The running master; it ends its workers.
pub struct Nginx {
    pub address: SocketAddr,
    process: Child,
    _home: TempDir,
}

impl Nginx {
    /// Starts as many workers as the edge has threads; nothing when it is not installed.
    pub fn start(certificates: &Path) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let workers = std::thread::available_parallelism().unwrap();
        let certificate = certificates.join("certs").join(super::FREE);
        let text = format!(
            "daemon off; master_process on; worker_processes {workers}; pid {home}/pid; error_log /dev/null;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off;\n\
             server {{ listen {address} ssl default_server; ssl_reject_handshake on; }}\n\
             server {{ listen {address} ssl; server_name {free};\n\
             ssl_certificate {path}.crt; ssl_certificate_key {path}.key; return 200 ok; }} }}\n",
            home = home.path().display(),
            free = super::FREE,
            path = certificate.display(),
        );
        let config = home.path().join("nginx.conf");
        // The key is read now, and may be gone with its directory later.
        fs::write(&config, text).unwrap();
        let process = Command::new("nginx")
            .arg("-c")
            .arg(&config)
            .arg("-p")
            .arg(home.path())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let nginx = Self { address, process, _home: home };
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
                return Some(nginx);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    pub fn workers(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.process.id());
        fs::read_to_string(path).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        Command::new("kill").arg(self.process.id().to_string()).status().ok();
        self.process.wait().ok();
    }
}
