//! What becomes of a request that was judged just before a swap, when its connection is already there.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{Digest, SocketDigest};
use pingora::proxy::{FailToProxy, ProxyHttp, http_proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::forward::{Dns, Origin, Route, Routes};
use crate::listen::{
    Bounds, Context, EdgeApp, EdgeProxy, FrameLimits, Listener, Listeners, Live, Settings, Timeouts,
    server_conf,
};
use crate::policy::sample::{case, rules};
use crate::policy::{Case, Ruleset};
use crate::server::{Enforcement, Options};

const PATIENCE: Duration = Duration::from_secs(20);

/// The edge's proxy, with a swap of rules at the last moment before a request goes out.
struct LastMoment {
    inner: EdgeProxy,
    gate: Arc<Gate>,
    next: Arc<Mutex<Option<Ruleset>>>,
}

#[async_trait]
impl ProxyHttp for LastMoment {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        self.inner.new_ctx()
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        self.inner.request_filter(session, context).await
    }

    async fn proxy_upstream_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        self.inner.proxy_upstream_filter(session, context).await
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        self.inner.upstream_peer(session, context).await
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        connection: RawFd,
        digest: Option<&Digest>,
        context: &mut Context,
    ) -> Result<()> {
        let next = self.next.lock().unwrap().take();
        if let Some(next) = next {
            drop(self.gate.swap(Arc::new(next)));
        }
        self.inner.connected_to_upstream(session, reused, peer, connection, digest, context).await
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        peer: &HttpPeer,
        context: &mut Context,
        error: Box<Error>,
    ) -> Box<Error> {
        self.inner.fail_to_connect(session, peer, context, error)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        self.inner.error_while_proxy(peer, session, error, context, reused)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        self.inner.upstream_request_filter(session, request, context).await
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        self.inner.fail_to_proxy(session, error, context).await
    }
}

/// An edge in this process, and what swaps in at the last moment.
struct House {
    _home: tempfile::TempDir,
    enforcement: Enforcement,
    edge: SocketAddr,
    next: Arc<Mutex<Option<Ruleset>>>,
    _shutdown: watch::Sender<bool>,
}

fn settings(upstream: Upstream, patience: Patience) -> Settings {
    let frames = FrameLimits { resets: 50, control: 500, header_list: 16_384, header_timeout: PATIENCE };
    let timeouts = Timeouts { header: PATIENCE, idle: PATIENCE, read: PATIENCE, write: PATIENCE };
    let bounds = Bounds {
        head_bytes: 65_536,
        header_fields: 100,
        frames,
        min_rate: 0,
        connections: 100,
        connections_per_network: 100,
    };
    Settings { upstream: Arc::new(upstream), patience, timeouts, bounds }
}

impl House {
    /// One that leads everything to these origins, in order.
    async fn leading_to(origins: &[SocketAddr]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir_all(at("policies/cases")).unwrap();
        let options = Options::new("edge", at("policies"), at("state"), at("audit"));
        let enforcement = Enforcement::start(options).unwrap();
        let gate = enforcement.gate();
        let patience = Patience { connect: PATIENCE, silence: PATIENCE, client: PATIENCE, min_rate: 0 };
        let origin = |address: &SocketAddr| Origin {
            host: Hostname::parse(&address.ip().to_string()).unwrap(),
            port: address.port(),
            weight: 1,
        };
        let route = Route { balance: Balance::InOrder, ..Route::to(origins.iter().map(origin).collect()) };
        let mut routes = Routes::default();
        routes.add(route);
        assert!(routes.lead(None));
        let origins = Arc::new(Origins::new(routes));
        let resolver = Arc::new(Resolver::new(Dns::default(), Arc::clone(gate.metrics())));
        let upstream = Upstream::new(Arc::clone(&gate), origins, resolver, &patience).unwrap();
        let live = Arc::new(Live::new(settings(upstream, patience)));
        let inner = EdgeProxy::new(Arc::clone(&gate), Arc::clone(&live));
        let next = Arc::default();
        let proxy = LastMoment { inner, gate: Arc::clone(&gate), next: Arc::clone(&next) };
        let proxy = http_proxy(&Arc::new(server_conf(1, PATIENCE)), proxy);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let edge = listener.local_addr().unwrap();
        let front = Arc::default();
        let listeners = Listeners::new(vec![Listener { address: edge, tls: None, strict_sni: false, front }]);
        let app = Arc::new(EdgeApp::new(proxy, gate, listeners, live));
        let (shutdown, stopping) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (app, stopping) = (Arc::clone(&app), stopping.clone());
                tokio::spawn(async move {
                    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
                    let mut stream = L4Stream::from(stream);
                    pingora::protocols::GetSocketDigest::set_socket_digest(&mut stream, digest);
                    app.process_new(Box::new(stream), &stopping).await;
                });
            }
        });
        Self { _home: home, enforcement, edge, next, _shutdown: shutdown }
    }

    fn swap_at_the_last_moment(&self, case: Case) {
        *self.next.lock().unwrap() = Some(rules(vec![case]));
    }
}

