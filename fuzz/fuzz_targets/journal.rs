//! Any bytes of a journal file are read without a panic, whatever a torn write or a bad disk left there.

#![no_main]

use interdict::audit::line_of_journaled;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &str, u64)| {
    let (record, edge, seq) = input;
    if let Some(line) = line_of_journaled(record, edge, seq) {
        assert!(line.starts_with(b"{\"id\":\"") && line.ends_with(b"}\n"));
    }
});
