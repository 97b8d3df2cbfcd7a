//! What a page may know of its case: never the customer, the summary, or who decided.

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::policy::case::{Case, Legal};

/// The language of the built-in page and of everything generated.
pub(super) const BUILT_IN_LANGUAGE: &str = "en";

/// The variables of a page template.
#[derive(Debug, Serialize)]
pub(super) struct Context<'a> {
    statement: &'a str,
    case: &'a str,
    status: u16,
    status_text: &'static str,
    basis: &'static str,
    legal: Option<LegalContext<'a>>,
    decided: String,
    effective: String,
    lang: &'a str,
}

#[derive(Debug, Serialize)]
struct LegalContext<'a> {
    authority: &'a str,
    reference: &'a str,
    url: Option<&'a str>,
    territorial: bool,
}

impl<'a> Context<'a> {
    pub(super) fn of(case: &'a Case, lang: &'a str) -> Self {
        let date = |at: jiff::Timestamp| at.to_zoned(TimeZone::UTC).date().to_string();
        Self {
            statement: &case.statement,
            case: case.id.as_str(),
            status: case.status,
            status_text: status_text(case.status),
            basis: case.basis.as_str(),
            legal: case.legal.as_ref().map(|legal| LegalContext {
                authority: &legal.authority,
                reference: &legal.reference,
                url: web_url(legal),
                territorial: !legal.territory.is_empty(),
            }),
            decided: date(case.decided),
            effective: date(case.effective.unwrap_or(case.decided)),
            lang,
        }
    }
}

/// The reason phrase of a status a case may have (RFC 9110 §15, RFC 7725 §3).
pub(super) const fn status_text(status: u16) -> &'static str {
    match status {
        410 => "Gone",
        451 => "Unavailable For Legal Reasons",
        _ => "Forbidden",
    }
}

/// Where the order can be read, if a browser may be sent there: a `javascript:` link is no link.
pub(super) fn web_url(legal: &Legal) -> Option<&str> {
    let is_web = |url: &&str| {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        !rest.is_empty() && (scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"))
    };
    legal.url.as_deref().filter(is_web)
}
