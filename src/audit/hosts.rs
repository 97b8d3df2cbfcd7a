//! The hosts that a record is about: its `host`, each of its `names`, and what `matched` when that is a name.
//!
//! `names` are as the client wrote them, so that one host has many spellings there. A request that named a host only in
//! its TLS handshake has it there and nowhere else.

use std::borrow::Cow;

use super::line::texts;
use crate::hostname::Hostname;

/// The canonical host that one of a record's `names` is; none when it is no host, as one that was cut.
pub(super) fn canonical(name: &str) -> Option<Hostname> {
    let authority = Hostname::parse_authority(name.as_bytes()).map(|(host, _)| host);
    // An IPv6 address of a server name stands without brackets.
    authority.or_else(|_| Hostname::parse(name)).ok()
}

/// Whether one of a record's `names` is this canonical host.
pub(super) fn is_host(name: &str, host: &str) -> bool {
    may_be(name.as_bytes(), host) && canonical(name).is_some_and(|known| known.as_str() == host)
}

/// Whether `matched` is a name, not a pattern for many or a network.
pub(super) fn matched_host(matched: &str) -> Option<&str> {
    let is_name = !matched.is_empty() && !matched.starts_with(['.', '*']) && !matched.contains('/');
    is_name.then_some(matched)
}

/// Whether a list of `names`, as it stands in a line, may have this canonical host: no is certain.
pub(super) fn may_list(names: &[u8], host: &str) -> bool {
    texts(names).any(|name: Cow<'_, str>| may_be(name.as_bytes(), host))
}

/// Tells most other names without reading them: in plain ASCII only letter case, a port and a dot at the end differ.
fn may_be(name: &[u8], host: &str) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if !name.iter().all(is_plain) {
        return true;
    }
    let start = name.get(..host.len()).is_some_and(|start| start.eq_ignore_ascii_case(host.as_bytes()));
    let rest = name.get(host.len()..).unwrap_or_default();
    // A bare IPv6 address has colons and more than one spelling.
    start && matches!(rest.first(), None | Some(b'.' | b':'))
        || memchr::memchr_iter(b':', name).nth(1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_host_in_any_spelling() {
        for (name, host) in [
            ("a.example", "a.example"),
            ("A.Example.:8443", "a.example"),
            ("a.example:", "a.example"),
            ("\u{ff21}.example", "a.example"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:DB8:0::1]:80", "[2001:db8::1]"),
            ("2001:DB8::0:1", "[2001:db8::1]"),
        ] {
            assert!(is_host(name, host), "{name} {host}");
            assert!(
                may_list(serde_json::to_string(&["x.example", name]).unwrap().as_bytes(), host),
                "{name}"
            );
        }
    }

    #[test]
    fn another_name_is_not() {
        for name in
            ["", "b.example", "a.example.b", "xa.example", "a.exampl", "a.example\u{2026}", "\\x61.example"]
        {
            assert!(!is_host(name, "a.example"), "{name}");
        }
        assert!(!may_list(br#"["b.example","a.example.b","aa.example:80"]"#, "xa.example"));
        assert!(
            !may_list(b"[]", "a.example") && !may_list(b"", "a.example") && !may_list(b"[1]", "a.example")
        );
    }

    #[test]
    fn a_pattern_is_no_host() {
        assert_eq!(matched_host("a.example"), Some("a.example"));
        for pattern in ["", ".a.example", "*.a.example", "192.0.2.0/24"] {
            assert_eq!(matched_host(pattern), None, "{pattern}");
        }
    }
}
