//! The answers for programs: `application/problem+json` and `text/plain`.

use serde::Serialize;

use crate::policy::case::{Case, Legal};

use super::context::{status_text, web_url};

/// A problem of RFC 9457. `about:blank` says that the problem is what the status says (§4.2.1); `case` and
/// `legal` are extensions. There is no `instance`: it would be the record's id, which the header has.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    case: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    legal: Option<LegalProblem<'a>>,
}

#[derive(Serialize)]
struct LegalProblem<'a> {
    authority: &'a str,
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
}

impl<'a> LegalProblem<'a> {
    fn of(legal: &'a Legal) -> Self {
        Self { authority: &legal.authority, reference: &legal.reference, url: web_url(legal) }
    }
}

pub(super) fn problem(case: &Case) -> String {
    let problem = Problem {
        r#type: "about:blank",
        title: status_text(case.status),
        status: case.status,
        detail: &case.statement,
        case: case.id.as_str(),
        legal: case.legal.as_ref().map(LegalProblem::of),
    };
    // Strings and numbers under fixed keys always serialise; an empty object is still a valid problem.
    serde_json::to_string(&problem).unwrap_or_else(|_| "{}".to_owned())
}

pub(super) fn text(case: &Case) -> String {
    let mut text = format!("{} {}\n\n{}\n\n", case.status, status_text(case.status), case.statement.trim());
    if let Some(legal) = &case.legal {
        text.push_str(&format!("Ordered by: {}\nReference: {}\n", legal.authority, legal.reference));
        if let Some(url) = web_url(legal) {
            text.push_str(&format!("Order: {url}\n"));
        }
    }
    text.push_str(&format!("Case: {}\n", case.id));
    // This is often read in a terminal, which must not be told what to do.
    text.retain(|character| character == '\n' || !character.is_control());
    text
}
