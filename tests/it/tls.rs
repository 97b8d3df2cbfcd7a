//! TLS at the edge: certificates, names, and refusals before any cryptography.

use std::fs;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::harness::audit::{of_kind, only};
use crate::harness::tls::{Authority, Wire, answer_to, client_hello};
use crate::harness::{CaseFile, Client, Edge, Origin, Setup, tools, wait_for, wait_until};

const PAGE: &str = "page.example";
const REFUSED: &str = "refused.example";
const ALLOWED: &str = "allowed.example";

/// A fatal alert, `unrecognized_name` (RFC 6066 §3).
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

struct House {
    authority: Authority,
    origin: Origin,
    edge: Edge,
}

impl House {
    /// An edge whose second listener has TLS with `keys` beside its certificates, and certificates for all hosts but
    /// `uncertified.example`.
    fn new(keys: &str) -> Self {
        let (authority, origin) = (Authority::new(), Origin::start());
        let setup = Setup::new().origin(&origin);
        let certs = setup.home().join("certs");
        authority.issue(&certs, PAGE, &[PAGE]);
        authority.issue(&certs, "site 2", &[REFUSED, ALLOWED, "*.wild.example"]);
        let edge = setup
            .table(&format!("[[listen]]\naddress = \"127.0.0.1:0\"\n{keys}"))
            .case(CaseFile::new("page", &[PAGE, "uncertified.example"]))
            .case(CaseFile::new("refuse", &[REFUSED]).refuse())
            .start();
        Self { authority, origin, edge }
    }

    fn plain() -> Self {
        Self::new("tls = { certificates = \"certs\" }")
    }

    fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        Arc::new(self.authority.client(alpn))
    }

    /// The bytes of a ClientHello for `name`.
    fn hello(&self, name: &str) -> Vec<u8> {
        client_hello(self.authority.client(&["h2", "http/1.1"]), name)
    }

    fn answer_to(&self, pieces: &[&[u8]]) -> Vec<u8> {
        answer_to(self.edge.tls_address(), pieces)
    }
}

#[test]
fn requests_over_tls_are_forwarded_and_blocked_as_in_cleartext() {
    let house = House::plain();
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let config = Arc::new(house.authority.client_of(&["http/1.1"], versions));
        let mut client = house.edge.connect_tls(&config, ALLOWED).unwrap();
        client.get(ALLOWED, "/").unwrap().assert_forwarded();
        let mut client = house.edge.connect_tls(&config, PAGE).unwrap();
        client.get(PAGE, "/").unwrap().assert_blocked(403);
        client.get(PAGE, "/again").unwrap().assert_blocked(403);
    }
    let mut http2 = house.edge.connect_tls_h2(&house.client(&["h2"]), ALLOWED);
    http2.get(ALLOWED, "/").unwrap().assert_forwarded();
    let mut http2 = house.edge.connect_tls_h2(&house.client(&["h2"]), PAGE);
    http2.get(PAGE, "/").unwrap().assert_blocked(403);
    let records = house.edge.finish();
    let versions: Vec<&str> =
        of_kind(&records, "request.blocked").iter().map(|record| record.text("tls")).collect();
    assert_eq!(versions, ["TLSv1.2", "TLSv1.2", "TLSv1.3", "TLSv1.3", "TLSv1.3"]);
    assert!(of_kind(&records, "handshake.refused").is_empty());
}

#[test]
fn curl_gets_a_page_over_tls_and_a_refusal_before_any_certificate() {
    let house = House::plain();
    let root = house.edge.home().join("root.pem");
    fs::write(&root, house.authority.root_pem()).unwrap();
    let curl = |host: &str| {
        let address = house.edge.tls_address();
        let resolve = format!("{host}:{}:{}", address.port(), address.ip());
        let url = format!("https://{host}:{}/", address.port());
        let fixed = ["-si", "--max-time", "20", "--noproxy", "*", "--cacert", root.to_str().unwrap()];
        tools::run("curl", fixed.into_iter().chain(["--resolve", &resolve, &url]))
    };
    let page = curl(PAGE);
    assert!(page.stdout.starts_with("HTTP/2 403") && page.stdout.contains("enforcement-id"), "{page:?}");
    let id = page.stdout.split("enforcement-id: ").nth(1).unwrap().split_whitespace().next().unwrap();
    house.edge.ledger().note(id, Some(PAGE));
    assert!(curl(ALLOWED).stdout.starts_with("HTTP/2 200"));
    // 35: the handshake failed (curl's exit codes).
    assert_eq!(curl(REFUSED).code, 35);
}

