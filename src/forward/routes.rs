//! Which origins serve a host, and how: the most specific route wins.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hashbrown::HashMap;

use super::Balance;
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::{Form, Pattern};

/// A server that a route leads to, `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Its name, resolved when a connection is made, or its address.
    pub host: Hostname,
    /// Its port, never 0.
    pub port: u16,
    /// Its share of the requests beside the others' of the route: 1 to 1,000.
    pub weight: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// One `[[route]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The origins; at least one.
    pub origins: Vec<Origin>,
    /// Whether answers may be kept, where the edge has a cache.
    pub cache: bool,
    /// Which of them a request goes to.
    pub balance: Balance,
    /// TLS to the origins; cleartext without.
    pub tls: Option<OriginTls>,
    /// Whether HTTP/2 is spoken to the origins: offered with TLS, taken for granted without.
    pub http2: bool,
    /// Attempts after the first that one request may take.
    pub retries: usize,
    /// For one connection to an origin, TLS included; the one of `[limits]` when absent.
    pub connect_timeout: Option<Duration>,
    /// For an origin that is silent; the one of `[limits]` when absent.
    pub upstream_timeout: Option<Duration>,
    /// Requests under way to one origin at a time.
    pub max_connections: Option<usize>,
    /// How the origins are watched; not at all when absent.
    pub health: Option<HealthCheck>,
}

impl Route {
    /// A route to these origins with every setting at its default.
    #[must_use]
    pub fn to(origins: Vec<Origin>) -> Self {
        Self {
            origins,
            cache: true,
            balance: Balance::default(),
            tls: None,
            http2: false,
            retries: limits::RETRIES,
            connect_timeout: None,
            upstream_timeout: None,
            max_connections: None,
            health: None,
        }
    }
}

/// TLS to an origin: `tls` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginTls {
    /// The name asked for and looked for in the certificate; else the origin's own, else the request's.
    pub name: Option<Hostname>,
    /// The certificates of those who may sign (PEM); the system's when absent.
    pub ca: Option<PathBuf>,
    /// Whether the origin has to show a certificate for that name from one of them.
    pub verify: bool,
}

/// How the origins of a route are watched: `health` of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path that is asked for with `GET`, and answered with a status from 200 to 399 by a healthy origin. Without
    /// one, a connection is enough.
    pub path: Option<String>,
    /// The `Host` that is asked for; the origin's own when absent.
    pub host: Option<Hostname>,
    /// Between two checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// So many failures in a row take an origin out.
    pub failures: u32,
    /// So many successes in a row bring it back.
    pub successes: u32,
}

/// All routes of an edge, ready to be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    routes: Vec<Route>,
    /// The route of each pattern, by its name and form.
    by_name: HashMap<Box<str>, Forms>,
    /// The route of `*`.
    any: Option<usize>,
}

/// The routes of the patterns on one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Forms {
    exact: Option<usize>,
    subtree: Option<usize>,
    below: Option<usize>,
}

impl Routes {
    /// The route of a host. An exact name wins over a suffix, a longer suffix over a shorter, `*.a.example`
    /// over `.a.example`, and `*` comes last.
    #[must_use]
    pub fn find(&self, host: &Hostname) -> Option<&Route> {
        self.routes.get(self.position(host)?)
    }

    /// Where in [`Routes::all`] the route of a host is.
    #[must_use]
    pub fn position(&self, host: &Hostname) -> Option<usize> {
        let of_name = self.by_name.get(host.as_str()).and_then(|forms| forms.exact.or(forms.subtree));
        let of_suffix = || {
            host.suffixes().skip(1).find_map(|suffix| {
                let forms = self.by_name.get(suffix)?;
                forms.below.or(forms.subtree)
            })
        };
        of_name.or_else(of_suffix).or(self.any)
    }

    /// The patterns that lead to a route, `*` left out, sorted.
    #[must_use]
    pub fn patterns(&self) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for (name, forms) in &self.by_name {
            let forms =
                [(Form::Exact, forms.exact), (Form::Subtree, forms.subtree), (Form::Below, forms.below)];
            for (form, _) in forms.into_iter().filter(|(_, route)| route.is_some()) {
                // It was a name when it was put in.
                patterns.extend(Hostname::parse(name).map(|name| Pattern { form, name }).ok());
            }
        }
        patterns.sort();
        patterns
    }

    /// Every route, in the order of the file.
    #[must_use]
    pub fn all(&self) -> &[Route] {
        &self.routes
    }

    /// Adds a route for patterns that come after it.
    pub(crate) fn add(&mut self, route: Route) {
        self.routes.push(route);
    }

    /// Leads a pattern, or every host, to the route added last; false when an earlier one has it.
    pub(crate) fn lead(&mut self, pattern: Option<&Pattern>) -> bool {
        let last = self.routes.len().saturating_sub(1);
        let place = match pattern {
            None => &mut self.any,
            Some(pattern) => {
                let forms = self.by_name.entry(pattern.name.as_str().into()).or_default();
                match pattern.form {
                    Form::Exact => &mut forms.exact,
                    Form::Subtree => &mut forms.subtree,
                    Form::Below => &mut forms.below,
                }
            }
        };
        let is_free = place.is_none();
        place.get_or_insert(last);
        is_free
    }
}
