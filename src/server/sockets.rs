//! The sockets of an edge: taken over from the process before it, or bound.

use std::net::SocketAddr;

use super::handover::{Name, Named};
use crate::config::Config;
use crate::listen::{BindError, BoundListener};

/// The sockets of an edge, there before anything is recorded.
pub(super) struct Sockets {
    pub(super) edge: Vec<BoundListener>,
    pub(super) admin: Option<BoundListener>,
}

impl Sockets {
    /// Takes what was inherited for the addresses of the configuration, and binds the others. What nobody asks for is
    /// left.
    pub(super) fn take(config: &Config, inherited: &mut Named) -> Result<Self, BindError> {
        let mut take = |name: Name| match position(inherited, name) {
            Some(index) => BoundListener::inherit(inherited.remove(index).1, name.address),
            None => BoundListener::bind(name.address),
        };
        let mut edge = Vec::new();
        for listen in &config.listen {
            edge.push(take(Name { admin: false, address: listen.address })?);
        }
        let admin = config.admin.as_ref().map(|admin| take(Name { admin: true, address: admin.listen }));
        let admin = admin.transpose()?;
        for socket in admin.iter().chain(&edge) {
            tracing::info!(address = %socket.address(), "listening");
        }
        Ok(Self { edge, admin })
    }

    /// All of them once more, for a process that succeeds this one.
    pub(super) fn duplicates(&self) -> std::io::Result<Named> {
        let edge = self.edge.iter().map(|socket| (false, socket));
        let all = edge.chain(self.admin.iter().map(|socket| (true, socket)));
        all.map(|(admin, socket)| {
            let (address, duplicate) = socket.duplicate()?;
            Ok((Name { admin, address }, duplicate))
        })
        .collect()
    }

    /// What whoever started the edge reads on standard output.
    pub(super) fn banner(&self) -> String {
        let edge = self.edge.iter().map(|socket| format!("listening {}\n", socket.address()));
        let admin = self.admin.iter().map(|socket| format!("admin {}\n", socket.address()));
        edge.chain(admin).collect::<String>() + "ready\n"
    }
}

/// Which inherited socket is meant: the one with the name, or the one with the address when its purpose has changed.
/// Port 0 is another port for each name.
fn position(inherited: &Named, name: Name) -> Option<usize> {
    let same_address = |address: SocketAddr| address == name.address && address.port() != 0;
    let by_name = inherited.iter().position(|(there, _)| *there == name);
    by_name.or_else(|| inherited.iter().position(|(there, _)| same_address(there.address)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn named(admin: bool, address: &str) -> (Name, TcpListener) {
        (Name { admin, address: address.parse().unwrap() }, TcpListener::bind("127.0.0.1:0").unwrap())
    }

    #[test]
    fn a_socket_is_taken_for_what_it_was_or_for_where_it_listens() {
        let inherited =
            vec![named(true, "127.0.0.1:0"), named(false, "127.0.0.1:0"), named(true, "127.0.0.1:9901")];
        let find =
            |admin, address: &str| position(&inherited, Name { admin, address: address.parse().unwrap() });
        assert_eq!(find(false, "127.0.0.1:0"), Some(1));
        assert_eq!(find(true, "127.0.0.1:0"), Some(0));
        assert_eq!(find(false, "127.0.0.1:9901"), Some(2));
        assert_eq!(find(false, "127.0.0.1:9902"), None);
        assert_eq!(find(false, "[::1]:0"), None);
    }
}
