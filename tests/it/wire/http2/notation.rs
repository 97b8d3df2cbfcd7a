//! The notation of the cases in `tests/cases/wire/frames`.
//!
//! ```text
//! === what the case shows, as a sentence
//! rfc: 9113 §5.1
//! from: h2spec http2/5.1/8
//! begin
//! HEADERS 1 END_HEADERS | GET
//! RST_STREAM 1 | code CANCEL
//! DATA 1 END_STREAM | "test"
//! ----
//! GOAWAY STREAM_CLOSED
//! RST_STREAM 1 STREAM_CLOSED
//! closed
//! ```
//!
//! Before the dashes stands what the client does: `begin` exchanges prefaces and settings; `await` and a line as after the
//! dashes waits for that; a text alone is sent as it is; anything else is a frame: its type, its stream, its flags, and after
//! the bar its payload in pieces. `streams+1 *` before a frame sends it on one stream more than the edge allows at a time.
//!
//! | piece | stands for |
//! |---|---|
//! | `"text"` | octets, with `\r`, `\n` and `\xNN` |
//! | `00 ff` | octets |
//! | `8 * 00`, `4000 * "x"`, `frame * "x"`, `frame+1 * "x"` | the same again and again; `frame` is the longest payload the edge takes |
//! | `GET`, `POST`, `HEAD` | a header block for `/` of the host under test; `GET[5..10]` is a part of it |
//! | `name: value` | one more field; the value `HOST`, or `HOST` as a piece, is the host under test |
//! | `u32 7`, `code CANCEL` | four octets |
//! | `MAX_FRAME_SIZE = 16384` | one setting |
//! | `on 1 weight 255`, `on 0 weight 0 exclusive` | what a stream depends on, with the weight as it is sent |
//! | `pad 5` | the length of the padding here, and the padding at the end |
//!
//! After the dashes stands what is accepted, one alternative a line; the first frame of a kind that is named decides, and
//! every other frame is passed over: `GOAWAY` and `RST_STREAM` with the codes allowed, `PING` and `SETTINGS`, each with `ACK`
//! when it must be one, `DATA 1 of 5` of five octets, `answer 1` with the status that the host under test has, `status 1 400`,
//! `end 1` when the answer is complete, and `closed`. `closed after PROTOCOL_ERROR` accepts a close that a GOAWAY with this
//! code announced, where the specification names another code that the h2 library does not use.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// One case.
pub struct Case {
    /// File and sentence.
    pub name: String,
    /// Where it comes from, `h2spec http2/5.1/8` or `ours`.
    pub from: String,
    pub steps: Vec<Step>,
    pub accepted: Vec<Accepted>,
}

/// Something the client does.
pub enum Step {
    Begin,
    Raw(Vec<u8>),
    Await(Accepted),
    Send { is_flood: bool, kind: u8, stream: u32, flags: u8, payload: Vec<Piece> },
}

/// A part of a payload.
pub enum Piece {
    Octets(Vec<u8>),
    Repeated(Count, Vec<u8>),
    Request(String, Range<usize>),
    Field(String, Value),
    Host,
    Padding(u8),
}

/// How often.
#[derive(Clone, Copy)]
pub enum Count {
    Exactly(usize),
    /// The longest payload that the edge takes, and so many octets more.
    Frame(usize),
}

/// The value of a field.
pub enum Value {
    Text(Vec<u8>),
    Repeated(usize, Vec<u8>),
    Host,
}

/// Something the edge may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    Closed,
    ClosedAfter(u32),
    GoAway(Vec<u32>),
    Reset(u32, Vec<u32>),
    Settings { ack: bool },
    Ping { ack: bool, data: Option<Vec<u8>> },
    Data(u32, Option<usize>),
    Answer(u32),
    Status(u32, u16),
    End(u32),
}

const KINDS: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];
const FLAGS: [(&str, u8); 5] =
    [("ACK", 1), ("END_STREAM", 1), ("END_HEADERS", 4), ("PADDED", 8), ("PRIORITY", 32)];
