//! A string of a file, and the checks that make it something.

use std::str::FromStr;

use ipnet::IpNet;

use super::table::Words;
use super::value::Label;
use super::{Spot, Value};
use crate::diagnostic::{excerpt, nearest};

/// A string and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Text<'r> {
    spot: Spot<'r>,
    label: Label,
    text: &'r str,
}

impl<'r> Text<'r> {
    pub(super) fn new(spot: Spot<'r>, label: Label, text: &'r str) -> Self {
        Self { spot, label, text }
    }

    /// The string itself.
    #[must_use]
    pub fn as_str(&self) -> &'r str {
        self.text
    }

    /// Where it stands.
    #[must_use]
    pub fn spot(&self) -> Spot<'r> {
        self.spot
    }

    /// Cut and escaped, for a message.
    #[must_use]
    pub fn shown(&self) -> String {
        excerpt(self.text)
    }

    /// One line of at most `most` characters, not blank.
    #[must_use]
    pub fn line(&self, most: usize) -> Option<String> {
        let forbidden = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        self.checked(self.text, most, forbidden, "write it in one line of plain text")
    }

    /// Text of at most `most` characters that may have several lines, not blank.
    #[must_use]
    pub fn paragraphs(&self, most: usize) -> Option<String> {
        let text = self.text.replace("\r\n", "\n");
        let forbidden = |c: char| c.is_control() && c != '\n' && c != '\t';
        self.checked(text.trim_end(), most, forbidden, "only line breaks and tabs are taken")
    }

    fn checked(
        &self,
        text: &str,
        most: usize,
        forbidden: impl Fn(char) -> bool,
        hint: &str,
    ) -> Option<String> {
        let length = text.chars().count();
        if text.trim().is_empty() {
            self.spot.error(format_args!("{} is empty", self.label));
        } else if length > most {
            let message = format!("{} has {length} characters", self.label);
            self.spot.error_with_hint(message, format_args!("write at most {most}"));
        } else if let Some(bad) = text.chars().find(|c| forbidden(*c)) {
            let message = format!("{} holds a control character: `{}`", self.label, bad.escape_unicode());
            self.spot.error_with_hint(message, hint);
        } else {
            return Some(text.to_owned());
        }
        None
    }

    /// A word of a closed choice.
    #[must_use]
    pub fn choice<T: Copy>(&self, all: &[T], word: fn(T) -> &'static str) -> Option<T> {
        let known = all.iter().copied().find(|option| word(*option) == self.text);
        if known.is_none() {
            let words: Vec<_> = all.iter().copied().map(word).collect();
            let message = format!("{} cannot be `{}`", self.label, self.shown());
            match nearest(self.text, words.iter().copied()) {
                Some(near) => self.spot.error_with_hint(message, format_args!("did you mean `{near}`?")),
                None => self.spot.error_with_hint(message, format_args!("write one of {}", Words(&words))),
            }
        }
        known
    }

    /// A network: `192.0.2.0/24`, or a bare address for that address alone.
    #[must_use]
    pub fn network(&self) -> Option<IpNet> {
        let (address, bits) = self.text.split_once('/').map_or((self.text, None), |(a, b)| (a, Some(b)));
        let Ok(address) = std::net::IpAddr::from_str(address) else {
            let message = format!("`{}` is no network", self.shown());
            self.spot.error_with_hint(message, "write an address with a mask length, like `192.0.2.0/24`");
            return None;
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let plain = |bits: &&str| bits.len() <= 3 && bits.bytes().all(|byte| byte.is_ascii_digit());
        let length = match bits {
            None => Some(most),
            Some(bits) => Some(bits).filter(plain).and_then(|bits| bits.parse().ok()),
        };
        let Some(network) = length.and_then(|length| IpNet::new(address, length).ok()) else {
            let message = format!("`{}` has no valid mask length", self.shown());
            self.spot
                .error_with_hint(message, format_args!("write a number from 0 to {most} after the slash"));
            return None;
        };
        if network.trunc() != network {
            let message = format!("`{network}` has bits set below its mask");
            let hint = format!("write `{}`, or `{address}` for this address alone", network.trunc());
            self.spot.error_with_hint(message, hint);
            return None;
        }
        Some(network)
    }
}

impl Value<'_> {
    /// A list of networks.
    #[must_use]
    pub fn networks(&self, most: usize) -> Vec<IpNet> {
        self.strings(most).iter().filter_map(Text::network).collect()
    }
}
