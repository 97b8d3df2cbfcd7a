//! Asks the hosts file and then name servers. What a name server says is as good as the network it comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};

use super::Dns;
use crate::limits;

/// The addresses of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// At least one; those that a route leads to come first, IPv6 before IPv4.
    pub(super) addresses: Vec<IpAddr>,
    /// How long they hold.
    pub(super) holds: Duration,
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// Asks whom the settings name.
#[derive(Debug)]
pub(super) struct Asker {
    dns: Dns,
    /// Made by the first look-up, and anew by the first after the system's files have changed.
    sources: Mutex<Option<Arc<Sources>>>,
}

#[derive(Debug)]
struct Sources {
    /// What the files were that these were made of.
    files: [Stamp; 2],
    hosts: Hosts,
    servers: TokioResolver,
}

/// What changes when a file does; nothing where there is none.
type Stamp = Option<(u64, u64, i64, i64)>;

fn stamp(path: &str) -> Stamp {
    let file = Path::new(path).metadata().ok()?;
    Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

impl Asker {
    pub(super) fn new(dns: Dns) -> Self {
        Self { dns, sources: Mutex::default() }
    }

    /// Looks a name up, as it is: no search domain is put behind it. Both families are asked for, and one is enough.
    ///
    /// # Errors
    /// What kept it from finding an address.
    pub(super) async fn look_up(&self, name: &str) -> Result<Answer, String> {
        let sources = self.sources()?;
        let name = Name::from_ascii(format!("{name}.")).map_err(|error| error.to_string())?;
        if let Some(addresses) = in_hosts(&sources.hosts, &name) {
            return Ok(Answer { addresses: best_first(addresses), holds: limits::HOSTS_FRESH });
        }
        let ask = |family| sources.servers.lookup(name.clone(), family);
        let (six, four) = tokio::join!(ask(RecordType::AAAA), ask(RecordType::A));
        let (addresses, ttl) = merge([six, four])?;
        Ok(Answer { addresses: best_first(addresses), holds: ttl.clamp(self.dns.min_ttl, self.dns.max_ttl) })
    }

    fn sources(&self) -> Result<Arc<Sources>, String> {
        let is_own = !self.dns.resolvers.is_empty();
        let files = [stamp(RESOLV_CONF).filter(|_| !is_own), stamp(HOSTS)];
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sources) = known.as_ref().filter(|sources| sources.files == files) {
            return Ok(Arc::clone(sources));
        }
        let hosts = Hosts::from_system().unwrap_or_default();
        let servers = servers(&self.dns.resolvers).map_err(|error| error.to_string())?;
        let sources = Arc::new(Sources { files, hosts, servers });
        *known = Some(Arc::clone(&sources));
        Ok(sources)
    }
}

/// Those that are written, or else the system's.
fn servers(written: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let (servers, mut options) = match written {
        [] => system_servers(),
        written => (written.iter().map(server).collect(), ResolverOpts::default()),
    };
    // What is known is remembered by us alone, and the hosts file has been asked.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = options.timeout.min(limits::RESOLVE_ATTEMPT);
    let config = ResolverConfig::from_name_servers(servers);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// The name servers of `resolv.conf(5)`; its search domains are left aside. Without any it is the one of this machine.
fn system_servers() -> (Vec<NameServerConfig>, ResolverOpts) {
    match system_conf::read_system_conf() {
        Ok((config, options)) => (config.into_parts().2, options),
        Err(error) => {
            tracing::warn!(%error, "no name server in {RESOLV_CONF}: the one of this machine is asked");
            (vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())], ResolverOpts::default())
        }
    }
}

/// What the hosts file says of a name. When it knows it, nobody else is asked.
fn in_hosts(hosts: &Hosts, name: &Name) -> Option<Vec<IpAddr>> {
    let families = [RecordType::AAAA, RecordType::A];
    let found = families.into_iter().filter_map(|family| {
        let lookup = hosts.lookup_static_host(&Query::query(name.clone(), family))?;
        Some(addresses(&lookup).collect::<Vec<_>>())
    });
    Some(found.flatten().collect()).filter(|found: &Vec<IpAddr>| !found.is_empty())
}

