//! Two versions of one case, field by field.

use std::fmt::Display;

use serde::Serialize;

use crate::policy::{Case, Exemption};

/// A field that differs. Its value as the report shows it: empty when it is not there, lists joined by commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The key, as in a case file.
    pub field: &'static str,
    /// In the first version.
    pub before: String,
    /// In the second version.
    pub after: String,
}

/// The fields in which two versions of a case differ; its names are compared elsewhere.
#[must_use]
pub fn fields_changed(before: &Case, after: &Case) -> Vec<FieldChange> {
    let pairs = fields(before).into_iter().zip(fields(after));
    let differing = pairs.filter(|((_, before), (_, after))| before != after);
    differing.map(|((field, before), (_, after))| FieldChange { field, before, after }).collect()
}

/// Every field but `id` and the names. A field that is new in a case does not compile until it stands here.
fn fields(case: &Case) -> Vec<(&'static str, String)> {
    let Case {
        id: _,
        customer,
        basis,
        decided,
        decided_by,
        summary,
        statement,
        action,
        status,
        mode,
        effective,
        expires,
        review,
        hosts: _,
        lists: _,
        edges,
        except,
        origins,
        page,
        legal,
        exempt,
    } = case;
    let legal = legal.as_ref();
    vec![
        ("customer", customer.clone()),
        ("basis", basis.as_str().to_owned()),
        ("decided", decided.to_string()),
        ("decided_by", joined(decided_by)),
        ("summary", summary.clone()),
        ("statement", statement.clone()),
        ("action", action.as_str().to_owned()),
        ("status", status.to_string()),
        ("mode", mode.as_str().to_owned()),
        ("effective", shown(effective.as_ref())),
        ("expires", shown(expires.as_ref())),
        ("review", shown(review.as_ref())),
        ("except", joined(except)),
        ("origins", joined(origins)),
        ("edges", joined(edges)),
        ("page", page.clone()),
        ("legal.authority", legal.map(|legal| legal.authority.clone()).unwrap_or_default()),
        ("legal.reference", legal.map(|legal| legal.reference.clone()).unwrap_or_default()),
        ("legal.url", legal.and_then(|legal| legal.url.clone()).unwrap_or_default()),
        ("legal.territory", legal.map(|legal| joined(&legal.territory)).unwrap_or_default()),
        ("exempt", exempt.iter().map(exemption).collect::<Vec<_>>().join("; ")),
    ]
}

fn exemption(exemption: &Exemption) -> String {
    let Exemption { clients, reason, expires } = exemption;
    let until = expires.map(|end| format!(", until {end}")).unwrap_or_default();
    format!("{} ({reason}{until})", joined(clients))
}

fn joined<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn shown<T: Display>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}
