//! Response policy zones: master files (RFC 1035 §5) whose records say what a name server answers instead.
//!
//! The owner of a record, without the name of the zone, is the name that is asked for; the target of its CNAME says
//! what happens: `.` and `*.` deny the name, `rpz-drop.` ends the query, `rpz-passthru.` lets it pass.

use std::collections::{HashMap, HashSet};

use super::importer::Taken;
use super::reason::{Omission, Reason};
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::{Form, Pattern};

/// A name of the zone file. While nothing says how the zone is called, its names are counted from its apex.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Name {
    absolute: bool,
    /// Lower case, without the dot at its end; empty for the root, or the apex.
    text: String,
}

impl Name {
    /// The part before the name of the zone; empty at its apex, nothing outside it.
    fn within(&self, zone: &Self) -> Option<&str> {
        if self.absolute != zone.absolute {
            return None;
        }
        if zone.text.is_empty() || self.text == zone.text {
            return Some(if self.text == zone.text { "" } else { &self.text });
        }
        self.text.strip_suffix(zone.text.as_str())?.strip_suffix('.')
    }
}

/// The records of one file.
#[derive(Debug, Default)]
pub(super) struct Reader {
    origin: Name,
    /// The apex, once it is known.
    zone: Option<Name>,
    /// The owner of the record before, which a line without one has as well.
    owner: Option<Name>,
    record: Record,
}

/// A record, which parentheses may spread over lines.
#[derive(Debug, Default)]
struct Record {
    words: Vec<String>,
    bytes: usize,
    /// The line it begins on.
    line: u64,
    /// Whether it begins with a blank: then it has no owner of its own.
    is_indented: bool,
    open: u32,
}

/// What a record does with its name.
enum Effect {
    Block,
    Pass,
    /// It leads the name somewhere, though a wider record denies it.
    Led(Reason, &'static str),
}

/// Types of records that lead a name to an address.
const LEADING: [&str; 6] = ["A", "AAAA", "CNAME", "DNAME", "HTTPS", "SVCB"];

impl Reader {
    pub(super) fn new(zone: Option<&Hostname>) -> Self {
        let zone = zone.map(|zone| Name { absolute: true, text: zone.as_str().to_owned() });
        Self { origin: zone.clone().unwrap_or_default(), zone, ..Self::default() }
    }

    pub(super) fn line(&mut self, text: &str, taken: &mut Taken) {
        if self.record.words.is_empty() && self.record.open == 0 {
            self.record.line = taken.line;
            self.record.is_indented = text.starts_with([' ', '\t']);
        }
        self.record.split(text);
        if self.record.bytes > limits::IMPORT_RECORD_BYTES {
            self.record.open = 0;
            self.record.words.truncate(4);
            self.refuse("more than a record may have", taken);
        } else if self.record.open == 0 {
            let record = std::mem::take(&mut self.record);
            self.take(&record, taken);
        }
    }

    pub(super) fn finish(&mut self, taken: &mut Taken) {
        if self.record.open > 0 {
            self.refuse("a parenthesis is not closed", taken);
        }
    }

    fn refuse(&mut self, detail: &str, taken: &mut Taken) {
        let record = std::mem::take(&mut self.record);
        taken.skip_at(record.line, &record.text(), Reason::Malformed, detail);
    }

    fn take(&mut self, record: &Record, taken: &mut Taken) {
        let mut words = record.words.iter().map(String::as_str);
        let owner = if record.is_indented { self.owner.clone() } else { None };
        let owner = match owner {
            Some(owner) => owner,
            None => {
                let Some(first) = words.next() else { return };
                if first.starts_with('$') {
                    return self.directive(first, words.next(), record, taken);
                }
                self.resolve(first)
            }
        };
        if record.words.is_empty() {
            return;
        }
        self.owner = Some(owner.clone());
        let mut rest = words.skip_while(|word| is_ttl(word) || is_class(word));
        let Some(kind) = rest.next().map(str::to_ascii_uppercase) else {
            return taken.skip_at(record.line, &record.text(), Reason::Malformed, "a record without a type");
        };
        if kind == "SOA" {
            self.zone.get_or_insert(owner);
            return;
        }
        let target = rest.next().unwrap_or_default();
        let acted = match (kind.as_str(), rest.next()) {
            ("CNAME", Some(_)) => Err((Reason::Malformed, "words behind the target".to_owned())),
            _ => self.act(&owner, &kind, target, taken, record),
        };
        match acted {
            Ok(()) => {}
            Err((reason, detail)) => taken.skip_at(record.line, &record.text(), reason, detail),
        }
    }

