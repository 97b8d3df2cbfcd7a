//! An HTTP/1 head: one request about the same hosts, however reads split it.
#![no_main]

use interdict::listen::probe::{Reading, head};
use libfuzzer_sys::fuzz_target;

/// Large enough for every preface, small enough to be reached.
const MAX: usize = 512;

fuzz_target!(|input: (&[u8], usize)| {
    let (bytes, cut) = input;
    let (first, second) = bytes.split_at(cut % (bytes.len() + 1));
    let whole = head([bytes], MAX);
    assert_eq!(head([first, second], MAX), whole);
    assert_eq!(head(bytes.chunks(1), MAX), whole);
    if let Reading::Read(Some(seen)) = &whole {
        assert!(seen.octets <= MAX);
        // No more of them are seen than there are lines that could be one.
        let lines = bytes[..seen.octets].split(|octet| *octet == b'\n');
        let named = lines.skip(1).filter(|line| line.len() > 4 && line[..5].eq_ignore_ascii_case(b"host:"));
        assert_eq!(named.count(), seen.hosts.len());
    }
});
