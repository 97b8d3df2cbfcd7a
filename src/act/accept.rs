//! Content negotiation (RFC 9110 §12.5): `Accept` and `Accept-Language`.
//!
//! A header that nobody can be served by, or that makes no sense, gets the default: a block is always
//! answered (RFC 9110 §12.4.1 allows it). Work is bounded by [`limits::ACCEPT_ELEMENTS`].

use crate::limits;

/// The forms an answer comes in, in the order of preference among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A page for people.
    Html,
    /// `application/problem+json`.
    Problem,
    /// `text/plain`.
    Text,
}

/// How well an offer is liked: by its weight in thousandths, and among equals by how precisely it was
/// asked for. `application/json, text/plain, */*`, which much JavaScript sends, means JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Liking {
    weight: u16,
    precision: u8,
}

/// The form to answer with.
pub(super) fn form(accept: &[u8]) -> Form {
    // What most programs send, and what they leave out.
    if matches!(accept, b"" | b"*/*") {
        return Form::Html;
    }
    let offers = [
        (Form::Html, &["text/html"][..]),
        (Form::Problem, &["application/problem+json", "application/json"]),
        (Form::Text, &["text/plain"]),
    ];
    let mut best = (Form::Html, Liking::default());
    for (form, names) in offers {
        let liking =
            names.iter().filter_map(|name| liking(accept, |range| media_precision(range, name))).max();
        if let Some(liking) = liking.filter(|liking| liking.weight > 0 && *liking > best.1) {
            best = (form, liking);
        }
    }
    best.0
}

/// The position of the language to answer in, of several offered; the first one if none is asked for.
/// Among languages of one weight, the one that the client named first.
pub(super) fn language<'o>(accept_language: &[u8], offered: impl Iterator<Item = &'o str>) -> usize {
    let mut best = (0, 0, usize::MAX);
    for (at, offer) in offered.enumerate() {
        let found = best_element(accept_language, |range| language_precision(range, offer));
        if let Some((place, liking)) = found
            && liking.weight > 0
            && (liking.weight > best.1 || (liking.weight == best.1 && place < best.2))
        {
            best = (at, liking.weight, place);
        }
    }
    best.0
}

/// The weight of the most precise range that matches, which is the one that counts (RFC 9110 §12.5.1).
fn liking(header: &[u8], precision: impl Fn(&[u8]) -> Option<u8>) -> Option<Liking> {
    best_element(header, precision).map(|(_, liking)| liking)
}

/// The most precise element that matches, and its place in the header.
fn best_element(header: &[u8], precision: impl Fn(&[u8]) -> Option<u8>) -> Option<(usize, Liking)> {
    let mut best: Option<(usize, Liking)> = None;
    for (place, element) in header.split(|octet| *octet == b',').take(limits::ACCEPT_ELEMENTS).enumerate() {
        let mut parts = element.split(|octet| *octet == b';').map(<[u8]>::trim_ascii);
        let range = parts.next().unwrap_or_default();
        if let Some(precision) = precision(range)
            && best.is_none_or(|(_, liking)| precision > liking.precision)
            && let Some(weight) = weight(parts)
        {
            best = Some((place, Liking { weight, precision }));
        }
    }
    best
}

