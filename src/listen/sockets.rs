//! Listening sockets, bound before anything else starts.
//!
//! A port that is taken is then an error at the start that says so, and port 0 has its number before the
//! first request. Pingora finds the sockets in its table of inherited ones and binds none itself.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service as PingoraService;
use pingora::services::listening::Service;

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
}

impl BoundListener {
    /// Binds `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// When the system refuses: the port is taken, the address is not this machine's, or needs privileges.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bind = || {
            let socket = TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bind().map_err(|cause| BindError { address, cause })
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
    /// Handed to Pingora when it starts the service.
    sockets: Vec<BoundListener>,
}

impl<A: ServerApp + Send + Sync + 'static> Listening<A> {
    /// Serves `app` on `sockets`.
    #[must_use]
    pub fn new(name: &str, app: A, sockets: Vec<BoundListener>) -> Self {
        let mut service = Service::new(name.to_owned(), app);
        for socket in &sockets {
            service.add_tcp(&socket.address.to_string());
        }
        Self { service, sockets }
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
        PingoraService::start_service(&mut self.service, fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        PingoraService::name(&self.service)
    }

    fn threads(&self) -> Option<usize> {
        PingoraService::threads(&self.service)
    }
}