#[test]
fn a_refused_name_gets_an_alert_and_nothing_else_and_is_recorded() {
    let house = House::plain();
    assert_eq!(house.answer_to(&[&house.hello(REFUSED)]), ALERT);
    house.origin.assert_untouched();
    let records = house.edge.finish();
    let refused = only(&records, "handshake.refused");
    assert_eq!((refused.text("host"), refused.text("client")), (REFUSED, "127.0.0.1"));
    assert_eq!((refused.texts("names"), refused.text("action")), (vec![REFUSED], "refuse"));
    assert_eq!((refused.text("case"), refused.0.get("status")), ("refuse", None));
}

#[test]
fn a_client_hello_in_many_packets_or_records_is_refused_all_the_same() {
    let house = House::plain();
    let hello = house.hello(REFUSED);
    let octets: Vec<&[u8]> = hello.chunks(1).collect();
    assert_eq!(house.answer_to(&octets), ALERT);
    // The same handshake message in records of twenty octets (RFC 8446 §5.1).
    let records: Vec<u8> =
        hello[5..].chunks(20).flat_map(|part| [&[22, 3, 1, 0, part.len() as u8], part].concat()).collect();
    assert_eq!(house.answer_to(&[&records]), ALERT);
    // Capital letters are the same name.
    let at = hello.windows(REFUSED.len()).position(|window| window == REFUSED.as_bytes()).unwrap();
    let mut capitals = hello.clone();
    capitals[at..at + REFUSED.len()].make_ascii_uppercase();
    assert_eq!(house.answer_to(&[&capitals]), ALERT);
    assert_eq!(of_kind(&house.edge.finish(), "handshake.refused").len(), 3);
}

#[test]
fn an_outer_name_beside_an_encrypted_one_is_what_is_judged() {
    let house = House::plain();
    let with_ech = |hello: &[u8]| {
        // encrypted_client_hello (RFC 9849): the server knows only the outer name.
        let extension = [&[0xfe, 0x0d, 0, 11, 0][..], &[0, 1, 0, 1, 7, 0, 0, 0, 1, 9]].concat();
        let mut hello = [hello, &extension].concat();
        let grown = extension.len() as u16;
        let session = usize::from(hello[43]);
        let ciphers = 44 + session;
        let cipher_bytes = usize::from(u16::from_be_bytes([hello[ciphers], hello[ciphers + 1]]));
        let compression = ciphers + 2 + cipher_bytes;
        let extensions = compression + 1 + usize::from(hello[compression]);
        for at in [3, 7, extensions] {
            let length = u16::from_be_bytes([hello[at], hello[at + 1]]) + grown;
            hello[at..at + 2].copy_from_slice(&length.to_be_bytes());
        }
        hello
    };
    assert_eq!(house.answer_to(&[&with_ech(&house.hello(REFUSED))]), ALERT);
    only(&house.edge.records(), "handshake.refused");
    // Another outer name is answered with a handshake: what is inside shows with the requests, or not at all.
    let mut client = std::net::TcpStream::connect(house.edge.tls_address()).unwrap();
    std::io::Write::write_all(&mut client, &with_ech(&house.hello(ALLOWED))).unwrap();
    let mut first = [0; 1];
    std::io::Read::read_exact(&mut client, &mut first).unwrap();
    assert_eq!(first, [22], "a handshake record");
}

#[test]
fn a_resumed_session_is_refused_like_a_new_one() {
    let house = House::plain();
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        // The client keeps its sessions.
        let config = Arc::new(house.authority.client_of(&["http/1.1"], versions));
        let mut client = house.edge.connect_tls(&config, ALLOWED).unwrap();
        client.get(ALLOWED, "/").unwrap().assert_forwarded();
        drop(client);
        house.edge.change(|policies| policies.write(&CaseFile::new("late", &[ALLOWED]).refuse()));
        assert!(house.edge.connect_tls(&config, ALLOWED).is_err());
        house.edge.change(|policies| policies.remove_case("late"));
    }
    assert_eq!(of_kind(&house.edge.finish(), "handshake.refused").len(), 2);
}

#[test]
fn a_blocked_name_without_a_certificate_is_refused_and_recorded_an_allowed_one_only_refused() {
    let house = House::plain();
    assert_eq!(house.answer_to(&[&house.hello("uncertified.example")]), ALERT);
    assert_eq!(house.answer_to(&[&house.hello("unknown.example")]), ALERT);
    let records = house.edge.finish();
    let refused = only(&records, "handshake.refused");
    assert_eq!((refused.text("host"), refused.text("case")), ("uncertified.example", "page"));
}

/// The certificate that the edge shows for a name; nothing when it makes no handshake.
fn shown(edge: &Edge, authority: &Authority, name: &str) -> Option<Vec<u8>> {
    let stream = TcpStream::connect(edge.tls_address()).unwrap();
    let Wire::Tls(stream) = Wire::tls(stream, Arc::new(authority.client(&["h2"])), name).ok()? else {
        unreachable!("a handshake was made")
    };
    Some(stream.conn.peer_certificates().unwrap()[0].to_vec())
}