    fn directive(&mut self, name: &str, value: Option<&str>, record: &Record, taken: &mut Taken) {
        match (name.to_ascii_uppercase().as_str(), value) {
            ("$ORIGIN", Some(origin)) => self.origin = self.resolve(origin),
            ("$TTL", Some(ttl)) if is_ttl(ttl) => {}
            ("$INCLUDE", _) => taken.skip_at(record.line, &record.text(), Reason::Include, ""),
            _ => taken.skip_at(
                record.line,
                &record.text(),
                Reason::Malformed,
                "a directive of another program, or one without its value",
            ),
        }
    }

    fn resolve(&self, written: &str) -> Name {
        let lower = written.to_ascii_lowercase();
        match lower.strip_suffix('.') {
            _ if lower == "@" => self.origin.clone(),
            Some(absolute) => Name { absolute: true, text: absolute.to_owned() },
            None if self.origin.text.is_empty() => Name { absolute: self.origin.absolute, text: lower },
            None => Name { absolute: self.origin.absolute, text: format!("{lower}.{}", self.origin.text) },
        }
    }

    fn act(
        &mut self,
        owner: &Name,
        kind: &str,
        target: &str,
        taken: &mut Taken,
        record: &Record,
    ) -> Result<(), (Reason, String)> {
        if self.zone.is_none() && !self.origin.absolute {
            // A fragment without a head: its names are counted from the apex, whatever that is called.
            self.zone = Some(Name::default());
        }
        let zone = self
            .zone
            .as_ref()
            .ok_or((Reason::OutsideZone, "no SOA record says where it begins".to_owned()))?;
        let trigger = owner.within(zone).ok_or((Reason::OutsideZone, String::new()))?;
        if trigger.is_empty() {
            // What stands at the apex is about the zone itself.
            let is_alias = matches!(kind, "CNAME" | "DNAME");
            let detail = "at the apex of the zone, where it names nothing".to_owned();
            return if is_alias { Err((Reason::Malformed, detail)) } else { Ok(()) };
        }
        if is_trigger(trigger) {
            return Err((Reason::OtherTrigger, String::new()));
        }
        let is_own_name =
            |target: &str| target.strip_suffix('.') == Some(trigger) && !trigger.starts_with('*');
        let target = target.to_ascii_lowercase();
        let effect = match target.as_str() {
            // It has no address, and none comes from elsewhere.
            _ if !LEADING.contains(&kind) => return Err((Reason::LocalData, String::new())),
            // Some zones lead nowhere this way.
            "0.0.0.0" | "::" | "127.0.0.1" | "::1" if kind != "CNAME" => {
                return Err((Reason::LocalData, String::new()));
            }
            _ if kind != "CNAME" => Effect::Led(Reason::LocalData, ""),
            "." | "*." | "rpz-drop." => Effect::Block,
            "rpz-passthru." => Effect::Pass,
            "rpz-tcp-only." => Effect::Led(Reason::OtherAction, ""),
            // The old way to write `rpz-passthru.`
            own if is_own_name(own) => Effect::Pass,
            "rpz-passthru" | "rpz-drop" | "rpz-tcp-only" => {
                Effect::Led(Reason::LocalData, "the dot at its end is missing")
            }
            _ => Effect::Led(Reason::LocalData, ""),
        };
        let (form, name) = match trigger.strip_prefix("*.") {
            Some(name) => (Form::Below, name),
            None if trigger == "*" => return Err((Reason::Everything, String::new())),
            None => (Form::Exact, trigger),
        };
        let text = record.text();
        let Some(name) = taken.dns_name(name, &text) else { return Ok(()) };
        let pattern = Pattern { form, name };
        match effect {
            Effect::Block => taken.block(pattern, &text),
            Effect::Pass => taken.except(pattern, &text),
            Effect::Led(reason, detail) => {
                taken.pass(pattern);
                return Err((reason, detail.to_owned()));
            }
        }
        Ok(())
    }
}

impl Record {
    fn text(&self) -> String {
        self.words.join(" ")
    }

