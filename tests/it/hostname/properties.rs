//! One name in many spellings is one host; whatever else is written is read or refused, and never a panic.

use std::net::{Ipv4Addr, Ipv6Addr};

use interdict::hostname::Hostname;
use proptest::prelude::*;

/// Canonical names: labels of ASCII, or of letters that lower-casing and normalization leave alone.
fn name() -> impl Strategy<Value = String> {
    let label = prop_oneof![3 => "[a-z0-9_]{1,12}(-[a-z0-9_]{1,12})?", 1 => "[a-zà-öø-ÿа-я]{1,10}", 1 => "[ぁ-ゖ一-龠]{1,8}"];
    (prop::collection::vec(label, 0..4), "[a-z][a-z0-9]{0,8}").prop_map(|(mut labels, last)| {
        labels.push(last);
        labels.join(".")
    })
}

/// How one character of a name is written.
#[derive(Debug, Clone, Copy)]
enum Hand {
    Plain,
    Upper,
    FullWidth,
    FullWidthUpper,
    Padded,
}

fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        4 => Just(Hand::Plain),
        2 => Just(Hand::Upper),
        1 => Just(Hand::FullWidth),
        1 => Just(Hand::FullWidthUpper),
        1 => Just(Hand::Padded),
    ]
}

fn written(character: char, hand: Hand) -> String {
    let full_width = |character: char| match character {
        '.' => '。',
        '!'..='~' => char::from_u32(u32::from(character) + 0xfee0).unwrap(),
        _ => character,
    };
    // A letter whose capital has a capital of its own to fall back to: `ß` and the like stay as they are.
    let upper = |character: char| {
        let capital = character.to_uppercase().next().unwrap();
        if capital.to_lowercase().eq([character]) { capital } else { character }
    };
    match hand {
        Hand::Plain => character.to_string(),
        Hand::Upper => upper(character).to_string(),
        Hand::FullWidth => full_width(character).to_string(),
        Hand::FullWidthUpper => full_width(upper(character)).to_string(),
        Hand::Padded => format!("\u{ad}{character}"),
    }
}

fn respelled(name: &str, hands: &[Hand], root: &str) -> String {
    let hands = hands.iter().copied().cycle();
    let text: String = name.chars().zip(hands).map(|(character, hand)| written(character, hand)).collect();
    text + root
}

/// Text near the edge of what is a host, more often than chance would have it.
fn scrap() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z0-9_-]{1,3}",
        "[.。．｡:@%/\\[\\]]",
        "xn--[a-z0-9-]{0,6}",
        "ｘn－-[a-z0-9]{0,6}",
        "0x?[0-9a-f]{0,3}",
        any::<char>().prop_map(String::from),
        "[\u{ad}\u{200c}\u{200d}\u{300}-\u{36f}\u{5d0}-\u{5ea}\u{660}-\u{669}①-⒛℀-℔]",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn reads_back_as_itself(host: &Hostname) -> Result<(), TestCaseError> {
    let text = host.to_string();
    prop_assert_eq!(Hostname::parse(&text), Ok(host.clone()));
    prop_assert_eq!(Hostname::parse_authority(text.as_bytes()), Ok((host.clone(), None)));
    prop_assert!(text.len() <= 253 && text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_spellings_of_one_name_differ(
        name in name(),
        hands in prop::collection::vec(hand(), 1..40),
        root in prop_oneof![Just(""), Just("."), Just("。"), Just("．"), Just("｡")],
    ) {
        let host = Hostname::parse(&name).unwrap();
        reads_back_as_itself(&host)?;
        prop_assert_eq!(Hostname::parse(&respelled(&name, &hands, root)), Ok(host.clone()));
        prop_assert_eq!(Hostname::parse(&respelled(host.as_str(), &hands, root)), Ok(host.clone()));
    }

    #[test]
    fn what_is_taken_is_printed_and_read_as_the_same(text in scrap()) {
        if let Ok(host) = Hostname::parse(&text) {
            reads_back_as_itself(&host)?;
        }
        if let Ok((host, _)) = Hostname::parse_authority(text.as_bytes()) {
            reads_back_as_itself(&host)?;
        }
    }

    #[test]
    fn whatever_is_refused_is_refused_in_words(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(error) = Hostname::parse_authority(&octets) {
            prop_assert!(!error.to_string().contains(char::is_control));
            prop_assert!(error.to_string().len() < 600);
        }
        if let Ok(host) = Hostname::parse_bytes(&octets) {
            reads_back_as_itself(&host)?;
        }
    }

    #[test]
    fn a_port_is_cut_off_and_the_name_is_the_same(name in name(), port in any::<u16>()) {
        let host = Hostname::parse(&name).unwrap();
        let authority = format!("{name}:{port}");
        prop_assert_eq!(Hostname::parse_authority(authority.as_bytes()), Ok((host.clone(), Some(port))));
        prop_assert!(Hostname::parse(&authority).is_err());
    }

    #[test]
    fn suffixes_are_the_names_above(name in name()) {
        let host = Hostname::parse(&name).unwrap();
        let labels: Vec<&str> = host.as_str().split('.').collect();
        let expected: Vec<String> = (0..labels.len()).map(|skipped| labels[skipped..].join(".")).collect();
        prop_assert_eq!(host.suffixes().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_text_of_an_address_is_the_same_host(bits in any::<u32>(), groups in any::<[u16; 8]>()) {
        let four = Ipv4Addr::from(bits);
        let host = Hostname::parse(&four.to_string()).unwrap();
        prop_assert_eq!(host.ip(), Some(four.into()));
        prop_assert_eq!(Hostname::parse(&format!("[::FFFF:{four}]")), Ok(host.clone()));
        prop_assert_eq!(Hostname::parse(&respelled(&four.to_string(), &[Hand::FullWidth], ".")), Ok(host.clone()));

        let six = Ipv6Addr::from(groups);
        let host = Hostname::parse(&six.to_string()).unwrap();
        let long = groups.map(|group| format!("{group:04X}")).join(":");
        prop_assert_eq!(Hostname::parse(&format!("[{long}]")), Ok(host.clone()));
        reads_back_as_itself(&host)?;
    }
}
