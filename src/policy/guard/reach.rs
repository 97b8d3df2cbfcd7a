//! Blast radius: how much of what this edge serves a set would newly block.

use super::{Finding, Rail, Settings, percent};
use crate::limits;

/// A part of a whole that was counted elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    /// How much would be newly blocked.
    pub blocked: u64,
    /// Of how much.
    pub all: u64,
    /// The hosts that make the most of it.
    pub first: Vec<String>,
}

/// What a set would newly block. Nothing is known of either share at the start of an edge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Requests of the last hour.
    pub requests: Share,
    /// Hosts that routes name.
    pub routes: Share,
}

impl Reach {
    pub(super) fn findings(&self, settings: &Settings) -> Vec<Finding> {
        let sides = [
            (
                Rail::BlastRadiusRequests,
                &self.requests,
                settings.floor,
                settings.max_blocked_requests_percent,
                "requests of the last hour",
            ),
            (
                Rail::BlastRadiusRoutes,
                &self.routes,
                limits::GUARD_ROUTES_AT_LEAST,
                settings.max_blocked_routes_percent,
                "hosts that routes name",
            ),
        ];
        let mut found = Vec::new();
        for (rail, share, floor, most, what) in sides {
            let part = percent(share.blocked, share.all);
            if share.all < floor || part <= most {
                continue;
            }
            let message = format!(
                "{} of the {} {what} would be blocked that are not now, {part} %; {most} % may be",
                share.blocked, share.all
            );
            let limit = share.all.saturating_mul(most) / 100;
            let first = share.first.clone();
            found.push(Finding { rail, message, found: share.blocked, limit, first, cases: Vec::new() });
        }
        found
    }
}
