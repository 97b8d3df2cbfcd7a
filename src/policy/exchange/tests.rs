//! What is exported and imported again is the same, and nothing anybody writes makes a reader guess or panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::overlap::Overlap;
use super::*;
use crate::hostname::Hostname;
use crate::policy::{Form, Pattern};

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![Just(Form::Exact), Just(Form::Subtree), Just(Form::Below)]
}

/// Names over few labels, so that they meet each other.
fn any_pattern() -> impl Strategy<Value = Pattern> {
    let name = vec(prop_oneof!["[a-c]", "[a-z0-9_-]{1,12}", Just("xn--bcher-kva".to_owned())], 1..4);
    let named = (form(), name).prop_filter_map("no name", |(form, labels)| {
        let name = Hostname::parse(&format!("{}.example", labels.join("."))).ok()?;
        Some(Pattern { form, name })
    });
    let address = any::<[u8; 4]>().prop_map(|octets| {
        let name = Hostname::parse(&std::net::Ipv4Addr::from(octets).to_string()).unwrap();
        Pattern { form: Form::Exact, name }
    });
    prop_oneof![20 => named, 1 => address]
}

/// Every name up to one label below any that a pattern is built on: what holds of these holds of all.
fn names_near<'p>(patterns: impl IntoIterator<Item = &'p Pattern>) -> Vec<Hostname> {
    let mut names: Vec<String> = Vec::new();
    for pattern in patterns {
        for suffix in pattern.name.suffixes() {
            names.extend([suffix.to_owned(), format!("zz.{suffix}")]);
        }
    }
    names.sort();
    names.dedup();
    names.iter().filter_map(|name| Hostname::parse(name).ok()).collect()
}

fn is_blocked<'p>(mut patterns: impl Iterator<Item = &'p Pattern>, name: &Hostname) -> bool {
    patterns.any(|pattern| pattern.covers(name))
}

proptest! {
    #[test]
    fn an_export_read_again_is_what_was_exported(patterns in vec(any_pattern(), 0..30)) {
        for format in Format::ALL {
            let writer = Writer::new(format, 1);
            let mut text = writer.head(&["a remark".to_owned(), "||x^ 0.0.0.0 y".to_owned()]);
            let mut written = Distinct::default();
            for pattern in writer.without_covered(patterns.iter().collect()) {
                if writer.write(pattern, &mut text).is_ok() {
                    written.insert(pattern.clone());
                }
            }
            let again = Importer::read(format, &ImportOptions { samples: 9, ..ImportOptions::default() }, text.as_bytes());
            prop_assert_eq!(again.skipped, []);
            prop_assert_eq!(again.except, []);
            let written = written.into_patterns();
            if format == Format::Rpz {
                for name in names_near(&patterns) {
                    let (before, after) = (is_blocked(written.iter(), &name), is_blocked(again.patterns.iter(), &name));
                    prop_assert_eq!(before, after, "{} in {}", name, text);
                }
            } else {
                prop_assert_eq!(again.patterns, written, "{}", text);
            }
        }
    }

    #[test]
    fn any_bytes_in_any_pieces_are_read_the_same_and_every_entry_is_accounted_for(
        bytes in vec(prop_oneof![
            8 => prop_oneof![Just(b'\n'), Just(b'/'), Just(b'|'), Just(b'^'), Just(b'.'), Just(b' '), Just(b'a'),
                             Just(b'*'), Just(b'@'), Just(b'#'), Just(b'$'), Just(b'('), Just(b'"'), Just(b'\\')],
            1 => any::<u8>(),
        ], 0..300),
        piece in 1_usize..40,
    ) {
        for format in Format::ALL {
            let options = ImportOptions { samples: 1000, ..ImportOptions::default() };
            let whole = Importer::read(format, &options, &bytes);
            let mut importer = Importer::new(format, &options);
            bytes.chunks(piece).for_each(|piece| importer.feed(piece));
            let pieces = importer.finish();
            prop_assert_eq!(&whole.patterns, &pieces.patterns);
            prop_assert_eq!(&whole.skipped, &pieces.skipped);
            prop_assert_eq!(u64::try_from(whole.skipped.len()).unwrap(), whole.skipped_count());
            for pattern in whole.patterns.iter().chain(&whole.except) {
                prop_assert_eq!(&Pattern::parse(&pattern.to_string()).unwrap(), pattern);
            }
            prop_assert!(whole.skipped.iter().all(|skipped| (1..=whole.lines).contains(&skipped.line)));
        }
    }

    #[test]
    fn how_patterns_lie_to_each_other_is_what_the_names_say(pattern in any_pattern(), others in vec(any_pattern(), 0..4)) {
        let overlap = Overlap::of(&others);
        let names = names_near(others.iter().chain([&pattern]));
        let inside: Vec<bool> =
            names.iter().filter(|name| pattern.covers(name)).map(|name| is_blocked(others.iter(), name)).collect();
        if overlap.covers(&pattern) {
            prop_assert!(inside.iter().all(|is_covered| *is_covered));
        } else {
            prop_assert!(!others.iter().any(|other| names.iter().all(|name| !pattern.covers(name) || other.covers(name))));
            prop_assert_eq!(overlap.cuts(&pattern), inside.contains(&true));
        }
    }

    #[test]
    fn exceptions_of_filter_rules_free_what_they_name_and_nothing_else(
        blocks in vec(any_pattern(), 0..8),
        except in vec(any_pattern(), 0..4),
    ) {
        let settled = settle(blocks.clone(), except.clone(), Format::Adblock);
        for name in names_near(blocks.iter().chain(&except)) {
            let expected = is_blocked(blocks.iter(), &name) && !is_blocked(except.iter(), &name);
            let got = is_blocked(settled.patterns.iter(), &name) && !is_blocked(settled.except.iter(), &name);
            prop_assert_eq!(got, expected, "{}: {:?}", name, settled);
        }
        prop_assert!(settled.around.is_empty());
    }

    #[test]
    fn exceptions_of_zones_that_a_case_can_have_free_what_they_name_and_nothing_else(
        blocks in vec(any_pattern(), 0..8),
        except in vec(any_pattern(), 0..4),
    ) {
        let settled = settle(blocks.clone(), except.clone(), Format::Rpz);
        for name in names_near(blocks.iter().chain(&except)) {
            let got = is_blocked(settled.patterns.iter(), &name) && !is_blocked(settled.except.iter(), &name);
            // The most specific line that covers the name wins; on one name, letting pass does.
            let nearest =
                |of: &[Pattern]| of.iter().filter(|one| one.covers(&name)).map(|one| one.name.as_str().len()).max();
            let expected = nearest(&blocks) > nearest(&except);
            if settled.around.is_empty() {
                prop_assert_eq!(got, expected, "{}: {:?}", name, settled);
            } else {
                prop_assert!(got || !expected, "{}: {:?}", name, settled);
            }
        }
    }
}

