//! A PROXY protocol header: one client or none, however reads split it, and exactly its own octets.
#![no_main]

use interdict::limits::PROXY_HEADER_BYTES;
use interdict::listen::probe::{Reading, proxy_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], usize)| {
    let (bytes, cut) = input;
    let (first, second) = bytes.split_at(cut % (bytes.len() + 1));
    let whole = proxy_header([bytes]);
    assert_eq!(proxy_header([first, second]), whole);
    assert_eq!(proxy_header(bytes.chunks(1)), whole);
    if let Reading::Read((octets, _)) = &whole {
        assert!(*octets <= PROXY_HEADER_BYTES);
        assert_eq!(proxy_header([&bytes[..*octets]]), whole);
    }
});
