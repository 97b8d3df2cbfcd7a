//! The first bytes of a TLS connection: one name or none, however reads split them, and a canonical one.
#![no_main]

use interdict::hostname::Hostname;
use interdict::listen::probe::{Reading, client_hello};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], usize)| {
    let (bytes, cut) = input;
    let (first, second) = bytes.split_at(cut % (bytes.len() + 1));
    let whole = client_hello([bytes]);
    assert_eq!(client_hello([first, second]), whole);
    assert_eq!(client_hello(bytes.chunks(1)), whole);
    if let Reading::Read(Some(name)) = whole {
        assert_eq!(Hostname::parse(&name).expect("a name").as_str(), name);
    }
});
