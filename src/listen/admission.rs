//! How many connections there may be: in all, and of one client network.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::hash_map::Entry;
use hashbrown::{DefaultHashBuilder, HashMap};
use tokio::time::timeout;

use super::connection::EdgeApp;
use super::facts::Connection;
use super::preamble;
use super::stream::{EdgeStream, Pace};
use crate::limits;
use crate::network::client_network;

/// The doors of an edge.
#[derive(Debug)]
pub(super) struct Admission {
    most: usize,
    most_per_network: usize,
    count: AtomicUsize,
    hasher: DefaultHashBuilder,
    /// Networks with at least one connection.
    shards: Box<[Mutex<HashMap<IpAddr, usize>>]>,
}

/// A place that a connection has taken; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    network: Option<IpAddr>,
}

impl Admission {
    pub(super) fn new(most: usize, most_per_network: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_per_network,
            count: AtomicUsize::new(0),
            hasher: DefaultHashBuilder::default(),
            shards: (0..limits::ADMISSION_SHARDS).map(|_| Mutex::default()).collect(),
        })
    }

    /// Lets one connection in, of whoever it may be; nothing when there are too many.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Admitted> {
        let admitted = Admitted { admission: Arc::clone(self), network: None };
        (self.count.fetch_add(1, Ordering::Relaxed) < self.most).then_some(admitted)
    }

    fn with_shard<T>(
        &self,
        network: IpAddr,
        act: impl FnOnce(&mut HashMap<IpAddr, usize>) -> T,
    ) -> Option<T> {
        let at = self.hasher.hash_one(network) as usize % limits::ADMISSION_SHARDS;
        let mut shard = self.shards.get(at)?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(act(&mut shard))
    }
}

impl Admitted {
    /// Counts the connection for the network of its client. False when that has too many.
    pub(super) fn is_of(&mut self, client: IpAddr) -> bool {
        let network = client_network(client);
        let most = self.admission.most_per_network;
        let counted = self.admission.with_shard(network, |networks| {
            let count = networks.entry(network).or_default();
            // A limit is one connection at least, so an entry that is new is counted.
            let fits = *count < most.max(1);
            *count += usize::from(fits);
            fits
        });
        self.network = (counted == Some(true)).then_some(network);
        self.network.is_some()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.count.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = self.network else { return };
        self.admission.with_shard(network, |networks| {
            if let Entry::Occupied(mut entry) = networks.entry(network) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        });
    }
}

impl<A> EdgeApp<A> {
    /// Takes a place for a new connection, and finds out whose it is. Otherwise the word for the metrics.
    pub(super) async fn admit(
        &self,
        stream: &mut EdgeStream,
        connection: &mut Connection,
    ) -> Result<Admitted, &'static str> {
        let mut admitted = self.admission.enter().ok_or("connections")?;
        let front = Arc::clone(&connection.front);
        connection.trusted = front.trusted.contains(connection.client);
        // A proxy brings the connections of many.
        let mut is_one_client = !connection.trusted;
        if front.proxy_protocol {
            if !connection.trusted {
                return Err("untrusted-proxy");
            }
            match timeout(self.timeouts().header, preamble::read(stream)).await {
                Ok(Ok(Some(client))) => {
                    connection.client = client;
                    // What is said above HTTP is this client's word now, no more the proxy's.
                    connection.trusted = front.trusted.contains(client);
                    is_one_client = !connection.trusted;
                }
                // Nobody is named, so nobody's word on others counts.
                Ok(Ok(None)) => connection.trusted = false,
                Ok(Err(error)) => {
                    tracing::debug!(%error, peer = %connection.client, "a proxy's connection is closed");
                    return Err("proxy-protocol");
                }
                Err(_) => return Err("slow"),
            }
        }
        if is_one_client && !admitted.is_of(connection.client) {
            return Err("connections-per-network");
        }
        Ok(admitted)
    }

    pub(super) fn pace(&self) -> Pace {
        Pace { stall: self.timeouts().write, least: self.bounds().min_rate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(admission: &Arc<Admission>, client: &str) -> Option<Admitted> {
        let mut admitted = admission.enter()?;
        admitted.is_of(client.parse().unwrap()).then_some(admitted)
    }

    fn networks(admission: &Admission) -> usize {
        admission.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn one_network_cannot_take_the_places_of_others() {
        let admission = Admission::new(5, 2);
        let first = enter(&admission, "192.0.2.1").unwrap();
        let second = enter(&admission, "::ffff:192.0.2.1").unwrap();
        assert!(enter(&admission, "192.0.2.1").is_none());
        let _other = enter(&admission, "192.0.2.2").unwrap();
        drop(first);
        let third = enter(&admission, "192.0.2.1").unwrap();
        drop((second, third));
        assert_eq!(networks(&admission), 1);
        let _six = enter(&admission, "2001:db8::1").unwrap();
        let _seven = enter(&admission, "2001:db8::2").unwrap();
        assert!(enter(&admission, "2001:db8::3").is_none());
        assert!(enter(&admission, "2001:db8:0:1::3").is_some());
    }

    #[test]
    fn when_the_house_is_full_nobody_comes_in_until_somebody_leaves() {
        let admission = Admission::new(2, 10);
        let first = enter(&admission, "192.0.2.1").unwrap();
        let _second = enter(&admission, "192.0.2.2").unwrap();
        for _ in 0..10 {
            assert!(enter(&admission, "192.0.2.3").is_none());
        }
        drop(first);
        assert!(enter(&admission, "192.0.2.3").is_some());
        assert_eq!(networks(&admission), 1);
    }
}