    /// Takes the words of one more line. Quotes keep blanks and semicolons, a backslash keeps what follows it.
    fn split(&mut self, text: &str) {
        self.bytes += text.len();
        let mut word = String::new();
        let mut is_quoted = false;
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => {
                    word.push('\\');
                    word.extend(characters.next());
                }
                '"' => {
                    is_quoted = !is_quoted;
                    word.push('"');
                }
                _ if is_quoted => word.push(character),
                ';' => break,
                '(' | ')' | ' ' | '\t' => {
                    self.end(&mut word);
                    match character {
                        '(' => self.open = self.open.saturating_add(1),
                        ')' => self.open = self.open.saturating_sub(1),
                        _ => {}
                    }
                }
                _ => word.push(character),
            }
        }
        self.end(&mut word);
    }

    fn end(&mut self, word: &mut String) {
        if !word.is_empty() {
            self.words.push(std::mem::take(word));
        }
    }
}

/// Whether this is the name of a rule about addresses, clients or name servers: `32.1.2.0.192.rpz-ip`.
fn is_trigger(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| last.starts_with("rpz-"))
}

/// `3600`, `1h30m`.
fn is_ttl(word: &str) -> bool {
    let unit = |c: char| c.is_ascii_digit() || "smhdwSMHDW".contains(c);
    word.starts_with(|c: char| c.is_ascii_digit()) && word.chars().all(unit)
}

fn is_class(word: &str) -> bool {
    ["IN", "CH", "HS", "CS"].iter().any(|class| class.eq_ignore_ascii_case(word))
}

/// `a.example` beside `*.a.example` is `.a.example`.
pub(super) fn joined(patterns: Vec<Pattern>) -> Vec<Pattern> {
    let named =
        |form| patterns.iter().filter(move |pattern| pattern.form == form).map(|pattern| &pattern.name);
    let exact: HashSet<&Hostname> = named(Form::Exact).collect();
    let mut both: HashMap<Hostname, bool> =
        named(Form::Below).filter(|name| exact.contains(name)).map(|name| (name.clone(), false)).collect();
    let mut joined = Vec::with_capacity(patterns.len() - both.len());
    for pattern in patterns {
        match both.get_mut(&pattern.name) {
            Some(is_there) if *is_there => {}
            Some(is_there) => {
                *is_there = true;
                joined.push(Pattern { form: Form::Subtree, name: pattern.name });
            }
            None => joined.push(pattern),
        }
    }
    joined
}

/// The records that a zone begins with. Its name is that of the name server's configuration.
pub(super) fn head(serial: u32) -> String {
    format!(
        "$TTL 300\n@ IN SOA localhost. hostmaster.localhost. ({serial} 3600 600 86400 300)\n@ IN NS localhost.\n"
    )
}

pub(super) fn write(pattern: &Pattern, into: &mut String) -> Result<(), Omission> {
    let name = pattern.name.as_str();
    if pattern.name.ip().is_some() {
        return Err(Omission::Address);
    }
    if is_trigger(name) {
        return Err(Omission::Reserved);
    }
    if name.len() > limits::RPZ_NAME_OCTETS {
        return Err(Omission::TooLong);
    }
    if pattern.form != Form::Below {
        into.extend([name, " CNAME .\n"]);
    }
    if pattern.form != Form::Exact {
        into.extend(["*.", name, " CNAME .\n"]);
    }
    Ok(())
}