const SETTINGS: [&str; 6] = [
    "HEADER_TABLE_SIZE",
    "ENABLE_PUSH",
    "MAX_CONCURRENT_STREAMS",
    "INITIAL_WINDOW_SIZE",
    "MAX_FRAME_SIZE",
    "MAX_HEADER_LIST_SIZE",
];
/// The error codes from 0 on (RFC 9113 §7).
pub const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// All cases of all files.
pub fn cases() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/wire/frames");
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        cases.extend(text.split("=== ").skip(1).map(|part| case(&file, part)));
    }
    cases
}

fn case(file: &str, text: &str) -> Case {
    let (title, rest) = text.split_once('\n').unwrap();
    let (steps, accepted) = rest.split_once("----\n").unwrap_or_else(|| panic!("no dashes: {title}"));
    let mut case = Case {
        name: format!("{file}: {title}"),
        from: String::new(),
        steps: Vec::new(),
        accepted: accepted.lines().filter(|line| !line.is_empty()).map(self::accepted).collect(),
    };
    for line in steps.lines() {
        match line.split_once(": ") {
            Some(("rfc", section)) => assert!(section.contains(" §"), "{title}: {section}"),
            Some(("from", from)) => case.from = from.to_owned(),
            _ => case.steps.push(step(line)),
        }
    }
    assert!(!case.from.is_empty() && !case.accepted.is_empty(), "{title}: something is missing");
    case
}

fn step(line: &str) -> Step {
    if line == "begin" {
        return Step::Begin;
    }
    if line.starts_with('"') {
        return Step::Raw(octets(line).unwrap_or_else(|| panic!("no text: {line}")));
    }
    if let Some(awaited) = line.strip_prefix("await ") {
        return Step::Await(accepted(awaited));
    }
    let (is_flood, line) = match line.strip_prefix("streams+1 * ") {
        Some(frame) => (true, frame),
        None => (false, line),
    };
    let (head, payload) = line.split_once(" | ").unwrap_or((line, ""));
    let mut words = head.split(' ');
    let kind = words.next().unwrap();
    let kind = number(kind).unwrap_or_else(|| place(&KINDS, kind)) as u8;
    let stream = words.next().and_then(number).unwrap_or_else(|| panic!("no stream: {line}"));
    let flags = words.map(flag).fold(0, |all, one| all | one);
    Step::Send { is_flood, kind, stream, flags, payload: pieces(payload).iter().map(|p| piece(p)).collect() }
}

fn flag(word: &str) -> u8 {
    let known = FLAGS.iter().find(|(name, _)| *name == word).map(|(_, bit)| *bit);
    known.or_else(|| number(word).map(|bits| bits as u8)).unwrap_or_else(|| panic!("no flag: {word}"))
}

/// The pieces between commas that stand in no text.
fn pieces(payload: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut is_text = false;
    for letter in payload.chars() {
        is_text ^= letter == '"';
        if letter == ',' && !is_text {
            pieces.push(String::new());
        } else {
            pieces.last_mut().unwrap().push(letter);
        }
    }
    pieces.iter().map(|piece| piece.trim().to_owned()).filter(|piece| !piece.is_empty()).collect()
}

fn piece(text: &str) -> Piece {
    if let Some(octets) = octets(text) {
        return Piece::Octets(octets);
    }
    if let Some((count, what)) = text.split_once(" * ").filter(|(count, _)| !count.contains(':')) {
        let what = octets(what).unwrap_or_else(|| panic!("no octets: {text}"));
        return Piece::Repeated(self::count(count), what);
    }
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["HOST"] => Piece::Host,
        ["u32", value] => Piece::Octets(number(value).unwrap().to_be_bytes().to_vec()),
        ["code", code] => Piece::Octets(error(code).to_be_bytes().to_vec()),
        ["pad", length] => Piece::Padding(length.parse().unwrap()),
        [setting, "=", value] => {
            let id = number(setting).unwrap_or_else(|| place(&SETTINGS, setting) + 1);
            Piece::Octets([&(id as u16).to_be_bytes()[..], &number(value).unwrap().to_be_bytes()].concat())
        }
        ["on", on, "weight", weight] => Piece::Octets(dependency(on, weight, 0)),
        ["on", on, "weight", weight, "exclusive"] => Piece::Octets(dependency(on, weight, 1 << 31)),
        [method] if method.starts_with(|letter: char| letter.is_ascii_uppercase()) => request(method),
        _ => field(text),
    }
}

