//! Bytes as a person can read them: how the cases in `tests/cases/wire` write what goes over the wire.
//!
//! Line breaks in the file mean nothing; those on the wire are written out.
//!
//! ```text
//! \r \n \t \0 \\ \xNN   one octet
//! {a*100}               a hundred times the text before the `*`
//! {front}               the path of this case's own request, different for each case
//! {smuggled}            a whole request for a blocked host, with a path of this case alone
//! «text»                the text, which is measured
//! {length} {length-3}   its octets in decimal, and a few more or less
//! {size} {size+1}       the same in hexadecimal
//! ```

/// The path of the requests that a case may have served.
pub fn front(number: usize) -> String {
    format!("/front/{number:05}")
}

/// The path of the request that a case tries to slip in.
pub fn smuggled(number: usize) -> String {
    format!("/smuggled/{number:05}")
}

/// A whole request that must never reach an origin.
pub fn smuggled_request(number: usize) -> String {
    format!("GET {} HTTP/1.1\r\nHost: blocked.example\r\n\r\n", smuggled(number))
}

/// The number in one of those paths.
pub fn number_in(path: &str) -> Option<usize> {
    let at = ["/front/", "/smuggled/"].iter().find_map(|kind| Some(path.find(kind)? + kind.len()));
    path.get(at?..at? + 5)?.parse().ok()
}

enum Piece {
    Bytes(Vec<u8>),
    Open,
    Close,
    Length { hexadecimal: bool, more: i64 },
}

/// What a text of this notation says, in the case with this number.
#[track_caller]
pub fn bytes(text: &str, number: usize) -> Vec<u8> {
    let pieces = pieces(text, number);
    let mut measured = 0;
    let mut inside = false;
    for piece in &pieces {
        match piece {
            Piece::Open => inside = true,
            Piece::Close => inside = false,
            Piece::Bytes(bytes) if inside => measured += bytes.len() as i64,
            Piece::Bytes(_) => {}
            Piece::Length { .. } => assert!(!inside, "a length inside what it measures: {text}"),
        }
    }
    let mut all = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => all.extend(bytes),
            Piece::Length { hexadecimal: false, more } => {
                all.extend((measured + more).to_string().into_bytes())
            }
            Piece::Length { hexadecimal: true, more } => {
                all.extend(format!("{:x}", measured + more).into_bytes())
            }
            Piece::Open | Piece::Close => {}
        }
    }
    all
}

#[track_caller]
fn pieces(text: &str, number: usize) -> Vec<Piece> {
    let text: String = text.lines().collect();
    let mut pieces = Vec::new();
    let mut rest = text.as_str();
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        pieces.push(match character {
            '«' => Piece::Open,
            '»' => Piece::Close,
            '\\' => Piece::Bytes(vec![escaped(&mut rest)]),
            '{' => {
                let end = closing(rest).unwrap_or_else(|| panic!("no `}}` after `{{{rest}`"));
                let word = &rest[..end];
                rest = &rest[end + 1..];
                placeholder(word, number)
            }
            other => Piece::Bytes(other.to_string().into_bytes()),
        });
    }
    pieces
}

/// Where the brace is closed that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(at, character)| {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        None
    })
}

#[track_caller]
fn escaped(rest: &mut &str) -> u8 {
    let letter = rest.chars().next().unwrap_or_default();
    let (value, taken) = match letter {
        'r' => (b'\r', 1),
        'n' => (b'\n', 1),
        't' => (b'\t', 1),
        '0' => (0, 1),
        '\\' => (b'\\', 1),
        'x' => (u8::from_str_radix(&rest[1..3], 16).unwrap(), 3),
        other => panic!("`\\{other}` means nothing"),
    };
    *rest = &rest[taken..];
    value
}

#[track_caller]
fn placeholder(word: &str, number: usize) -> Piece {
    if let Some((repeated, times)) = word.rsplit_once('*') {
        return Piece::Bytes(bytes(repeated, number).repeat(times.parse().unwrap()));
    }
    for (name, hexadecimal) in [("length", false), ("size", true)] {
        if let Some(more) = word.strip_prefix(name) {
            let more = if more.is_empty() { 0 } else { more.parse().unwrap() };
            return Piece::Length { hexadecimal, more };
        }
    }
    Piece::Bytes(match word {
        "front" => front(number).into_bytes(),
        "smuggled" => smuggled_request(number).into_bytes(),
        other => panic!("`{{{other}}}` means nothing"),
    })
}

#[test]
fn the_notation_says_what_its_description_says() {
    assert_eq!(bytes("a\\r\\n\n\\x00\\0\\t\\\\", 1), b"a\r\n\0\0\t\\");
    assert_eq!(bytes("{\\r*3}{ab*2}", 1), b"\r\r\rabab");
    assert_eq!(bytes("{length} {length-1} {size+9}: «{x*12}»y", 1), b"12 11 15: xxxxxxxxxxxxy");
    assert_eq!(bytes("{front}{{front}*2}", 7), b"/front/00007".repeat(3));
    let inner = bytes("{smuggled}", 7);
    assert!(inner.starts_with(b"GET /smuggled/00007 HTTP/1.1\r\n") && inner.ends_with(b"\r\n\r\n"));
    assert_eq!(number_in("/smuggled/00007"), Some(7));
}
