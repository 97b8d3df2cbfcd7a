//! Tests of names.

use std::collections::HashMap;

use super::*;

/// Holds a table of `tests/cases/hostname` against what is really read from each spelling.
fn holds(table: &str, read: impl Fn(&str) -> Result<String, HostnameError>) {
    let mut lines = 0;
    for line in table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let sign = [" -> ", " ! "].into_iter().find_map(|sign| line.find(sign)).expect(line);
        let (written, expected) = line.split_at(sign);
        let found = match read(&spelled_out(written)) {
            Ok(host) => format!(" -> {host}"),
            Err(error) => match error.hint() {
                Some(hint) => format!(" ! {error} ({hint})"),
                None => format!(" ! {error}"),
            },
        };
        let expected = expected.replace("{126*a.}", &"a.".repeat(126));
        assert_eq!(found, expected, "`{written}`");
        lines += 1;
    }
    assert!(lines > 30, "only {lines} lines");
}

/// Puts `\u{20}` and `{3*a}` into full; other braces stay.
fn spelled_out(written: &str) -> String {
    let full = |(before, rest): (&str, &str)| {
        let (inner, after) = rest.split_once('}')?;
        if let Some(before) = before.strip_suffix("\\u") {
            let character = char::from_u32(u32::from_str_radix(inner, 16).ok()?)?;
            return Some(format!("{before}{character}{}", spelled_out(after)));
        }
        let (count, text) = inner.split_once('*')?;
        Some(format!("{before}{}{}", text.repeat(count.parse().ok()?), spelled_out(after)))
    };
    written.split_once('{').and_then(full).unwrap_or_else(|| written.to_owned())
}

fn host(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
}

#[test]
fn every_spelling_of_the_table_is_read_as_it_says() {
    let read = |text: &str| Hostname::parse(text).map(|host| host.to_string());
    holds(include_str!("../../tests/cases/hostname/names.txt"), read);
}

#[test]
fn every_authority_of_the_table_is_read_as_it_says() {
    let read = |text: &str| {
        let (host, port) = Hostname::parse_authority(text.as_bytes())?;
        let port = port.map_or_else(|| "-".to_owned(), |port| port.to_string());
        Ok(format!("{host} {port}"))
    };
    holds(include_str!("../../tests/cases/hostname/authorities.txt"), read);
}

#[test]
fn nothing_is_no_host() {
    assert_eq!(Hostname::parse(""), Err(HostnameError::Empty));
    assert_eq!(Hostname::parse("\u{ad}"), Err(HostnameError::Empty));
    assert_eq!(Hostname::parse_authority(b""), Err(HostnameError::Empty));
}

#[test]
fn octets_that_are_no_text_are_no_host() {
    assert_eq!(Hostname::parse_bytes(b"b\xfccher.example"), Err(HostnameError::NotUtf8));
    assert_eq!(Hostname::parse_authority(b"b\xfccher.example:80"), Err(HostnameError::NotUtf8));
}

#[test]
fn padding_that_unicode_ignores_is_bounded() {
    let padded = |count| Hostname::parse(&format!("{}a.example", "\u{ad}".repeat(count)));
    assert_eq!(padded(2000), Hostname::parse("a.example"));
    assert_eq!(padded(2100), Err(HostnameError::NameTooLong { octets: 4209 }));
}

#[test]
fn the_longest_name_fits_in_any_normal_form() {
    // A Hangul syllable takes 9 octets when it is decomposed, and as little as one in an A-label that repeats it.
    let label = "\u{1100}\u{1161}\u{11a8}".repeat(55);
    let name = host(&[label.as_str(); 4].join("."));
    assert!(name.as_str().len() > 230, "{} octets", name.as_str().len());
}

#[test]
fn a_message_repeats_only_the_start_of_what_was_refused() {
    let error = Hostname::parse(&format!("{}.example", "a".repeat(3000))).unwrap_err();
    assert!(error.to_string().len() < 120, "{error}");
}

#[test]
fn suffixes_go_from_the_name_to_its_last_label() {
    let name = host("a.b.example.");
    assert_eq!(name.suffixes().collect::<Vec<_>>(), ["a.b.example", "b.example", "example"]);
}

#[test]
fn an_address_has_no_suffix_but_itself() {
    for text in ["192.0.2.1", "[2001:db8::1]", "[::1]"] {
        assert_eq!(host(text).suffixes().collect::<Vec<_>>(), [text]);
    }
}

#[test]
fn only_addresses_have_an_ip() {
    assert_eq!(host("192.0.2.1").ip(), Some("192.0.2.1".parse().unwrap()));
    assert_eq!(host("2001:db8::1").ip(), Some("2001:db8::1".parse().unwrap()));
    assert_eq!(host("::ffff:192.0.2.1").ip(), Some("192.0.2.1".parse().unwrap()));
    for name in ["a.example", "192.0.2.1.example", "a1", "1.2.3.4a"] {
        assert_eq!(host(name).ip(), None, "{name}");
    }
}

#[test]
fn an_address_run_into_a_name_is_noticed() {
    assert_eq!(host("0.0.0.0A.example").glued_address(), Some((Ipv4Addr::UNSPECIFIED, "a.example")));
    assert_eq!(host("127.0.0.1a.example").glued_address(), Some((Ipv4Addr::LOCALHOST, "a.example")));
    for name in ["0.0.0.0", "127.0.0.1", "0.0.0.0.example", "192.0.2.1a.example", "a.example"] {
        assert_eq!(host(name).glued_address(), None, "{name}");
    }
}

#[test]
fn a_map_of_hosts_is_asked_with_text() {
    let map = HashMap::from([(host("A.example"), 1)]);
    assert_eq!(map.get("a.example"), Some(&1));
}

#[test]
fn a_host_is_serialized_as_its_text() {
    assert_eq!(serde_json::to_string(&host("BÜCHER.example")).unwrap(), "\"xn--bcher-kva.example\"");
}

#[test]
fn a_value_is_two_words() {
    assert_eq!(size_of::<Hostname>(), 2 * size_of::<usize>());
}