#[test]
fn a_certificate_of_the_very_name_comes_before_one_for_all_names_beside_it() {
    let authority = Authority::new();
    let setup = Setup::new();
    let certs = setup.home().join("certs");
    authority.issue(&certs, "all", &["*.wild.example"]);
    authority.issue(&certs, "one", &["a.wild.example"]);
    authority.issue(&certs, "zone", &["wild.example"]);
    let edge =
        setup.table("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }").start();
    let file = |stem: &str| {
        CertificateDer::from_pem_file(certs.join(format!("{stem}.crt"))).map(|der| der.to_vec()).ok()
    };
    for (name, stem) in [
        ("a.wild.example", "one"),
        ("A.WILD.example", "one"),
        ("b.wild.example", "all"),
        ("wild.example", "zone"),
    ] {
        assert_eq!(shown(&edge, &authority, name), file(stem), "{name}");
    }
    // A wildcard stands for one label (RFC 9525 §6.3).
    for name in ["c.b.wild.example", "c.a.wild.example", "tame.example"] {
        assert_eq!(answer_to(edge.tls_address(), &[&client_hello(authority.client(&["h2"]), name)]), ALERT);
    }
}

#[test]
fn without_a_server_name_the_default_certificate_is_shown_and_requests_are_judged() {
    let house = House::new(&format!("tls = {{ certificates = \"certs\", default = \"{PAGE}\" }}"));
    // No client sends an address as a server name: the handshake fails at the client, after our certificate.
    let answer = house.hello("127.0.0.1");
    assert!(!answer.windows(9).any(|window| window == b"127.0.0.1"));
    let error = house.edge.connect_tls(&house.client(&["http/1.1"]), "127.0.0.1").err().unwrap();
    assert!(error.to_string().contains("certificate"), "{error}");
    // A name that is not held gets the default one as well, unless it is blocked.
    let error = house.edge.connect_tls(&house.client(&["http/1.1"]), "unknown.example").err().unwrap();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(house.answer_to(&[&house.hello("uncertified.example")]), ALERT);
    only(&house.edge.finish(), "handshake.refused");
}

#[test]
fn without_a_server_name_and_a_default_certificate_there_is_no_handshake() {
    let house = House::plain();
    assert_eq!(house.answer_to(&[&house.hello("127.0.0.1")]), ALERT);
    assert!(of_kind(&house.edge.finish(), "handshake.refused").is_empty());
}

#[test]
fn every_request_of_a_coalesced_connection_is_judged_by_its_name_and_the_server_name() {
    let house = House::plain();
    let config = house.client(&["h2"]);
    let mut client = house.edge.connect_tls_h2(&config, ALLOWED);
    client.get(ALLOWED, "/").unwrap().assert_forwarded();
    client.get("x.wild.example", "/").unwrap().assert_forwarded();
    client.get(PAGE, "/").unwrap().assert_blocked(403);
    assert!(client.get(REFUSED, "/").unwrap_err().is_reset());
    client.get(ALLOWED, "/").unwrap().assert_forwarded();
    // And the other way round: the server name is blocked, the authority is not.
    let mut client = house.edge.connect_tls_h2(&config, PAGE);
    client.get(ALLOWED, "/").unwrap().assert_blocked(403);
    let records = house.edge.finish();
    let last = *of_kind(&records, "request.blocked").last().unwrap();
    assert_eq!((last.text("host"), last.texts("names")), (ALLOWED, vec![ALLOWED, PAGE]));
}

#[test]
fn with_strict_sni_another_name_is_misdirected_and_a_blocked_one_still_blocked() {
    let house = House::new("tls = { certificates = \"certs\" }\nstrict_sni = true");
    let mut client = house.edge.connect_tls(&house.client(&["http/1.1"]), ALLOWED).unwrap();
    client.get(ALLOWED, "/").unwrap().assert_forwarded();
    assert_eq!(client.get("x.wild.example", "/").unwrap().status, 421);
    client.get(PAGE, "/").unwrap().assert_blocked(403);
    client.get(ALLOWED, "/").unwrap().assert_forwarded();
    assert_eq!(house.origin.requests().len(), 2);
}

