//! The parts of a case that say who, why, what happens and when.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::diagnostic::nearest;
use crate::document::{Spot, Table, Text, Value};
use crate::limits;
use crate::policy::page::DEFAULT_PAGE;
use crate::policy::{Action, Basis, CaseId, Mode, PolicyFiles};

/// Shown on the block page of a case without a `statement`.
const DEFAULT_STATEMENT: &str = "Service for this site has been ended.";

/// Who decided what about whom.
pub(super) struct Identity {
    pub(super) id: CaseId,
    pub(super) customer: String,
    pub(super) decided: Timestamp,
    pub(super) decided_by: Vec<String>,
    pub(super) summary: String,
    pub(super) statement: String,
}

/// `claim` is told of a valid id and where it stands.
pub(super) fn identity(top: &Table<'_>, claim: impl FnOnce(&CaseId, Spot<'_>)) -> Option<Identity> {
    let text = top.required("id", "id = \"TS-2026-0147\"").and_then(|value| value.string());
    let id = text.and_then(|text| case_id(&text, claim));
    let customer = top.required("customer", "customer = \"cust-20931\"");
    let customer = customer.and_then(|value| value.string()?.line(limits::SHORT_TEXT_CHARS));
    let decided =
        top.required("decided", "decided = 2026-11-20T22:15:00Z").and_then(|value| value.timestamp());
    let decided_by =
        top.required("decided_by", "decided_by = [\"j.doe\", \"a.roe\"]").map(|value| people(&value));
    let paragraphs =
        |key| top.optional(key).and_then(|value| value.string()?.paragraphs(limits::LONG_TEXT_CHARS));
    let summary = paragraphs("summary").unwrap_or_default();
    let statement = paragraphs("statement").unwrap_or_else(|| DEFAULT_STATEMENT.to_owned());
    Some(Identity {
        id: id?,
        customer: customer?,
        decided: decided?,
        decided_by: decided_by?,
        summary,
        statement,
    })
}

fn case_id(text: &Text<'_>, claim: impl FnOnce(&CaseId, Spot<'_>)) -> Option<CaseId> {
    let id = CaseId::parse(text.as_str());
    match &id {
        Some(id) => claim(id, text.spot()),
        None => text.spot().error_with_hint(
            format_args!("`{}` is no case id", text.shown()),
            "write 1 to 64 letters, digits, `.`, `_` and `-`, like `TS-2026-0147`",
        ),
    }
    id
}

fn people(value: &Value<'_>) -> Vec<String> {
    let written = value.strings(limits::ITEMS_PER_CASE);
    if value.is_empty_list() {
        value
            .spot()
            .error_with_hint("`decided_by` names nobody", "write at least one name, like `[\"j.doe\"]`");
    }
    written.iter().filter_map(|name| name.line(limits::SHORT_TEXT_CHARS)).collect()
}

/// The basis, which other parts depend on.
pub(super) fn basis(top: &Table<'_>) -> Option<Basis> {
    let value = top.required("basis", "basis = \"terms-of-service\"")?;
    value.string()?.choice(&Basis::ALL, Basis::as_str)
}

/// What happens to a request.
pub(super) struct Effect {
    pub(super) action: Action,
    pub(super) status: u16,
    pub(super) mode: Mode,
    pub(super) page: String,
}

/// A part that is wrong has been reported and stands at its default here.
pub(super) fn effect(top: &Table<'_>, basis: Option<Basis>, files: &PolicyFiles) -> Effect {
    let word = |key| top.optional(key).and_then(|value| value.string());
    let action = word("action").and_then(|text| text.choice(&[Action::Page, Action::Refuse], Action::as_str));
    let mode = word("mode").and_then(|text| text.choice(&[Mode::Enforce, Mode::Shadow], Mode::as_str));
    let written = top.optional("status");
    let status = written.and_then(|value| status(&value, basis));
    let page_value = top.optional("page");
    let page = page_value.and_then(|value| page(&value.string()?, files));
    if action == Some(Action::Refuse) {
        for (key, value) in [("status", written), ("page", page_value)] {
            let Some(value) = value else { continue };
            let hint = format!("remove `{key}`, or write `action = \"page\"`");
            value
                .key_spot()
                .warning(format_args!("`{key}` has no effect: a refused request gets no answer"), hint);
        }
    }
    let default_status = if basis.is_some_and(Basis::is_legal) { 451 } else { 403 };
    Effect {
        action: action.unwrap_or(Action::Page),
        status: status.unwrap_or(default_status),
        mode: mode.unwrap_or(Mode::Enforce),
        page: page.unwrap_or_else(|| DEFAULT_PAGE.to_owned()),
    }
}