fn addresses(lookup: &Lookup) -> impl Iterator<Item = IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr())
}

/// The addresses of both families and the smallest TTL on the way to them, aliases included.
fn merge(answers: [Result<Lookup, NetError>; 2]) -> Result<(Vec<IpAddr>, Duration), String> {
    let (mut found, mut ttl, mut failure) = (Vec::new(), u32::MAX, None);
    for answer in answers {
        match answer {
            Ok(lookup) => {
                found.extend(addresses(&lookup));
                ttl = lookup.answers().iter().map(|record| record.ttl).fold(ttl, u32::min);
            }
            // That there is none of one family says less than why the other could not be looked up.
            Err(error) if failure.is_none() || !error.is_no_records_found() => failure = Some(error),
            Err(_) => {}
        }
    }
    if found.is_empty() {
        return Err(match failure {
            Some(error) if error.is_nx_domain() => "there is no such name".to_owned(),
            Some(error) if !error.is_no_records_found() => error.to_string(),
            _ => "the name has no address".to_owned(),
        });
    }
    Ok((found, Duration::from_secs(ttl.into())))
}

/// Each once, and those that no route leads to last: on a machine without IPv6, say (RFC 6724 §6, rule 1).
fn best_first(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in addresses {
        if found.len() < limits::ADDRESSES_PER_NAME && !found.contains(&address) {
            found.push(address);
        }
    }
    found.sort_by_cached_key(|address| !has_route(*address));
    found
}

/// Whether the system knows a way to an address. Nothing is sent.
fn has_route(address: IpAddr) -> bool {
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    UdpSocket::bind((any, 0)).is_ok_and(|socket| socket.connect((address, 9)).is_ok())
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::rdata::CNAME;
    use hickory_resolver::proto::rr::{RData, Record};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    /// An answer with these TTLs: of an alias, when there is one, and of the address behind it.
    fn lookup(alias: Option<u32>, address: &str, ttl: u32) -> Lookup {
        let address: IpAddr = address.parse().unwrap();
        let family = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let to = CNAME(name("b.example."));
        let alias = alias.map(|ttl| Record::from_rdata(name("a.example."), ttl, RData::CNAME(to)));
        let found = Record::from_rdata(name("b.example."), ttl, RData::from(address));
        let query = Query::query(name("a.example."), family);
        Lookup::new_with_max_ttl(query, alias.into_iter().chain([found]))
    }

    #[test]
    fn the_smallest_ttl_of_both_families_and_of_every_alias_counts() {
        let ttl = |six, four| merge([Ok(six), Ok(four)]).unwrap().1.as_secs();
        let [six, four] = ["2001:db8::1", "192.0.2.1"];
        assert_eq!(ttl(lookup(None, six, 30), lookup(None, four, 600)), 30);
        assert_eq!(ttl(lookup(None, six, 600), lookup(None, four, 30)), 30);
        assert_eq!(ttl(lookup(Some(5), six, 30), lookup(None, four, 600)), 5);
        assert_eq!(ttl(lookup(Some(600), six, 30), lookup(Some(600), four, 7)), 7);
    }

    #[test]
    fn one_family_is_enough_and_the_failure_of_the_other_is_left_aside() {
        let failed = || Err(NetError::from("no answer"));
        let (addresses, ttl) = merge([failed(), Ok(lookup(None, "192.0.2.1", 60))]).unwrap();
        assert_eq!((addresses.len(), ttl.as_secs()), (1, 60));
        assert!(merge([failed(), failed()]).unwrap_err().contains("no answer"));
    }

    #[test]
    fn addresses_come_once_in_a_bounded_number_and_those_without_a_route_last() {
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        // A link-local address leads nowhere without the name of a link.
        let found = best_first(parsed(&["fe80::1", "127.0.0.1", "fe80::1", "127.0.0.2", "127.0.0.1"]));
        assert_eq!(found, parsed(&["127.0.0.1", "127.0.0.2", "fe80::1"]));
        let many = (0..200).map(|last| IpAddr::from([127, 0, 1, last])).collect();
        assert_eq!(best_first(many).len(), limits::ADDRESSES_PER_NAME);
    }
}
