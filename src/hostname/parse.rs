//! Names: from any spelling to canonical text.

use std::borrow::Cow;

use idna::punycode::decode_to_string;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::error::excerpt;
use super::{Hostname, HostnameError, MAX_INPUT_OCTETS, MAX_LABEL_OCTETS, MAX_NAME_OCTETS, address};

/// All of ASCII but letters, digits, hyphen, underscore and dot. It is applied after mapping, so that a full-width
/// `／` or `％` is refused like the plain one.
const DENIED: AsciiDenyList = AsciiDenyList::new(true, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// Reads octets off the wire as text.
pub(super) fn utf8(text: &[u8]) -> Result<&str, HostnameError> {
    std::str::from_utf8(text).map_err(|_| HostnameError::NotUtf8)
}

/// Reads a host: a name or an IP literal, without a port.
pub(super) fn host(text: &str) -> Result<Hostname, HostnameError> {
    if is_canonical(text) {
        return Ok(Hostname(text.into()));
    }
    if text.len() > MAX_INPUT_OCTETS {
        return Err(HostnameError::NameTooLong { octets: text.len() });
    }
    if text.starts_with('[') || text.contains(':') {
        return address::with_colon(text);
    }
    // UTS 46 changes nothing but letter case in ASCII, unless a label claims to be encoded.
    if !text.is_ascii() || text.split('.').any(is_encoded) {
        let ascii = to_ascii(text).map_err(|_| blame(text))?;
        if let Some(label) = ascii.split('.').find(|label| is_encoded_twice(label)) {
            return Err(HostnameError::Idna { label: excerpt(label) });
        }
        return settle(&ascii);
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return host(&text.to_ascii_lowercase());
    }
    settle(text)
}

/// Whether a text is a plain name in its canonical text, as most are: one pass, and nothing is left to check. A name
/// that may be encoded or end in a number is not for this pass to judge.
fn is_canonical(text: &str) -> bool {
    let (mut octets, mut previous, mut begins_with_digit) = (0, b'.', false);
    for &byte in text.as_bytes() {
        match byte {
            b'.' if octets == 0 => return false,
            b'.' => octets = 0,
            // `ab--c` is no A-label, but few names are like it.
            b'-' if octets == 3 && previous == b'-' => return false,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' if octets < MAX_LABEL_OCTETS => {
                if octets == 0 {
                    begins_with_digit = byte.is_ascii_digit();
                }
                octets += 1;
            }
            _ => return false,
        }
        previous = byte;
    }
    octets > 0 && !begins_with_digit && text.len() <= MAX_NAME_OCTETS
}

fn to_ascii(text: &str) -> Result<Cow<'_, str>, idna::Errors> {
    Uts46::new().to_ascii(text.as_bytes(), DENIED, Hyphens::Allow, DnsLength::Ignore)
}

/// Whether a label says of itself that it is an A-label.
fn is_encoded(label: &str) -> bool {
    label.as_bytes().get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"xn--"))
}

/// Whether an A-label holds a text that again says it is an A-label, which UTS 46 §4.1 step 4 forbids. The crate leaves
/// that step to its check of hyphens, which we do without.
fn is_encoded_twice(label: &str) -> bool {
    let encoded = label.strip_prefix("xn--").filter(|encoded| encoded.starts_with("xn--"));
    encoded.and_then(decode_to_string).is_some_and(|decoded| decoded.starts_with("xn--"))
}

/// Checks a mapped, lower-case name, its trailing dot still on. Every name passes through here, whichever way it came.
fn settle(name: &str) -> Result<Hostname, HostnameError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(HostnameError::Empty);
    }
    if let Some(error) = forbidden(name) {
        return Err(error);
    }
    if name.len() > MAX_NAME_OCTETS {
        return Err(HostnameError::NameTooLong { octets: name.len() });
    }
    for label in name.split('.') {
        match label.len() {
            0 => return Err(HostnameError::EmptyLabel),
            1..=MAX_LABEL_OCTETS => {}
            octets => return Err(HostnameError::LabelTooLong { label: excerpt(label), octets }),
        }
    }
    if address::ends_in_number(name) {
        return address::dotted_quad(name);
    }
    Ok(Hostname(name.into()))
}

/// The first character that no name has.
fn forbidden(name: &str) -> Option<HostnameError> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.as_bytes().iter().all(allowed) {
        return None;
    }
    let denied = |character: &char| u8::try_from(*character).map_or(true, |byte| !allowed(&byte));
    name.chars().find(denied).map(|character| match character {
        '%' => HostnameError::PercentEncoded,
        '@' => HostnameError::Userinfo,
        _ => HostnameError::Character { character },
    })
}

/// Says why UTS 46 refused `text`: a character that is plain to see, else the label it stumbles on.
fn blame(text: &str) -> HostnameError {
    let plain: String = text.chars().filter(char::is_ascii).collect();
    if let Some(error) = forbidden(&plain) {
        return error;
    }
    // The bidi rule looks across labels: then no single label is to blame, and the whole name is shown.
    let label = text.split('.').find(|label| to_ascii(label).is_err()).unwrap_or(text);
    HostnameError::Idna { label: excerpt(label) }
}
