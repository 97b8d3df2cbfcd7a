//! A case file written from its parts.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::civil::Date;

/// What a new case file is to say. Nothing of it is checked here: the text is read by the code that reads every case
/// file, which says what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaseDraft {
    /// `id`.
    pub id: String,
    /// `customer`.
    pub customer: String,
    /// `basis`.
    pub basis: String,
    /// `decided`.
    pub decided: Timestamp,
    /// `decided_by`.
    pub decided_by: Vec<String>,
    /// `summary`.
    pub summary: Option<String>,
    /// `statement`.
    pub statement: Option<String>,
    /// `action`.
    pub action: Option<String>,
    /// `status`.
    pub status: Option<u16>,
    /// `mode`.
    pub mode: Option<String>,
    /// `effective`.
    pub effective: Option<Timestamp>,
    /// `expires`.
    pub expires: Option<Timestamp>,
    /// `review`.
    pub review: Option<Date>,
    /// `hosts`.
    pub hosts: Vec<String>,
    /// `host_lists`.
    pub host_lists: Vec<String>,
    /// `on_bad_entry`.
    pub on_bad_entry: Option<String>,
    /// `except`.
    pub except: Vec<String>,
    /// `origins`.
    pub origins: Vec<String>,
    /// `edges`.
    pub edges: Vec<String>,
    /// `page`.
    pub page: Option<String>,
    /// `[legal]`, when any of it is there.
    pub legal: LegalDraft,
}

/// What a new case file is to say of the order behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegalDraft {
    /// `authority`.
    pub authority: Option<String>,
    /// `reference`.
    pub reference: Option<String>,
    /// `url`.
    pub url: Option<String>,
    /// `territory`.
    pub territory: Vec<String>,
}

impl CaseDraft {
    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut file = Toml::default();
        file.text("id", &self.id);
        file.text("customer", &self.customer);
        file.text("basis", &self.basis);
        file.line("decided", &self.decided.to_string());
        file.texts("decided_by", &self.decided_by);
        file.optional("summary", self.summary.as_deref());
        file.optional("statement", self.statement.as_deref());
        file.optional("action", self.action.as_deref());
        file.bare("status", self.status);
        file.optional("mode", self.mode.as_deref());
        file.bare("effective", self.effective);
        file.bare("expires", self.expires);
        file.bare("review", self.review);
        file.texts("hosts", &self.hosts);
        file.texts("host_lists", &self.host_lists);
        file.optional("on_bad_entry", self.on_bad_entry.as_deref());
        file.texts("except", &self.except);
        file.texts("origins", &self.origins);
        file.texts("edges", &self.edges);
        file.optional("page", self.page.as_deref());
        if self.legal != LegalDraft::default() {
            file.0.push_str("\n[legal]\n");
            file.optional("authority", self.legal.authority.as_deref());
            file.optional("reference", self.legal.reference.as_deref());
            file.optional("url", self.legal.url.as_deref());
            file.texts("territory", &self.legal.territory);
        }
        file.0
    }
}

/// Lines of TOML 1.0. Writing into a `String` cannot fail.
#[derive(Default)]
struct Toml(String);

impl Toml {
    fn line(&mut self, key: &str, value: &str) {
        writeln!(self.0, "{key} = {value}").ok();
    }

    fn text(&mut self, key: &str, text: &str) {
        self.line(key, &quoted(text));
    }

    fn optional(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn bare(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.line(key, &value.to_string());
        }
    }

    /// One text a line when there are several: such lists are read and compared by people.
    fn texts(&mut self, key: &str, texts: &[String]) {
        match texts {
            [] => {}
            [only] => self.line(key, &format!("[{}]", quoted(only))),
            several => {
                let lines: String = several.iter().map(|text| format!("    {},\n", quoted(text))).collect();
                self.line(key, &format!("[\n{lines}]"));
            }
        }
    }
}

