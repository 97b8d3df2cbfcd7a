//! Enforcement for anyone's own Pingora proxy.
//!
//! ```no_run
//! use async_trait::async_trait;
//! use interdict::embed::{Guard, Options, Passed};
//! use pingora::prelude::HttpPeer;
//! use pingora::proxy::{ProxyHttp, Session};
//!
//! struct MyProxy {
//!     guard: Guard,
//! }
//!
//! #[async_trait]
//! impl ProxyHttp for MyProxy {
//!     type CTX = Option<Passed>;
//!
//!     fn new_ctx(&self) -> Self::CTX {
//!         None
//!     }
//!
//!     async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> pingora::Result<bool> {
//!         *ctx = self.guard.enforce(session).await?;
//!         Ok(ctx.is_none())
//!     }
//!
//!     async fn upstream_peer(
//!         &self,
//!         session: &mut Session,
//!         ctx: &mut Self::CTX,
//!     ) -> pingora::Result<Box<HttpPeer>> {
//!         let origin = ([127, 0, 0, 1], 9000).into();
//!         self.guard.admit(session, ctx.as_ref(), origin).await?;
//!         Ok(Box::new(HttpPeer::new(origin, false, String::new())))
//!     }
//! }
//! ```
//!
//! Recording cannot be forgotten: a block is answered by [`Guard::enforce`] itself, after the record, and
//! [`Guard::admit`] asks for the [`Passed`] that only it hands out.

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::gate::Gate;
use crate::listen;
use crate::server::Enforcement;

pub use crate::listen::Passed;
pub use crate::server::{EnforcementError, Options};

/// The enforcement of one proxy: policies kept up to date, every action on record.
#[derive(Debug)]
pub struct Guard {
    enforcement: Enforcement,
    gate: Arc<Gate>,
}

impl Guard {
    /// Opens the audit log, loads the policies and starts to watch them.
    ///
    /// # Errors
    /// When the log or the state cannot be opened, or there is no policy set to start on.
    pub fn start(options: Options) -> std::result::Result<Self, EnforcementError> {
        let enforcement = Enforcement::start(options)?;
        Ok(Self { gate: enforcement.gate(), enforcement })
    }

    /// Judges a request; the first thing `request_filter` does. Nothing comes back when the request has been
    /// answered: `request_filter` then returns `Ok(true)`.
    ///
    /// # Errors
    /// When the answer cannot be written to the client.
    pub async fn enforce(&self, session: &mut Session) -> Result<Option<Passed>> {
        listen::enforce_request(&self.gate, session).await
    }

    /// Judges a connection to an origin, before `upstream_peer` returns it.
    ///
    /// # Errors
    /// When a case refuses the origin: the request has been answered, and Pingora ends it with this error. Also
    /// when the request was never judged.
    pub async fn admit(
        &self,
        session: &mut Session,
        passed: Option<&Passed>,
        origin: SocketAddr,
    ) -> Result<()> {
        let unjudged = || Error::explain(ErrorType::InternalError, "the request was not judged");
        let ruling = listen::judge_origin(&self.gate, session, passed.ok_or_else(unjudged)?, origin);
        if listen::carry_out(session, ruling).await? {
            return Err(listen::answered());
        }
        Ok(())
    }

    /// The gate itself, for its ruleset and counters.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Ends the keeper, records that enforcement stopped and closes the log.
    pub fn stop(self) {
        self.enforcement.stop();
    }
}
