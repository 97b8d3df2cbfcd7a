//! What the rails are set to: `[guard]`.

use ipnet::IpNet;

use crate::hostname::Hostname;
use crate::policy::Pattern;

/// Names and networks that no case may touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protected {
    /// Names; `.a.example` for a name and all below it.
    pub names: Vec<Pattern>,
    /// Networks of origins, and of hosts that are addresses.
    pub networks: Vec<IpNet>,
}

/// How large a change may be that nobody has approved of.
///
/// The defaults let a CDN's daily work pass, a new case, a list that grows by a tenth, and hold back what real lists
/// did when they broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `protect`. Default: nothing.
    pub protect: Protected,
    /// Public suffixes that cases may cover all the same: `allow_suffixes`. Default: none.
    pub allow_suffixes: Vec<Hostname>,
    /// Names that one swap may add: `max_added`. Default: 1,000,000.
    pub max_added: u64,
    /// The same in percent of the names in force: `max_added_percent`. Default: 100.
    pub max_added_percent: u64,
    /// Names that one swap may take out: `max_removed`. Default: 100,000.
    pub max_removed: u64,
    /// The same in percent of the names in force: `max_removed_percent`. Default: 50.
    pub max_removed_percent: u64,
    /// The shortest prefix of an IPv4 network in `origins`: `widest_origins_v4`, 0 to 32. Default: 16.
    pub widest_origins_v4: u64,
    /// The same of an IPv6 network: `widest_origins_v6`, 0 to 128. Default: 32.
    pub widest_origins_v6: u64,
    /// The shortest prefix of an IPv4 network that a case exempts: `widest_exempt_v4`, 0 to 32. Default: 16.
    pub widest_exempt_v4: u64,
    /// The same of an IPv6 network: `widest_exempt_v6`, 0 to 128. Default: 32.
    pub widest_exempt_v6: u64,
    /// A list that loses so many percent of its entries, or more, is held back: `list_shrink_percent`. Default: 50.
    pub list_shrink_percent: u64,
    /// A list that grows to so many times its entries, or more, is held back: `list_growth`. Default: 4.
    pub list_growth: u64,
    /// A new or changed list of which so many percent, or more, are no host patterns is held back:
    /// `list_bad_percent`. Default: 50.
    pub list_bad_percent: u64,
    /// Of the last hour's requests, in percent, that one swap may newly block: `max_blocked_requests_percent`.
    /// Default: 25.
    pub max_blocked_requests_percent: u64,
    /// Of the hosts that routes name, in percent, that one swap may newly block: `max_blocked_routes_percent`.
    /// Default: 25.
    pub max_blocked_routes_percent: u64,
    /// Names in force, entries of a list or requests under which shares are not looked at, since a small set changes
    /// a lot by share: `floor`. Default: 1,000.
    pub floor: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protect: Protected::default(),
            allow_suffixes: Vec::new(),
            max_added: 1_000_000,
            max_added_percent: 100,
            max_removed: 100_000,
            max_removed_percent: 50,
            widest_origins_v4: 16,
            widest_origins_v6: 32,
            widest_exempt_v4: 16,
            widest_exempt_v6: 32,
            list_shrink_percent: 50,
            list_growth: 4,
            list_bad_percent: 50,
            max_blocked_requests_percent: 25,
            max_blocked_routes_percent: 25,
            floor: 1_000,
        }
    }
}