/// RFC 7725 §3 keeps 451 for what the law demands.
fn status(value: &Value<'_>, basis: Option<Basis>) -> Option<u16> {
    let known = "write 403, 410 or 451";
    match value.integer_or(100..=599, known).and_then(|number| u16::try_from(number).ok())? {
        451 if basis.is_some_and(|basis| !basis.is_legal()) => {
            let basis = basis.map_or("", Basis::as_str);
            let message = format!("status 451 needs a legal basis, and `{basis}` is none");
            value.spot().error_with_hint(message, "write 403 or 410, or leave `status` out");
            None
        }
        status @ (403 | 410 | 451) => Some(status),
        other => {
            value.spot().error_with_hint(format_args!("status `{other}` is not allowed"), known);
            None
        }
    }
}

fn page(text: &Text<'_>, files: &PolicyFiles) -> Option<String> {
    let name = text.as_str();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=limits::ID_CHARS).contains(&name.len()) || !name.bytes().all(allowed) {
        let message = format!("`{}` is no page name", text.shown());
        text.spot().error_with_hint(
            message,
            "write 1 to 64 letters, digits, `_` and `-`: `page = \"urgent\"` is `pages/urgent.html`",
        );
        return None;
    }
    if name == DEFAULT_PAGE || files.has(&format!("pages/{name}.html")) {
        return Some(name.to_owned());
    }
    let known =
        files.under("pages/").filter_map(|(path, _)| path.strip_prefix("pages/")?.strip_suffix(".html"));
    let message = format!("there is no page `pages/{name}.html`");
    match nearest(name, known.filter(|page| !page.contains('.')).chain([DEFAULT_PAGE])) {
        Some(near) => text.spot().error_with_hint(message, format_args!("did you mean `{near}`?")),
        None => {
            text.spot().error_with_hint(message, "add that file, or leave `page` out for the built-in one")
        }
    }
    None
}

/// When a case is in force and when somebody looks at it again.
pub(super) struct Schedule {
    pub(super) effective: Option<Timestamp>,
    pub(super) expires: Option<Timestamp>,
    pub(super) review: Option<Date>,
}

/// Nothing when the end is not after the start; a moment that could not be read has been reported.
pub(super) fn schedule(top: &Table<'_>) -> Option<Schedule> {
    let effective = top.optional("effective").and_then(|value| value.timestamp());
    let written = top.optional("expires");
    let expires = written.and_then(|value| value.timestamp());
    let review = top.optional("review").and_then(|value| value.date());
    if let (Some(start), Some(end), Some(written)) = (effective, expires, written)
        && end <= start
    {
        written.spot().error_with_hint(
            "`expires` is not after `effective`, so the case would never be in force",
            format_args!("write a moment after `{start}`"),
        );
        return None;
    }
    Some(Schedule { effective, expires, review })
}

impl Schedule {
    /// Warns of dates that contradict each other without making the case impossible.
    pub(super) fn check_against(&self, decided: Timestamp, top: &Table<'_>) {
        if let Some(written) = top.optional("expires")
            && self.expires.is_some_and(|end| end <= decided)
        {
            written.spot().warning("the case ends before it was decided", "check `expires` and `decided`");
        }
        let Some((review, written)) = self.review.zip(top.optional("review")) else { return };
        let day = |moment: Timestamp| moment.to_zoned(TimeZone::UTC).date();
        if review < day(decided) {
            written.spot().warning("the review is due before the decision", "write a later date");
        } else if self.expires.is_some_and(|end| day(end) < review) {
            written.spot().warning("the review is due after the case has ended", "write an earlier date");
        }
    }
}