fn dependency(on: &str, weight: &str, exclusive: u32) -> Vec<u8> {
    let on = number(on).unwrap() | exclusive;
    [&on.to_be_bytes()[..], &[weight.parse().unwrap()]].concat()
}

fn request(text: &str) -> Piece {
    let Some((method, range)) = text.trim_end_matches(']').split_once('[') else {
        return Piece::Request(text.to_owned(), 0..usize::MAX);
    };
    let (from, to) = range.split_once("..").unwrap();
    Piece::Request(method.to_owned(), from.parse().unwrap_or(0)..to.parse().unwrap_or(usize::MAX))
}

fn field(text: &str) -> Piece {
    let (name, value) = text.split_once(": ").unwrap_or_else(|| panic!("no piece: {text}"));
    let value = match value.split_once(" * ") {
        _ if value == "HOST" => Value::Host,
        Some((count, what)) => Value::Repeated(count.parse().unwrap(), octets(what).unwrap()),
        None if value.starts_with('"') => Value::Text(octets(value).unwrap()),
        None => Value::Text(value.as_bytes().to_vec()),
    };
    Piece::Field(name.to_owned(), value)
}

fn count(text: &str) -> Count {
    match text.split_once('+') {
        _ if text == "frame" => Count::Frame(0),
        Some(("frame", more)) => Count::Frame(more.parse().unwrap()),
        _ => Count::Exactly(text.parse().unwrap_or_else(|_| panic!("no count: {text}"))),
    }
}

/// A text in quotes, or two hexadecimal digits an octet.
fn octets(text: &str) -> Option<Vec<u8>> {
    if let Some(inner) = text.strip_prefix('"') {
        return Some(unescape(inner.strip_suffix('"')?));
    }
    let digits = |octet: &str| {
        let is_octet = octet.len() == 2 && octet.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_octet.then(|| u8::from_str_radix(octet, 16).unwrap())
    };
    text.split(' ').map(digits).collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split('\\');
    let mut octets = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        let length = match part.as_bytes()[0] {
            b'r' | b'n' => 1,
            b'x' => 3,
            other => panic!("no escape: {other}"),
        };
        octets.push(match &part[..length] {
            "r" => b'\r',
            "n" => b'\n',
            number => u8::from_str_radix(&number[1..], 16).unwrap(),
        });
        octets.extend_from_slice(&part.as_bytes()[length..]);
    }
    octets
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn place(names: &[&str], name: &str) -> u32 {
    names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("unknown: {name}")) as u32
}

fn error(code: &str) -> u32 {
    number(code).unwrap_or_else(|| place(&CODES, code))
}

fn accepted(line: &str) -> Accepted {
    let words: Vec<&str> = line.split(' ').collect();
    let codes = |codes: &[&str]| codes.iter().map(|code| error(code)).collect();
    let stream = |word: &str| number(word).unwrap_or_else(|| panic!("no stream: {line}"));
    match &words[..] {
        ["closed"] => Accepted::Closed,
        ["closed", "after", code] => Accepted::ClosedAfter(error(code)),
        ["GOAWAY", allowed @ ..] => Accepted::GoAway(codes(allowed)),
        ["RST_STREAM", on, allowed @ ..] => Accepted::Reset(stream(on), codes(allowed)),
        ["SETTINGS"] => Accepted::Settings { ack: false },
        ["SETTINGS", "ACK"] => Accepted::Settings { ack: true },
        ["PING"] => Accepted::Ping { ack: false, data: None },
        ["PING", "ACK", ..] => {
            let data = line.strip_prefix("PING ACK ").unwrap();
            let Piece::Octets(data) = whole(piece(data)) else { panic!("no octets: {line}") };
            Accepted::Ping { ack: true, data: Some(data) }
        }
        ["DATA", on] => Accepted::Data(stream(on), None),
        ["DATA", on, "of", length] => Accepted::Data(stream(on), Some(length.parse().unwrap())),
        ["answer", on] => Accepted::Answer(stream(on)),
        ["status", on, status] => Accepted::Status(stream(on), status.parse().unwrap()),
        ["end", on] => Accepted::End(stream(on)),
        _ => panic!("nothing that an edge does: {line}"),
    }
}

fn whole(piece: Piece) -> Piece {
    match piece {
        Piece::Repeated(Count::Exactly(count), octets) => Piece::Octets(octets.repeat(count)),
        other => other,
    }
}