/// A basic string (TOML 1.0, "String"): whatever the text holds, it ends where it should.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            control if control.is_control() => {
                write!(quoted, "\\u{:04X}", u32::from(control)).ok();
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{PolicyFiles, parse_cases};
    use proptest::prelude::*;

    fn draft() -> CaseDraft {
        let all = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        CaseDraft {
            id: "TS-1".to_owned(),
            customer: "cust-1".to_owned(),
            basis: "court-order".to_owned(),
            decided: "2026-11-20T22:15:00.25Z".parse().unwrap(),
            decided_by: all(&["j.doe", "a.roe"]),
            hosts: all(&["a.example"]),
            legal: LegalDraft {
                authority: Some("Court".to_owned()),
                reference: Some("1 O 2/26".to_owned()),
                ..LegalDraft::default()
            },
            ..CaseDraft::default()
        }
    }

    fn read(draft: &CaseDraft) -> crate::policy::Case {
        let mut files = PolicyFiles::new();
        files.insert("cases/a.toml", draft.to_toml().into_bytes());
        // The second line would be an error, were it not to be skipped.
        files.insert("lists/l.txt", b"l.example\nno name\n".to_vec());
        files.insert("pages/urgent.html", Vec::new());
        let (mut cases, found) = parse_cases(&files);
        assert!(!found.has_errors(), "{found}\n{}", draft.to_toml());
        cases.pop().unwrap()
    }

    #[test]
    fn every_key_is_written_as_it_is_read() {
        let all = |texts: &[&str]| -> Vec<String> { texts.iter().map(|&text| text.to_owned()).collect() };
        let full = CaseDraft {
            summary: Some("inside".to_owned()),
            statement: Some("outside\nin two lines".to_owned()),
            action: Some("page".to_owned()),
            status: Some(410),
            mode: Some("shadow".to_owned()),
            effective: Some("2026-11-21T00:00:00Z".parse().unwrap()),
            expires: Some("2027-11-21T00:00:00Z".parse().unwrap()),
            review: Some("2026-12-20".parse().unwrap()),
            hosts: all(&["a.example", "*.b.example"]),
            host_lists: all(&["lists/l.txt"]),
            on_bad_entry: Some("skip".to_owned()),
            edges: all(&["fra-*", "ams-1"]),
            except: all(&["x.b.example"]),
            origins: all(&["203.0.113.0/24"]),
            page: Some("urgent".to_owned()),
            legal: LegalDraft {
                url: Some("https://example.org/1".to_owned()),
                territory: all(&["192.0.2.0/24", "198.51.100.0/24"]),
                ..draft().legal
            },
            ..draft()
        };
        let case = read(&full);
        assert_eq!((case.summary.as_str(), case.statement.as_str()), ("inside", "outside\nin two lines"));
        assert_eq!((case.status, case.mode.as_str(), case.page.as_str()), (410, "shadow", "urgent"));
        assert_eq!((case.effective, case.expires, case.review), (full.effective, full.expires, full.review));
        assert_eq!(case.decided, full.decided);
        assert_eq!(case.decided_by, ["j.doe", "a.roe"]);
        assert_eq!((case.pattern_count(), case.except.len(), case.origins.len()), (3, 1, 1));
        assert_eq!(case.edges.iter().map(ToString::to_string).collect::<Vec<_>>(), full.edges);
        let legal = case.legal.unwrap();
        assert_eq!((legal.url.as_deref(), legal.territory.len()), (Some("https://example.org/1"), 2));
    }

    proptest! {
        #[test]
        fn a_text_is_read_back_as_it_was_and_never_leaves_its_quotes(text in any::<String>()) {
            let line = format!("text = {}", quoted(&text));
            let table: toml::Table = line.parse().unwrap();
            prop_assert_eq!(table.len(), 1);
            prop_assert_eq!(table["text"].as_str(), Some(text.as_str()));
        }
    }
}
