//! Listening sockets, bound before anything else starts.
//!
//! A port that is taken is then an error at the start that says so, and port 0 has its number before the
//! first request. Pingora finds the sockets in its table of inherited ones and binds none itself.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service as PingoraService;
use pingora::services::listening::Service;

use crate::limits;
use crate::pulse::Pulse;

/// A socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`: {cause}")]
pub struct BindError {
    address: SocketAddr,
    cause: io::Error,
}

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct BoundListener {
    socket: TcpListener,
    address: SocketAddr,
    /// The address it was asked for, which names it in a hand-over: port 0 is another one each time.
    configured: SocketAddr,
}

impl BoundListener {
    /// Binds `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// When the system refuses: the port is taken, the address is not this machine's, or needs privileges.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let taken = TcpListener::bind(address).and_then(|socket| Self::take(socket, address));
        taken.map_err(|cause| BindError { address, cause })
    }

    /// Takes a socket that somebody else has bound for `configured`: the process before this one, or systemd.
    ///
    /// # Errors
    /// When it is no listening socket.
    pub fn inherit(socket: TcpListener, configured: SocketAddr) -> Result<Self, BindError> {
        Self::take(socket, configured).map_err(|cause| BindError { address: configured, cause })
    }

    fn take(socket: TcpListener, configured: SocketAddr) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, configured })
    }

    /// The same socket once more, under the address it was asked for: for the process that succeeds this one.
    ///
    /// # Errors
    /// When this process may have no more descriptors.
    pub fn duplicate(&self) -> io::Result<(SocketAddr, TcpListener)> {
        Ok((self.configured, self.socket.try_clone()?))
    }

    /// The address with its real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// An application on sockets that are bound already.
pub struct Listening<A> {
    service: Service<A>,
    /// Beats as long as the threads of this service get to their work.
    pulse: Pulse,
    /// Handed to Pingora when it starts the service.
    sockets: Vec<BoundListener>,
}

impl<A: ServerApp + Send + Sync + 'static> Listening<A> {
    /// Serves `app` on `sockets`.
    #[must_use]
    pub fn new(name: &str, app: A, sockets: Vec<BoundListener>) -> Self {
        let mut service = Service::new(name.to_owned(), app);
        for socket in &sockets {
            // What reads has a buffer of its own, as large as it needs: Pingora's would be 64 KiB for each connection,
            // written full of zeros when it is made.
            let buffers = L4BufferSettings::default().read(0);
            service.add_listener(ListenerConfig::tcp(socket.address.to_string()).l4_buffer(buffers));
        }
        Self { service, pulse: Pulse::default(), sockets }
    }

    /// Beats as long as the threads that serve get to their work, from when they begin.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Serves with so many threads, instead of as many as the server has.
    pub fn use_threads(&mut self, threads: usize) {
        self.service.threads = Some(threads);
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> PingoraService for Listening<A> {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        if let Some(fds) = &fds {
            for socket in self.sockets.drain(..) {
                // Pingora owns the descriptor from here on.
                fds.lock().add(socket.address.to_string(), socket.socket.into_raw_fd());
            }
        } else {
            tracing::error!("the server keeps no table of sockets; they are bound anew");
            self.sockets.clear();
        }
        let pulse = self.pulse.clone();
        let beating = tokio::spawn(async move {
            loop {
                pulse.beat();
                tokio::time::sleep(limits::PULSE_EVERY).await;
            }
        });
        PingoraService::start_service(&mut self.service, fds, shutdown, listeners_per_fd).await;
        beating.abort();
    }

    fn name(&self) -> &str {
        PingoraService::name(&self.service)
    }

    fn threads(&self) -> Option<usize> {
        PingoraService::threads(&self.service)
    }
}
