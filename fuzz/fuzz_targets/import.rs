//! A list in a format of others, the format by the first byte: never a panic, whatever pieces it comes in, and what is
//! taken from it is what a list of ours holds.
#![no_main]

use interdict::policy::Pattern;
use interdict::policy::exchange::{Format, ImportOptions, Importer, Writer, settle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, list)) = bytes.split_first() else { return };
    let format = Format::ALL[usize::from(*first) % Format::ALL.len()];
    let options =
        ImportOptions { subdomains: *first >= 128, samples: usize::MAX, ..ImportOptions::default() };
    let whole = Importer::read(format, &options, list);
    let mut importer = Importer::new(format, &options);
    let (head, tail) = list.split_at(list.len() / 2);
    importer.feed(head);
    importer.feed(tail);
    let pieces = importer.finish();
    assert_eq!((&whole.patterns, &whole.skipped), (&pieces.patterns, &pieces.skipped));
    for pattern in whole.patterns.iter().chain(&whole.except) {
        assert_eq!(Pattern::parse(&pattern.to_string()).as_ref(), Ok(pattern));
    }
    for skipped in &whole.skipped {
        assert!((1..=whole.lines).contains(&skipped.line));
        assert!(!skipped.text.contains(['\n', '\r', '\x1b']));
    }
    let settled = settle(whole.patterns, whole.except, format);
    let writer = Writer::new(format, 1);
    let mut text = writer.head(&[]);
    for pattern in writer.without_covered(settled.patterns.iter().collect()) {
        let before = text.len();
        if writer.write(pattern, &mut text).is_err() {
            assert_eq!(text.len(), before);
        }
    }
    let again = Importer::read(
        format,
        &ImportOptions { samples: usize::MAX, ..ImportOptions::default() },
        text.as_bytes(),
    );
    assert!(again.skipped.is_empty(), "{:?}", again.skipped);
});
