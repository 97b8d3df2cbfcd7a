//! A Pingora proxy of somebody else's that enforces terminations.
//!
//! ```text
//! cargo run --example demo_origin &
//! cargo run --example embed -- policies 127.0.0.1:6190 127.0.0.1:9000
//! curl -i -H 'Host: forum.example' http://127.0.0.1:6190/      # the block page, and a record in run/embed/audit
//! curl -i -H 'Host: www.example'   http://127.0.0.1:6190/      # the origin
//! ```

use std::error::Error;
use std::net::SocketAddr;

use async_trait::async_trait;
use interdict::embed::{Guard, Options, Passed};
use pingora::prelude::HttpPeer;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;

/// The proxy: all it has to do with enforcement are the two calls of its guard.
struct MyProxy {
    guard: Guard,
    origin: SocketAddr,
}

#[async_trait]
impl ProxyHttp for MyProxy {
    /// Proof that the request was judged; only the guard hands it out.
    type CTX = Option<Passed>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> pingora::Result<bool> {
        *ctx = self.guard.enforce(session).await?;
        Ok(ctx.is_none())
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        self.guard.admit(session, ctx.as_ref(), self.origin).await?;
        Ok(Box::new(HttpPeer::new(self.origin, false, String::new())))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = |default: &str| args.next().unwrap_or_else(|| default.to_owned());
    let (policies, listen, origin) = (next("policies"), next("127.0.0.1:6190"), next("127.0.0.1:9000"));

    let guard = Guard::start(Options::new("embedded", policies, "run/embed/state", "run/embed/audit"))?;
    let mut server = Server::new(None)?;
    server.bootstrap();
    let proxy = MyProxy { guard, origin: origin.parse()? };
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_tcp(&listen);
    server.add_service(service);
    println!("listening {listen}");
    server.run_forever()
}
