//! Ten million names that look like those of real lists: words, hyphens, digits, few suffixes, many under one domain.

use std::fmt::Write;

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
pub struct Generated(u64);

impl Generated {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn word(&mut self, name: &mut String) {
        for _ in 0..2 + self.below(3) {
            let at = self.below(SYLLABLES.len() as u64);
            name.push_str(SYLLABLES[at as usize]);
        }
    }

    /// Appends a line with a name of 8 to 50 octets.
    pub fn line(&mut self, text: &mut String) {
        if self.below(4) == 0 {
            text.push_str(["www.", "m.", "login.", "mail."][self.below(4) as usize]);
        }
        self.word(text);
        if self.below(3) == 0 {
            text.push('-');
            self.word(text);
        }
        if self.below(3) == 0 {
            let number = self.below(10_000);
            write!(text, "{number}").unwrap();
        }
        let mut share = self.below(100);
        let suffix = SUFFIXES.iter().find(|(_, weight)| {
            let found = share < *weight;
            share = share.saturating_sub(*weight);
            found
        });
        writeln!(text, ".{}", suffix.map_or("com", |(suffix, _)| *suffix)).unwrap();
    }
}
