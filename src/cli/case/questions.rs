//! The questions of a case file, and how an answer is written into it.

/// One question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// The key it is about.
    pub(super) key: &'static str,
    pub(super) text: &'static str,
    pub(super) shape: Shape,
    /// Whether it may be left unanswered.
    pub(super) is_needed: bool,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A text of one line.
    Text,
    /// A number, a day or a moment, which TOML writes without quotes.
    Bare,
    /// Texts with commas between them.
    People,
    /// Texts with commas or blanks between them.
    Items,
}

const fn needed(key: &'static str, shape: Shape, text: &'static str) -> Question {
    Question { key, text, shape, is_needed: true }
}

const fn optional(key: &'static str, shape: Shape, text: &'static str) -> Question {
    Question { key, text, shape, is_needed: false }
}

/// Who, why and what is said of it.
pub(super) const DECISION: [Question; 7] = [
    needed(
        "id",
        Shape::Text,
        "What is the case called? A number that is never used again, like TS-2026-0147",
    ),
    needed("customer", Shape::Text, "Which customer?"),
    needed(
        "basis",
        Shape::Text,
        "Why? court-order, regulator-order, sanctions, copyright; imminent-threat, terms-of-service, abuse, fraud, \
         non-payment or customer-request",
    ),
    optional("decided", Shape::Bare, "When was it decided? Like 2026-11-20T22:15:00Z; nothing means now"),
    needed("decided_by", Shape::People, "Who decided? With commas between the names"),
    optional("summary", Shape::Text, "What happened? For your own records only"),
    optional("statement", Shape::Text, "What do visitors read?"),
];

/// The order behind it, asked for when the basis is a legal one.
pub(super) const ORDER: [Question; 4] = [
    needed("authority", Shape::Text, "Which court, authority or rights holder ordered it?"),
    needed("reference", Shape::Text, "Under which reference?"),
    optional("url", Shape::Text, "Where can the order be read? A URL"),
    optional(
        "territory",
        Shape::Items,
        "Does it hold in some networks only? Like 198.51.100.0/24; nothing means everywhere",
    ),
];

/// What happens, and when.
pub(super) const EFFECT: [Question; 7] = [
    optional("action", Shape::Text, "What happens? page (the default) or refuse"),
    optional(
        "status",
        Shape::Bare,
        "Which status has the page? 403, 410 or 451; nothing means what fits the basis",
    ),
    optional("page", Shape::Text, "Which page? NAME is pages/NAME.html; nothing means the built-in one"),
    optional("mode", Shape::Text, "Is it carried out? enforce (the default) or shadow, which only watches"),
    optional("effective", Shape::Bare, "From when on? Nothing means at once"),
    optional("expires", Shape::Bare, "Until when? Nothing means until it is taken back"),
    optional("review", Shape::Bare, "When is it to be looked at again? A day, like 2026-12-20"),
];

/// What it concerns.
pub(super) const CONCERNS: [Question; 3] = [
    optional(
        "hosts",
        Shape::Items,
        "Which hosts? a.example, .a.example (and all below) or *.a.example (all below)",
    ),
    optional("host_lists", Shape::Items, "Which lists of hosts? Like lists/forum-mirrors.txt"),
    optional("origins", Shape::Items, "Into which networks is no connection opened? Like 203.0.113.0/24"),
];

/// Asked when there are lists.
pub(super) const LISTS: Question = optional(
    "on_bad_entry",
    Shape::Text,
    "And lines of a list that are no host? refuse (the default) or skip",
);

/// Asked when there are hosts or lists.
pub(super) const EXCEPT: Question = optional("except", Shape::Items, "Which names does it never touch?");

/// One exemption.
pub(super) const CLIENTS: Question = optional(
    "clients",
    Shape::Items,
    "Which clients are let through? Like 192.0.2.0/24; nothing means no more",
);
pub(super) const REASON: Question = needed("reason", Shape::Text, "Why are they let through?");
pub(super) const EXEMPT_UNTIL: Question =
    optional("expires", Shape::Bare, "Until when? Nothing means as long as the case");

impl Shape {
    /// The answer as a value of a case file.
    pub(super) fn value(self, answer: &str) -> String {
        let list = |separator: &[char]| {
            let items = answer.split(separator).map(str::trim).filter(|item| !item.is_empty());
            format!("[{}]", items.map(quoted).collect::<Vec<_>>().join(", "))
        };
        match self {
            Self::Text => quoted(answer),
            Self::Bare if answer.bytes().all(is_bare) => answer.to_owned(),
            // Nothing else can be a number or a moment: in quotes, the parser says what it should have been.
            Self::Bare => quoted(answer),
            Self::People => list(&[',']),
            Self::Items => list(&[',', ' ', '\t']),
        }
    }
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'+' | b'-' | b'.')
}

/// A TOML basic string. Its escapes are those of JSON, and one more: DEL.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_read_back_as_it_was() {
        for text in ["", "a \"b\" \\ c", "tab\tline\nbell\u{7}del\u{7f}", "ü \u{202e} 🔒"] {
            let file: toml::Table = format!("a = {}", quoted(text)).parse().unwrap();
            assert_eq!(file["a"].as_str(), Some(text));
        }
    }

    #[test]
    fn an_answer_cannot_bring_a_key_of_its_own() {
        assert_eq!(Shape::Bare.value("2026-01-01 # x"), "\"2026-01-01 # x\"");
        assert_eq!(
            Shape::Items.value("a.example, .b.example  c\"]"),
            r#"["a.example", ".b.example", "c\"]"]"#
        );
        assert_eq!(Shape::People.value("J. Doe, A. Roe,"), r#"["J. Doe", "A. Roe"]"#);
    }
}
