//! nginx that refuses every handshake but those for one name.

use std::path::Path;

use crate::edge::server::{Nginx, Server};

/// As many workers as the edge has threads; nothing when it is not installed.
pub fn start(certificates: &Path) -> Option<Server> {
    let workers = std::thread::available_parallelism().unwrap().get();
    let certificate = certificates.join("certs").join(super::FREE);
    let http = |addresses: &[std::net::SocketAddr], _: &Path| {
        format!(
            "access_log off; server {{ listen {address} ssl default_server; ssl_reject_handshake on; }}\n\
             server {{ listen {address} ssl; server_name {free};\n\
             ssl_certificate {path}.crt; ssl_certificate_key {path}.key; return 200 ok; }}",
            address = addresses[0],
            free = super::FREE,
            path = certificate.display(),
        )
    };
    Nginx { core: None, workers, listeners: 1, http: &http }.start(tempfile::tempdir().unwrap())
}