#[test]
fn an_exception_with_blocked_names_inside_is_not_for_a_case() {
    let blocks = vec![pattern("bad.a.example"), pattern(".b.example")];
    let except = vec![pattern("*.a.example"), pattern("help.b.example"), pattern("idle.example")];
    let settled = settle(blocks.clone(), except.clone(), Format::Rpz);
    assert_eq!(settled.patterns, blocks);
    assert_eq!(settled.around, [pattern("*.a.example")]);
    assert_eq!(settled.except, [pattern("help.b.example")]);
    // In filter rules the exception wins, however specific the block.
    let settled = settle(blocks, except, Format::Adblock);
    assert_eq!(settled.excepted, [pattern("bad.a.example")]);
    assert_eq!(settled.patterns, [pattern(".b.example")]);
}

#[test]
fn a_line_without_end_and_a_record_without_end_are_skipped_once_and_not_kept() {
    let options = ImportOptions { samples: 9, ..ImportOptions::default() };
    let mut importer = Importer::new(Format::Hosts, &options);
    for _ in 0..1000 {
        importer.feed(&[b'x'; 4096]);
    }
    importer.feed(b"\n0.0.0.0 a.example\n");
    let imported = importer.finish();
    assert_eq!(imported.patterns, [pattern("a.example")]);
    assert_eq!(imported.counts, [(Reason::TooLong, 1)].into());
    let record = format!("@ SOA a. b. (\n{}", "1 2 3\n".repeat(100_000));
    let imported = Importer::read(Format::Rpz, &options, record.as_bytes());
    assert!(imported.patterns.is_empty());
    assert!(imported.counts.contains_key(&Reason::Malformed), "{imported:?}");
}

#[test]
fn what_stands_behind_a_lone_carriage_return_is_no_line_of_its_own() {
    let old_macintosh = b"0.0.0.0 a.example\r192.0.2.7 b.example\r0.0.0.0 c.example\r";
    for format in Format::ALL {
        let imported = Importer::read(format, &ImportOptions::default(), old_macintosh);
        assert_eq!((imported.patterns, imported.except), (vec![], vec![]), "{format:?}");
        assert_eq!(imported.counts, [(Reason::Malformed, 1)].into(), "{format:?}");
    }
}

#[test]
fn every_reason_has_a_word_of_its_own() {
    let mut words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Reason::ALL.len());
    let mut words: Vec<&str> = Omission::ALL.iter().map(|reason| reason.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Omission::ALL.len());
}
