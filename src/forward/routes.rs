//! Which origins serve a host: the most specific route wins.

use std::fmt;

use hashbrown::HashMap;

use crate::hostname::Hostname;
use crate::policy::{Form, Pattern};

/// A server that a route leads to, `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Its name, resolved when a connection is made, or its address.
    pub host: Hostname,
    /// Its port, never 0.
    pub port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// One `[[route]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The origins, tried in this order; at least one.
    pub origins: Vec<Origin>,
    /// Whether answers may be kept, where the edge has a cache.
    pub cache: bool,
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
        let of_name = self.by_name.get(host.as_str()).and_then(|forms| forms.exact.or(forms.subtree));
        let of_suffix = || {
            host.suffixes().skip(1).find_map(|suffix| {
                let forms = self.by_name.get(suffix)?;
                forms.below.or(forms.subtree)
            })
        };
        let index = of_name.or_else(of_suffix).or(self.any)?;
        self.routes.get(index)
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
