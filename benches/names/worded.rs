//! Names that look like those of real lists: words, hyphens, digits, few suffixes, many under one domain.

use std::fmt::Write;

use super::dice::Dice;

const SYLLABLES: [&str; 64] = [
    "ba", "shop", "net", "lo", "gin", "pay", "mi", "cro", "soft", "app", "le", "face", "book", "in", "sta",
    "gram", "bit", "coin", "wal", "let", "se", "cure", "ac", "count", "ve", "ri", "fy", "up", "date", "ser",
    "vice", "web", "mail", "host", "cloud", "free", "best", "on", "line", "ca", "si", "no", "play", "mo",
    "vie", "stream", "ma", "ru", "ko", "ten", "za", "de", "al", "pha", "be", "ta", "ga", "ming", "tra",
    "vel", "go", "ods", "ware", "zone",
];
const SUFFIXES: [(&str, u64); 12] = [
    ("com", 45),
    ("net", 8),
    ("org", 6),
    ("xyz", 6),
    ("ru", 6),
    ("top", 5),
    ("info", 5),
    ("de", 4),
    ("co.uk", 4),
    ("cn", 4),
    ("online", 4),
    ("shop", 3),
];

/// An endless supply; the same everywhere.
pub(crate) struct Worded(Dice);

impl Worded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Dice::new(seed))
    }

    fn word(&mut self, name: &mut String) {
        for _ in 0..2 + self.0.below(3) {
            let at = self.0.below(SYLLABLES.len() as u64);
            name.push_str(SYLLABLES[at as usize]);
        }
    }

    /// Appends a line with a name of 8 to 50 octets.
    pub(crate) fn line(&mut self, text: &mut String) {
        if self.0.below(4) == 0 {
            text.push_str(["www.", "m.", "login.", "mail."][self.0.below(4) as usize]);
        }
        self.word(text);
        if self.0.below(3) == 0 {
            text.push('-');
            self.word(text);
        }
        if self.0.below(3) == 0 {
            let number = self.0.below(10_000);
            write!(text, "{number}").unwrap();
        }
        let mut share = self.0.below(100);
        let suffix = SUFFIXES.iter().find(|(_, weight)| {
            let found = share < *weight;
            share = share.saturating_sub(*weight);
            found
        });
        writeln!(text, ".{}", suffix.map_or("com", |(suffix, _)| *suffix)).unwrap();
    }
}
