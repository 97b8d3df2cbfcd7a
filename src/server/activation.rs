//! Sockets that the service manager has bound before the edge was started, as `sd_listen_fds(3)` describes: they are
//! taken for the addresses of the configuration that they listen on. Such a socket outlives the edge, so who connects
//! while it restarts waits, and it may listen on a port that the edge has no right to.

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::handover::{Name, Named};
use crate::limits;

/// What the service manager hands over cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// `LISTEN_FDS` is no number, or a very large one.
    #[error(
        "`LISTEN_FDS={0}` is not a number of sockets up to {max}: start the edge by a socket unit, or unset it",
        max = limits::ACTIVATED_SOCKETS
    )]
    Count(String),
    /// A descriptor that is no TCP socket in the state of listening.
    #[error("socket `{name}` of the service manager does not listen for TCP connections: {cause}")]
    Unusable {
        /// As `LISTEN_FDNAMES` has it, or its number.
        name: String,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// A socket on an address that is not in the configuration. The service manager would keep it open, and whoever
    /// connects there would wait for ever.
    #[error(
        "the service manager hands over a socket on `{0}`, and neither `[[listen]]` nor `[admin]` has this address: \
         name it there, or take it out of the socket unit"
    )]
    Unasked(SocketAddr),
}

/// The sockets that are meant for this process, under the addresses they listen on.
///
/// # Errors
/// When one of them is not what it should be.
pub(super) fn sockets() -> Result<Named, ActivationError> {
    let Some(count) = announced()? else { return Ok(Named::new()) };
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(ToOwned::to_owned);
    let mut descriptors = ListenFd::from_env();
    (0..count.min(descriptors.len()))
        .map(|index| {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or_else(|| index.to_string());
            take(&mut descriptors, index).map_err(|cause| ActivationError::Unusable { name, cause })
        })
        .collect()
}

/// How many sockets there are, when they are for this process: variables of a parent's that were passed on are not.
fn announced() -> Result<Option<usize>, ActivationError> {
    let is_ours = env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    let Some(count) = env::var_os("LISTEN_FDS").filter(|_| is_ours) else { return Ok(None) };
    let count = count.to_string_lossy();
    let number = count.parse().ok().filter(|number| *number <= limits::ACTIVATED_SOCKETS);
    number.map(Some).ok_or_else(|| ActivationError::Count(count.into_owned()))
}

fn take(descriptors: &mut ListenFd, index: usize) -> io::Result<(Name, TcpListener)> {
    let gone = || io::Error::other("there is no such descriptor");
    let socket = descriptors.take_tcp_listener(index)?.ok_or_else(gone)?;
    if !socket_acceptconn(&socket)? {
        return Err(io::Error::other("it is connected, or only bound"));
    }
    Ok((Name { admin: false, address: socket.local_addr()? }, socket))
}

/// Fails when a socket was handed over that nobody has taken.
///
/// # Errors
/// With the address of the first of them.
pub(super) fn all_are_taken(left: &Named) -> Result<(), ActivationError> {
    left.first().map_or(Ok(()), |(name, _)| Err(ActivationError::Unasked(name.address)))
}
