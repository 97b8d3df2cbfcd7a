//! Looks after the certificates of all listeners while the edge runs.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};

use crate::config::Listen;
use crate::limits;
use crate::listen::{
    BoundListener, Certificates, ClientHeader, Front, Listener, Listeners, Terminator, TlsError,
};

/// The directories in use, and the thread that looks whether they have changed. Ends with this value.
#[derive(Debug)]
pub(super) struct CertificateWatch {
    /// With its sender gone the thread ends.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The listeners as they are served, on the addresses that were bound for them, and the certificates they use.
pub(super) fn listeners(
    listen: &[Listen],
    sockets: &[BoundListener],
) -> Result<(Listeners, Vec<Arc<Certificates>>), TlsError> {
    let mut watched = Vec::new();
    let mut served = Vec::new();
    for (listen, socket) in listen.iter().zip(sockets) {
        let tls = match &listen.tls {
            None => None,
            Some(tls) => {
                let certificates = Arc::new(Certificates::load(&tls.certificates, tls.default.as_deref())?);
                watched.push(Arc::clone(&certificates));
                Some(Terminator::new(certificates)?)
            }
        };
        let front = Front {
            proxy_protocol: listen.proxy_protocol,
            client_header: listen.client_header.clone().map(ClientHeader::new),
            trusted: listen.trusted_proxies.iter().copied().collect(),
        };
        let (address, front) = (socket.address(), Arc::new(front));
        served.push(Listener { address, tls, strict_sni: listen.strict_sni, front });
    }
    Ok((Listeners::new(served), watched))
}

impl CertificateWatch {
    /// Starts to look after `certificates`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(certificates: Vec<Arc<Certificates>>) -> io::Result<Self> {
        if certificates.is_empty() {
            return Ok(Self { stop: None, thread: None });
        }
        let (stop, stopped) = mpsc::channel();
        let look = move || {
            while stopped.recv_timeout(limits::CERTIFICATES_LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                certificates.iter().for_each(|certificates| certificates.look());
            }
        };
        let thread = thread::Builder::new().name("certificates".to_owned()).spawn(look)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for CertificateWatch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("looking after the certificates ended in a panic");
        }
    }
}