/// An origin that answers every request, and tells how many octets it was sent and by whom.
struct Counting {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
}

async fn origin(address: &str) -> Counting {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let mut block = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut block).await {
                    shared.lock().unwrap().extend_from_slice(&block[..count]);
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.ok();
                }
            });
        }
    });
    Counting { address, seen }
}

impl Counting {
    fn requests(&self) -> usize {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).matches("HTTP/1.1\r\n").count()
    }

    fn octets(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// Sends one request on a connection of its own, and reads until there is a whole head.
async fn ask(edge: SocketAddr) -> String {
    let mut client = TcpStream::connect(edge).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0, "closed without an answer");
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn closes(network: &str) -> Case {
    let mut case = case("late", &["customer.example"]);
    case.origins = vec![network.parse().unwrap()];
    case
}

#[tokio::test]
async fn no_octet_goes_out_on_a_pooled_connection_once_a_swap_has_closed_its_network() {
    let origin = origin("127.0.0.1:0").await;
    let house = House::leading_to(&[origin.address]).await;
    assert!(ask(house.edge).await.starts_with("HTTP/1.1 200"));
    let before = origin.octets();
    house.swap_at_the_last_moment(closes("127.0.0.0/8"));
    let answer = ask(house.edge).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("enforcement-id"), "{answer}");
    assert_eq!(origin.octets(), before, "the origin was sent something after the swap");
    house.enforcement.stop();
}

#[tokio::test]
async fn no_octet_of_a_host_goes_out_once_a_swap_has_blocked_it() {
    let origin = origin("127.0.0.1:0").await;
    let house = House::leading_to(&[origin.address]).await;
    assert!(ask(house.edge).await.starts_with("HTTP/1.1 200"));
    let before = origin.octets();
    house.swap_at_the_last_moment(case("late", &["shop.example"]));
    let answer = ask(house.edge).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("enforcement-id"), "{answer}");
    assert_eq!(origin.octets(), before, "the origin was sent something after the swap");
    house.enforcement.stop();
}

#[tokio::test]
async fn a_request_that_finds_its_pooled_connection_closed_goes_to_the_next_origin_and_one_of_others_goes_on()
{
    let (first, second) = (origin("127.0.0.2:0").await, origin("127.0.0.1:0").await);
    let house = House::leading_to(&[first.address, second.address]).await;
    assert!(ask(house.edge).await.starts_with("HTTP/1.1 200"));
    // Rules that have nothing to do with it change nothing for it.
    house.swap_at_the_last_moment(case("late", &["other.example"]));
    assert!(ask(house.edge).await.starts_with("HTTP/1.1 200"));
    assert_eq!((first.requests(), second.requests()), (2, 0));
    // Nothing was sent, so a request that may do something twice goes on as well.
    house.swap_at_the_last_moment(closes("127.0.0.2/32"));
    assert!(ask(house.edge).await.starts_with("HTTP/1.1 200"));
    assert_eq!((first.requests(), second.requests()), (2, 1));
    let kept_out: Option<IpAddr> = Some("127.0.0.1".parse().unwrap());
    assert!(house.enforcement.gate().closes(first.address.ip(), kept_out));
    house.enforcement.stop();
}
