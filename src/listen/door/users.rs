//! On whose behalf a connection to an origin is open, and what the rules say of that.

use std::net::{IpAddr, Ipv4Addr};

use smallvec::SmallVec;

use super::super::enforce;
use crate::gate::Gate;
use crate::identify::Identity;
use crate::limits;

/// On whose behalf a connection is open.
#[derive(Debug)]
pub(super) enum Users {
    /// These clients have requests on it, or had the last one.
    Clients(SmallVec<[IpAddr; 1]>),
    /// No client, or too many to tell.
    Anybody,
}

impl Users {
    pub(super) fn add(&mut self, client: IpAddr, alone: bool) {
        match self {
            Self::Clients(clients) if alone => {
                clients.clear();
                clients.push(client);
            }
            Self::Clients(clients) if clients.contains(&client) => {}
            Self::Clients(clients) if clients.len() < limits::CONNECTION_USERS => clients.push(client),
            Self::Clients(_) => *self = Self::Anybody,
            Self::Anybody => {}
        }
    }

    /// Whether a connection ends. One that several share at a time is left to the others as long as it is open to one
    /// of them: whoever is kept out has no request on it any more.
    pub(super) fn are_kept_from(&self, address: IpAddr, gate: &Gate, shared: bool) -> bool {
        match self {
            // An address that no territory and no exemption names.
            Self::Anybody if shared => gate.closes(address, Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
            Self::Clients(clients) if shared => {
                clients.iter().all(|client| gate.closes(address, Some(*client)))
            }
            Self::Anybody => gate.closes(address, None),
            Self::Clients(clients) => clients.iter().any(|client| gate.closes(address, Some(*client))),
        }
    }

    /// Whether a host is blocked to all of them; to anybody when no territory and no exemption is asked for.
    pub(super) fn are_blocked(&self, identity: &Identity, gate: &Gate) -> bool {
        match self {
            Self::Anybody => enforce::is_blocked(gate, identity, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            Self::Clients(clients) => {
                clients.iter().all(|client| enforce::is_blocked(gate, identity, *client))
            }
        }
    }
}
