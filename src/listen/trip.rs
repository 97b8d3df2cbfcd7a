//! What a request carries with it on its way to an origin.

use std::sync::Arc;

use pingora::{Error, ErrorType, Result};

use super::enforce::Passed;
use super::flight::Flight;
use super::refresh::Refresh;
use super::upstream::Journey;
use crate::policy::Ruleset;

/// See the module. Apart from the settings, which lead it and are shared by all.
#[derive(Debug, Default)]
pub(super) struct Trip {
    /// Given back when the answer begins, so that a long download or an open WebSocket does not keep a
    /// replaced ruleset in memory.
    pub(super) passed: Option<Passed>,
    /// Where the request is on its way to an origin.
    pub(super) journey: Journey,
    /// Set when the cache makes the request, and no client.
    pub(super) refresh: Option<Refresh>,
}

impl Trip {
    pub(super) fn passed(&self) -> Result<&Passed> {
        let unjudged = || Error::explain(ErrorType::InternalError, "a request went on without being judged");
        self.passed.as_ref().ok_or_else(unjudged)
    }

    /// The flight of the request, or of the refresh.
    pub(super) fn flight(&self) -> Option<Arc<Flight>> {
        Flight::current().or_else(|| self.refresh.as_ref().map(Refresh::flight))
    }

    /// Lets the rest of the request be judged by another ruleset.
    pub(super) fn judge_anew(&mut self, ruleset: Arc<Ruleset>) {
        if let Some(passed) = &mut self.passed {
            passed.follow(ruleset);
        }
        self.journey.forget_admission();
    }
}
