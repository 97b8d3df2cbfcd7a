//! Public suffixes: names under which everybody registers or publishes, from the list of publicsuffix.org.

use std::collections::HashMap;

use super::facts::CaseFacts;
use super::pattern::suffixes;
use super::protect::written;
use super::{Rail, Settings, Violation, Violations};
use crate::policy::Form;

/// A suffix below each shared platform whose own name is no suffix.
const PLATFORMS: &str = include_str!("platforms.txt");

/// What the list of public suffixes does not tell when it is asked about one name: the names above its suffixes.
#[derive(Debug)]
pub struct Suffixes {
    /// Such a name, and a suffix below it.
    above: HashMap<&'static str, &'static str>,
}

impl Default for Suffixes {
    fn default() -> Self {
        let mut above = HashMap::new();
        for suffix in PLATFORMS.lines().filter(|line| !line.starts_with('#')) {
            for parent in suffixes(suffix).skip(1) {
                above.entry(parent).or_insert(suffix);
            }
        }
        Self { above }
    }
}

impl Suffixes {
    /// The suffix that a pattern would take down with everything in it.
    ///
    /// `github.io` alone is a site, and may be ended: the suffix is one of the private section of the list, whose
    /// owner is a customer like others. `co.uk` alone is no customer's.
    #[must_use]
    pub fn taken_down(&self, form: Form, name: &str) -> Option<String> {
        if suffixes(name).nth(1).is_none() && name.contains(['.', '[']) {
            return None;
        }
        let suffix = psl::suffix(name.as_bytes()).filter(|suffix| suffix.is_known());
        let is_suffix = suffix.is_some_and(|suffix| suffix.as_bytes() == name.as_bytes());
        if form == Form::Exact {
            let icann = suffix.and_then(|suffix| suffix.typ()) == Some(psl::Type::Icann);
            return (is_suffix && icann).then(|| name.to_owned());
        }
        if is_suffix {
            return Some(name.to_owned());
        }
        // A rule such as `*.ck` makes every name right below a suffix.
        let probe = format!("x.{name}");
        let below = psl::suffix(probe.as_bytes()).filter(|suffix| suffix.is_known());
        if below.is_some_and(|suffix| suffix.as_bytes() == probe.as_bytes()) {
            return Some(format!("*.{name}"));
        }
        self.above.get(name).map(|suffix| (*suffix).to_owned())
    }

    pub(super) fn check(
        &self,
        case: &CaseFacts,
        form: Form,
        name: &str,
        settings: &Settings,
        found: &mut Violations,
    ) {
        let Some(suffix) = self.taken_down(form, name) else { return };
        if settings.allow_suffixes.iter().any(|allowed| allowed.as_str() == name) {
            return;
        }
        found.push(|| {
            let pattern = written(form, name);
            Violation {
                rail: Rail::PublicSuffix,
                case: case.id.clone(),
                message: format!(
                    "`{pattern}` of case `{}` covers the public suffix `{suffix}`, which many customers share",
                    case.id
                ),
                written: pattern,
                hint: format!(
                    "name the customer's own host, like `customer.{name}`; a suffix that is really meant goes into \
                     `allow_suffixes` in `[guard]`"
                ),
            }
        });
    }
}
