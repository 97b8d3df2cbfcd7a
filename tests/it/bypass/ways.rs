//! The table: ways of naming a host, and what has to come of each.

/// The name most ways are about.
pub const BLOCKED: &str = "blocked.example";
/// A name that no case is about.
pub const ALLOWED: &str = "allowed.example";

/// One way of naming a host.
pub struct Way {
    /// In a few words.
    pub what: String,
    /// HTTP/1: the head without its last line end.
    pub h1: Option<(String, Outcome)>,
    /// HTTP/2: the fields.
    pub h2: Option<(Vec<(String, String)>, Outcome)>,
    /// The server name over TLS.
    pub sni: &'static str,
    /// Without a server name it would be another request.
    pub only_tls: bool,
}

/// What has to come of it.
#[derive(Clone)]
pub enum Outcome {
    /// The action of the case, and a record with this host and these names as they were seen.
    Blocked { host: &'static str, seen: Vec<String> },
    /// It is not clear which host is meant: 400 and a close; over HTTP/2 a reset or a close will do.
    Unclear,
}

impl Way {
    /// A spelling of a name, where a host belongs in both protocols.
    fn spelling(host: &'static str, spelling: &str) -> Self {
        let outcome = Outcome::Blocked { host, seen: vec![spelling.to_owned()] };
        Self::both(&format!("`{spelling}`"), spelling, outcome)
    }

    fn both(what: &str, spelling: &str, outcome: Outcome) -> Self {
        let h1 = format!("GET / HTTP/1.1\r\nHost: {spelling}\r\n");
        Self {
            what: what.to_owned(),
            h1: Some((h1, outcome.clone())),
            h2: Some((get(&[(":authority", spelling)]), outcome)),
            sni: ALLOWED,
            only_tls: false,
        }
    }

    fn h1(what: &str, head: &str, outcome: Outcome) -> Self {
        Self {
            what: what.to_owned(),
            h1: Some((head.to_owned(), outcome)),
            h2: None,
            sni: ALLOWED,
            only_tls: false,
        }
    }

    fn h2(what: &str, fields: Vec<(String, String)>, outcome: Outcome) -> Self {
        Self { what: what.to_owned(), h1: None, h2: Some((fields, outcome)), sni: ALLOWED, only_tls: false }
    }

    /// HTTP/2 has no octets beyond ASCII in `:authority`.
    fn unclear_in_h2(mut self) -> Self {
        self.h2 = self.h2.map(|(fields, _)| (fields, Outcome::Unclear));
        self
    }