#[test]
fn with_strict_sni_a_connection_without_a_server_name_is_for_no_name() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let setup = Setup::new().origin(&origin);
    // A client that asks for an address sends no server name, and is shown the default certificate.
    authority.issue(&setup.home().join("certs"), ALLOWED, &[ALLOWED, "127.0.0.1"]);
    let listener = |strict: bool| {
        let tls = format!("tls = {{ certificates = \"certs\", default = \"{ALLOWED}\" }}");
        format!("[[listen]]\naddress = \"127.0.0.1:0\"\n{tls}\nstrict_sni = {strict}")
    };
    let edge =
        setup.table(&listener(true)).table(&listener(false)).case(CaseFile::new("page", &[PAGE])).start();
    let config = Arc::new(authority.client(&["http/1.1"]));
    let connect = |listener: usize| {
        let address = edge.process().listeners[listener];
        Client::connect_tls(address, Arc::clone(&config), "127.0.0.1", edge.ledger()).unwrap()
    };
    let mut strict = connect(1);
    assert_eq!(strict.get(ALLOWED, "/").unwrap().status, 421);
    assert_eq!(strict.get("127.0.0.1", "/").unwrap().status, 421);
    // A blocked one is still blocked, and on record.
    strict.get(PAGE, "/").unwrap().assert_blocked(403);
    origin.assert_untouched();
    connect(2).get(ALLOWED, "/").unwrap().assert_forwarded();
    let mut named = edge.connect_tls(&config, ALLOWED).unwrap();
    named.get(ALLOWED, "/").unwrap().assert_forwarded();
}

#[test]
fn an_idle_connection_made_for_a_name_that_is_blocked_now_is_closed() {
    let house = House::plain();
    let mut fresh = house.edge.connect_tls(&house.client(&["http/1.1"]), ALLOWED).unwrap();
    let mut shared = house.edge.connect_tls_h2(&house.client(&["h2"]), ALLOWED);
    shared.get("x.wild.example", "/").unwrap().assert_forwarded();
    shared.get(ALLOWED, "/").unwrap().assert_forwarded();
    house.edge.change(|policies| policies.write(&CaseFile::new("late", &[ALLOWED])));
    let soon = std::time::Duration::from_secs(1);
    assert!(fresh.closes_within(soon) && shared.closes_within(soon));
    let records = house.edge.finish();
    let cuts = of_kind(&records, "connection.cut");
    assert_eq!(cuts.len(), 2);
    assert!(cuts.iter().all(|cut| cut.text("tls") == "TLSv1.3" && cut.text("host") == ALLOWED), "{cuts:?}");
}

#[test]
fn certificates_are_read_again_when_they_change_and_a_bad_pair_keeps_the_old_one() {
    let house = House::plain();
    let config = house.client(&["http/1.1"]);
    let certs = house.edge.home().join("certs");
    assert!(house.edge.connect_tls(&config, "new.example").is_err());
    house.authority.issue(&certs, "new.example", &["new.example"]);
    let mut client =
        wait_for("the new certificate is shown", || house.edge.connect_tls(&config, "new.example").ok());
    client.get("new.example", "/").unwrap().assert_forwarded();

    // The key of another certificate.
    fs::copy(certs.join("new.example.key"), certs.join(format!("{PAGE}.key"))).unwrap();
    wait_until("the bad pair is noticed", || {
        house.edge.process().stderr().contains("a certificate cannot be used")
    });
    wait_until("the edge says so", || house.edge.process().stderr().contains("kept=true"));
    house.edge.connect_tls(&config, PAGE).unwrap().get(PAGE, "/").unwrap().assert_blocked(403);

    // Half a pair is no usable one either.
    fs::remove_file(certs.join("new.example.crt")).unwrap();
    wait_until("the missing half is noticed", || {
        house.edge.process().stderr().contains("name=\"new.example\"")
    });
    house.edge.connect_tls(&config, "new.example").unwrap().get("new.example", "/").unwrap();

    // A pair that is taken away is not shown any more; the others are.
    fs::remove_file(certs.join("new.example.key")).unwrap();
    wait_until("the certificate is gone", || house.edge.connect_tls(&config, "new.example").is_err());
    house.edge.connect_tls(&config, ALLOWED).unwrap().get(ALLOWED, "/").unwrap().assert_forwarded();
}

#[test]
fn what_is_no_handshake_disturbs_nobody() {
    let house = House::plain();
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: page.example\r\n\r\n"[..], &[22, 3, 1, 0, 4, 1, 0, 0], &[0xff; 600]]
    {
        let answer = house.answer_to(&[bytes, &[0; 40]]);
        assert!(answer.is_empty() || answer[0] == 21, "neither an alert nor a close: {answer:?}");
    }
    house.edge.connect_tls(&house.client(&["http/1.1"]), ALLOWED).unwrap().get(ALLOWED, "/").unwrap();
}

#[test]
fn a_start_without_usable_certificates_says_where_they_should_be() {
    let origin = Origin::start();
    let setup = Setup::new().origin(&origin);
    let table = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = \"certs\" }";
    fs::create_dir(setup.home().join("certs")).unwrap();
    let (_home, ended) = setup.table(table).try_start().err().expect("it does not start");
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("NAME.crt"), "{}", ended.stderr);
}
