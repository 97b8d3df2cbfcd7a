//! The frames of an HTTP/2 connection: the same flood or none, however reads split them, and never without cause.
#![no_main]

use interdict::limits::HTTP2_BURST_SECONDS;
use interdict::listen::probe::flood;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], usize, u8)| {
    let (bytes, cut, rate) = input;
    let rate = u32::from(rate % 4) + 1;
    let (first, second) = bytes.split_at(cut % (bytes.len() + 1));
    let whole = flood([bytes], rate);
    assert_eq!(flood([first, second], rate), whole);
    assert_eq!(flood(bytes.chunks(1), rate), whole);
    let resets = resets(bytes);
    let most = (rate * HTTP2_BURST_SECONDS) as usize;
    match whole {
        None => assert!(resets <= most),
        Some("RST_STREAM") => assert!(resets > most),
        Some(_) => {}
    }
});

/// How many RST_STREAM are there, counted frame by frame behind the preface (RFC 9113 §4.1).
fn resets(bytes: &[u8]) -> usize {
    let (mut rest, mut count) = (bytes.get(24..).unwrap_or_default(), 0);
    while let Some([high, middle, low, kind, ..]) = rest.get(..9) {
        count += usize::from(*kind == 3);
        let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    count
}