/// The `q` among the parameters, in thousandths: 1000 when there is none, `None` when it is no weight.
fn weight<'h>(mut parameters: impl Iterator<Item = &'h [u8]>) -> Option<u16> {
    let Some(q) = parameters.find_map(|one| one.strip_prefix(b"q=").or_else(|| one.strip_prefix(b"Q=")))
    else {
        return Some(1000);
    };
    let (whole, rest) = q.split_first()?;
    let decimals = if rest.is_empty() { rest } else { rest.strip_prefix(b".")? };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = decimals.iter().copied().chain(std::iter::repeat(b'0')).take(3);
    let fraction = padded.fold(0, |sum: u16, digit| sum * 10 + u16::from(digit - b'0'));
    match (whole, fraction) {
        (b'0', _) => Some(fraction),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

fn media_precision(range: &[u8], offer: &str) -> Option<u8> {
    let offer = offer.as_bytes();
    let kind = offer.split(|octet| *octet == b'/').next().unwrap_or_default();
    match range {
        b"*/*" => Some(0),
        _ if range.eq_ignore_ascii_case(offer) => Some(2),
        _ if range.strip_suffix(b"/*").is_some_and(|given| given.eq_ignore_ascii_case(kind)) => Some(1),
        _ => None,
    }
}

/// `de` covers `de-AT` (RFC 4647 §3.3.1), and an offered `de` will do for who asked for `de-AT` (§3.4).
fn language_precision(range: &[u8], offer: &str) -> Option<u8> {
    let offer = offer.as_bytes();
    let begins = |long: &[u8], short: &[u8]| {
        !short.is_empty()
            && long.get(..short.len()).is_some_and(|start| start.eq_ignore_ascii_case(short))
            && long.get(short.len()) == Some(&b'-')
    };
    match range {
        b"*" => Some(0),
        _ if range.eq_ignore_ascii_case(offer) => Some(3),
        _ if begins(offer, range) => Some(2),
        _ if begins(range, offer) => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, form, language};

    #[test]
    fn the_form_is_the_one_asked_for() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        let table = [
            ("", Form::Html),
            ("*/*", Form::Html),
            (browser, Form::Html),
            ("application/json", Form::Problem),
            ("Application/Problem+JSON", Form::Problem),
            ("application/*", Form::Problem),
            ("text/plain", Form::Text),
            ("text/*", Form::Html),
            ("application/json, text/plain, */*", Form::Problem),
            ("text/plain, */*;q=0.1", Form::Text),
            ("text/html;q=0.4, application/json;q=0.5", Form::Problem),
            ("text/html;q=0, */*", Form::Problem),
            ("text/html;q=0, application/json;q=0, application/problem+json;q=0, */*", Form::Text),
            ("application/problem+json;q=0, application/json;q=0.3, text/plain;q=0.2", Form::Problem),
            ("*/*;q=0", Form::Html),
            ("image/png", Form::Html),
            ("text/html;level=1;q=0.1, text/plain;q=0.2", Form::Text),
            ("text/plain ; Q=0.9 , text/html ; q=0.899", Form::Text),
            ("text/plain;q=1.000,text/html;q=0.999", Form::Text),
            ("text/html;q=0.1, text/html, text/plain;q=0.5", Form::Text),
            ("text/plain;q=2, text/html;q=0.1", Form::Html),
            ("text/plain;q=1.001, text/html;q=0.1", Form::Html),
            ("text/plain;q=, text/html;q=0.1", Form::Html),
            ("text/plain;q=0.0001, application/json;q=0.1", Form::Problem),
            (",,;;,=,/,\u{0},text/plain", Form::Text),
        ];
        for (accept, expected) in table {
            assert_eq!(form(accept.as_bytes()), expected, "{accept:?}");
        }
        assert_eq!(form(b"\xff\xfe/\xff, text/plain"), Form::Text);
    }

    #[test]
    fn only_the_first_elements_count() {
        let long = "a/b,".repeat(super::limits::ACCEPT_ELEMENTS) + "text/plain";
        assert_eq!(form(long.as_bytes()), Form::Html);
    }

    #[test]
    fn the_language_is_the_one_liked_best() {
        let table: [(&str, &[&str], usize); 16] = [
            ("", &["en", "de"], 0),
            ("*", &["en", "de"], 0),
            ("de", &["en", "de"], 1),
            ("DE-at, en;q=0.5", &["en", "de"], 1),
            ("de-AT,de;q=0.9,en;q=0.8", &["en", "de"], 1),
            ("fr", &["en", "de"], 0),
            ("fr, *;q=0.5", &["en", "de"], 0),
            ("en;q=0, *", &["en", "de"], 1),
            ("en;q=0", &["en"], 0),
            ("de, en", &["en", "de"], 1),
            ("en, de", &["en", "de"], 0),
            ("zh", &["en", "zh-Hant"], 1),
            ("zh-Hans", &["en", "zh-Hant"], 0),
            ("d", &["en", "de"], 0),
            ("den", &["en", "de"], 0),
            ("de;q=0.1, en;q=0.11", &["de", "en"], 1),
        ];
        for (header, offered, expected) in table {
            assert_eq!(
                language(header.as_bytes(), offered.iter().copied()),
                expected,
                "{header:?} of {offered:?}"
            );
        }
    }
}