    fn sni(mut self, sni: &'static str) -> Self {
        self.sni = sni;
        self
    }
}

/// `GET /` with these further fields.
fn get(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let start = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    owned(&[&start, fields].concat())
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn blocked(seen: &[&str]) -> Outcome {
    Outcome::Blocked { host: BLOCKED, seen: seen.iter().map(|&name| name.to_owned()).collect() }
}

/// All of them.
pub fn ways() -> Vec<Way> {
    [
        spellings(),
        unclear_spellings(),
        places(),
        http1_forms(),
        absolute_targets(),
        http2_forms(),
        server_names(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One subject, however it is written.
fn spellings() -> Vec<Way> {
    let ascii = [
        (BLOCKED, "blocked.example"),
        (BLOCKED, "BLOCKED.Example"),
        (BLOCKED, "blocked.example."),
        (BLOCKED, "blocked.example:8080"),
        (BLOCKED, "blocked.example:"),
        (BLOCKED, "blocked.example:0080"),
        (BLOCKED, "BLOCKED.EXAMPLE.:80"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "XN--BCHER-KVA.example.:443"),
        ("under_score.example", "Under_Score.example"),
        ("suffix.example", "suffix.example"),
        ("a.b.suffix.example", "a.B.suffix.example."),
        ("x.below.example", "x.below.example:81"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7:80"),
        ("192.0.2.7", "192.0.2.7."),
        ("[2001:db8::7]", "[2001:db8::7]"),
        ("[2001:db8::7]", "[2001:DB8:0:0::7]:8080"),
        ("[2001:db8::7]", "[2001:db8:0:0:0:0:0:7]"),
    ];
    let beyond = [
        (BLOCKED, "blocked。example"),
        (BLOCKED, "blocked．example"),
        (BLOCKED, "blocked｡example"),
        (BLOCKED, "ｂｌｏｃｋｅｄ.example"),
        (BLOCKED, "blo\u{ad}cked.example"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("xn--bcher-kva.example", "BÜCHER.example:80"),
        ("xn--bcher-kva.example", "bu\u{308}cher.example"),
        ("192.0.2.7", "１９２.0.2.7"),
    ];
    let ascii = ascii.into_iter().map(|(host, spelling)| Way::spelling(host, spelling));
    let beyond = beyond.into_iter().map(|(host, spelling)| Way::spelling(host, spelling).unclear_in_h2());
    ascii.chain(beyond).collect()
}

/// Texts that somebody could take for the name, and that are none.
fn unclear_spellings() -> Vec<Way> {
    let spellings = [
        "",
        ".",
        "blocked..example",
        "blocked.example..",
        ".blocked.example",
        "blocked%2eexample",
        "%62locked.example",
        "blocked％2eexample",
        "blocked.example%00",
        "blocked.example/",
        "blocked.example\\",
        "blocked.example?",
        "blocked.example#",
        "user@blocked.example",
        "allowed.example@blocked.example",
        "blocked.example@allowed.example",
        "blocked.example, allowed.example",
        "allowed.example blocked.example",
        "http://blocked.example",
        "//blocked.example",
        "blocked.example:99999",
        "blocked.example:+80",
        "blocked.example:80:80",
        "[blocked.example]",
        "2001:db8::7",
        "[2001:db8::7",
        "[2001:db8::7%25eth0]",
        "[::192.0.2.7",
        "3221225991",
        "0xc0000207",
        "0300.0.2.7",
        "192.0.519",
        "192.0.2.07",
    ];
    spellings
        .iter()
        .map(|spelling| Way::both(&format!("unclear `{spelling}`"), spelling, Outcome::Unclear))
        .collect()
}

/// Fields that name another host and do not count, and requests that are no plain GET.
fn places() -> Vec<Way> {
    let fields = [
        ("x-forwarded-host", "allowed.example"),
        ("forwarded", "for=192.0.2.1;host=allowed.example"),
        ("x-host", "allowed.example"),
        ("x-original-host", "allowed.example"),
        ("x-http-host-override", "allowed.example"),
        ("x-original-url", "http://allowed.example/"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-real-ip", "192.0.2.1"),
        ("via", "1.1 allowed.example"),
        ("referer", "http://allowed.example/"),
        ("origin", "http://allowed.example"),
    ];
    let mut ways: Vec<Way> = fields
        .iter()
        .map(|(name, value)| Way {
            what: format!("with {name}"),
            h1: Some((
                format!("GET / HTTP/1.1\r\nHost: {BLOCKED}\r\n{name}: {value}\r\n"),
                blocked(&[BLOCKED]),
            )),
            h2: Some((get(&[(":authority", BLOCKED), (name, value)]), blocked(&[BLOCKED]))),
            sni: ALLOWED,
            only_tls: false,
        })
        .collect();
    for method in ["POST", "OPTIONS", "TRACE", "DELETE", "PROPFIND", "BREW"] {
        let fields = [(":method", method), (":scheme", "https"), (":path", "/"), (":authority", BLOCKED)];
        ways.push(Way {
            what: method.to_owned(),
            h1: Some((format!("{method} / HTTP/1.1\r\nHost: {BLOCKED}\r\n"), blocked(&[BLOCKED]))),
            h2: Some((owned(&fields), blocked(&[BLOCKED]))),
            sni: ALLOWED,
            only_tls: false,
        });
    }
    ways
}

/// What only HTTP/1 has.
fn http1_forms() -> Vec<Way> {
    let of = |what: &str, head: &str, seen: &[&str]| Way::h1(what, head, blocked(seen));
    let unclear = |what: &str, head: &str| Way::h1(what, head, Outcome::Unclear);
    let (host, other) = ("Host: blocked.example\r\n", "Host: allowed.example\r\n");
    vec![
        of("HTTP/1.0", &format!("GET / HTTP/1.0\r\n{host}"), &[BLOCKED]),
        of("lines that end in LF", "GET / HTTP/1.1\nHost: blocked.example\n", &[BLOCKED]),
        of("no blank after the colon", "GET / HTTP/1.1\r\nhOST:blocked.example \t\r\n", &[BLOCKED]),
        of("empty lines first", &format!("\r\n\r\nGET / HTTP/1.1\r\n{host}"), &[BLOCKED]),
        of("an asterisk", &format!("OPTIONS * HTTP/1.1\r\n{host}"), &[BLOCKED]),
        of(
            "a tunnel",
            "CONNECT blocked.example:443 HTTP/1.1
Host: blocked.example:443
",
            &["blocked.example:443"],
        ),
        // Pingora asks that both be spelled alike, which is stricter than it need be.
        unclear(
            "a tunnel in two spellings",
            "CONNECT blocked.example:443 HTTP/1.1
Host: BLOCKED.example:443
",
        ),
        of(
            "an upgrade to h2c",
            &format!(
                "GET / HTTP/1.1\r\n{host}Upgrade: h2c\r\nHTTP2-Settings: AA\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            ),
            &[BLOCKED],
        ),
        of(
            "an upgrade to WebSocket",
            &format!("GET / HTTP/1.1\r\n{host}Upgrade: websocket\r\nConnection: Upgrade\r\n"),
            &[BLOCKED],
        ),
        of(
            "a content to be asked for",
            &format!("PUT / HTTP/1.1\r\n{host}Content-Length: 5\r\nExpect: 100-continue\r\n"),
            &[BLOCKED],
        ),
        of(
            "a name that is nominated away",
            &format!("GET / HTTP/1.1\r\n{host}Connection: close, Host\r\n"),
            &[BLOCKED],
        ),
        of("a path that names another", &format!("GET //allowed.example/ HTTP/1.1\r\n{host}"), &[BLOCKED]),
        unclear("a tunnel to another", &format!("CONNECT allowed.example:443 HTTP/1.1\r\n{host}")),
        unclear("a tunnel from another", &format!("CONNECT blocked.example:443 HTTP/1.1\r\n{other}")),
        unclear("a tunnel without a port", &format!("CONNECT blocked.example HTTP/1.1\r\n{host}")),
        unclear("no Host", "GET / HTTP/1.1\r\n"),
        unclear("no Host in HTTP/1.0", "GET / HTTP/1.0\r\n"),
        unclear("no Host beside the target", "GET http://blocked.example/ HTTP/1.1\r\n"),
        unclear("two hosts", &format!("GET / HTTP/1.1\r\n{other}{host}")),
        unclear("two hosts, the other way round", &format!("GET / HTTP/1.1\r\n{host}{other}")),
        unclear("one host twice", &format!("GET / HTTP/1.1\r\n{host}{host}")),
        unclear("a folded Host", "GET / HTTP/1.1\r\nHost: allowed.example\r\n blocked.example\r\n"),
        unclear(
            "a Host before the first field",
            "GET / HTTP/1.1\r\n Host: allowed.example\r\nHost: blocked.example\r\n",
        ),
        unclear(
            "a blank before the colon",
            "GET / HTTP/1.1\r\nHost : allowed.example\r\nHost: blocked.example\r\n",
        ),
        unclear("a version that is none", &format!("GET / HTTP/1.2\r\n{host}")),
        unclear("a lone CR", "GET / HTTP/1.1\r\nX: y\rHost: allowed.example\r\nHost: blocked.example\r\n"),
    ]
}

/// Targets in absolute form, some of them not quite, beside the same host and beside another.
fn absolute_targets() -> Vec<Way> {
    let mut ways = Vec::new();
    for (target, is_clear) in [
        ("http://blocked.example/", true),
        ("HTTP://BLOCKED.example:80/x", true),
        ("https://blocked.example.", true),
        ("http://blocked.example?q", true),
        ("http://blocked。example/", true),
        ("http://user@blocked.example/", false),
        ("http://allowed.example@blocked.example/", false),
        ("http://blocked.example:80:80/", false),
        ("http://blocked%2eexample/", false),
        ("http:///blocked.example/", false),
        ("http:/blocked.example/", false),
        ("http:\\\\blocked.example/", false),
        ("ftp://blocked.example/", false),
        ("blocked.example:80", false),
        ("blocked.example", false),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\n");
        let authority = target.split("//").nth(1).unwrap_or_default();
        let end = authority.find(['/', '?']).unwrap_or(authority.len());
        let seen =
            if &authority[..end] == BLOCKED { vec![BLOCKED] } else { vec![&authority[..end], BLOCKED] };
        let outcome = if is_clear { blocked(&seen) } else { Outcome::Unclear };
        ways.push(Way::h1(&format!("the target {target}"), &format!("{head}Host: {BLOCKED}\r\n"), outcome));
        let what = format!("the target {target} and another Host");
        ways.push(Way::h1(&what, &format!("{head}Host: {ALLOWED}\r\n"), Outcome::Unclear));
    }
    ways
}

/// What only HTTP/2 has.
fn http2_forms() -> Vec<Way> {
    let unclear = |what: &str, fields: &[(&str, &str)]| Way::h2(what, owned(fields), Outcome::Unclear);
    let start = [(":method", "GET"), (":scheme", "https"), (":path", "/")];
    let with = |more: &[(&'static str, &'static str)]| [&start, more].concat();
    let connect = [(":method", "CONNECT"), (":authority", "blocked.example:443")];
    vec![
        Way::h2("a host field alone", get(&[("host", BLOCKED)]), blocked(&[BLOCKED])),
        Way::h2("both alike", get(&[(":authority", BLOCKED), ("host", BLOCKED)]), blocked(&[BLOCKED])),
        Way::h2("a tunnel", owned(&connect), blocked(&["blocked.example:443"])),
        unclear("another host", &with(&[(":authority", BLOCKED), ("host", ALLOWED)])),
        unclear("another authority", &with(&[(":authority", ALLOWED), ("host", BLOCKED)])),
        unclear("two authorities", &with(&[(":authority", ALLOWED), (":authority", BLOCKED)])),
        unclear("two hosts", &with(&[("host", ALLOWED), ("host", BLOCKED)])),
        unclear(
            "two hosts beside the authority",
            &with(&[(":authority", BLOCKED), ("host", BLOCKED), ("host", ALLOWED)]),
        ),
        unclear("an authority after a field", &with(&[("x", "y"), (":authority", BLOCKED)])),
        unclear("nothing", &with(&[])),
        unclear("no authority", &with(&[(":authority", "")])),
        unclear(
            "a path that is a URI",
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "http://blocked.example/"),
                (":authority", ALLOWED),
            ],
        ),
        unclear(
            "a scheme that is a URI",
            &[
                (":method", "GET"),
                (":scheme", "http://blocked.example/?"),
                (":path", "/"),
                (":authority", BLOCKED),
            ],
        ),
        unclear(
            "a second line in a value",
            &with(&[(":authority", ALLOWED), ("x", "y\r\nhost: blocked.example")]),
        ),
        unclear(
            "a second line in the authority",
            &with(&[(":authority", "allowed.example\r\nhost: blocked.example")]),
        ),
    ]
}

/// TLS: the server name counts as well.
fn server_names() -> Vec<Way> {
    let both = Outcome::Blocked { host: ALLOWED, seen: vec![ALLOWED.to_owned()] };
    vec![
        Way::spelling(BLOCKED, BLOCKED).sni(BLOCKED),
        Way::spelling(BLOCKED, "BLOCKED.example:443").sni(BLOCKED),
        Way::spelling("xn--bcher-kva.example", "xn--bcher-kva.example").sni("xn--bcher-kva.example"),
        Way::spelling("a.b.suffix.example", "a.b.suffix.example").sni(BLOCKED),
        Way { only_tls: true, ..Way::both("a blocked server name and another host", ALLOWED, both) }
            .sni(BLOCKED),
    ]
}
