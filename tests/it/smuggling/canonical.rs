//! Requests read by the letter of RFC 9112, and then some: what every server there ever was reads alike.

/// A request as the edge wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The method.
    pub method: String,
    /// The request-target.
    pub target: String,
    /// Names in lower case, and values.
    pub fields: Vec<(String, String)>,
    /// The content, without chunks.
    pub body: Vec<u8>,
    /// How many octets it took.
    pub octets: usize,
    /// How many came before it, whichever way.
    pub order: usize,
}

impl Message {
    /// The values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// What the first octets of a connection are.
#[derive(Debug)]
pub enum Reading {
    /// A whole request.
    Whole(Message),
    /// A head, and not yet all of the content.
    Head(Message),
    /// Not yet a head.
    Part,
    /// Something that two servers could read in two ways, and why.
    Unclear(String),
}

/// Reads one request from the start of `bytes`.
pub fn read(bytes: &[u8]) -> Reading {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > 64 * 1024 {
            Reading::Unclear("no end of a head".into())
        } else {
            Reading::Part
        };
    };
    let mut message = match head(&bytes[..end]) {
        Ok(message) => message,
        Err(why) => return Reading::Unclear(format!("{why}: {}", bytes[..end].escape_ascii())),
    };
    let after = &bytes[end + 4..];
    let content = if message.values("transfer-encoding").is_empty() {
        let length: usize = message.values("content-length").first().map_or(0, |text| text.parse().unwrap());
        Ok(after.get(..length).map(|content| (content.to_vec(), length)))
    } else {
        chunks(after)
    };
    match content {
        Err(why) => Reading::Unclear(format!("{why}: {}", bytes.escape_ascii())),
        Ok(None) => Reading::Head(message),
        Ok(Some((content, octets))) => {
            message.octets = end + 4 + octets;
            message.body = content;
            Reading::Whole(message)
        }
    }
}

/// Reads a head without the empty line that ends it.
fn head(bytes: &[u8]) -> Result<Message, String> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err("a request line that is none".into());
    };
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err("a method that is no token".into());
    }
    let plain = |character: char| character > ' ' && character != '\x7f';
    if !target.starts_with(['/', '*']) || !target.chars().all(plain) {
        return Err("a target that is no path".into());
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a field without a colon")?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("`{name}` is no token"));
        }
        if value.chars().any(|character| character == '\x7f' || (character < ' ' && character != '\t')) {
            return Err(format!("a value of `{name}` with a control character"));
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    let (method, target) = (method.to_owned(), target.to_owned());
    let message = Message { method, target, fields, body: Vec::new(), octets: 0, order: 0 };
    check_framing(&message)?;
    Ok(message)
}

fn check_framing(message: &Message) -> Result<(), String> {
    let hosts = message.values("host");
    let is_plain = |host: &&str| {
        let (name, port) = host.split_once(':').unwrap_or((host, "1"));
        let is_name = |octet: u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        !name.ends_with('.') && name.bytes().all(is_name) && port.parse::<u16>().is_ok()
    };
    if hosts.len() != 1 || !hosts.iter().all(is_plain) {
        return Err(format!("Host {hosts:?}"));
    }
    let (lengths, codings) = (message.values("content-length"), message.values("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], [] | ["chunked"]) => {}
        // One number, as the shortest text there is for it.
        ([length], []) if length.parse().is_ok_and(|number: u64| number.to_string() == *length) => {}
        _ => return Err(format!("lengths {lengths:?} and codings {codings:?}")),
    }
    let strays = ["keep-alive", "proxy-connection", "trailer", "http2-settings"];
    for (name, _) in &message.fields {
        let alike = name.replace('_', "-");
        let is_lookalike = name.contains('_')
            && matches!(alike.as_str(), "content-length" | "transfer-encoding" | "x-forwarded-host");
        if is_lookalike || strays.contains(&name.as_str()) {
            return Err(format!("the field `{name}`"));
        }
    }
    let is_upgrade = message.values("upgrade") == ["websocket"];
    match (&message.values("connection")[..], is_upgrade) {
        ([], false) => Ok(()),
        ([only], true) if only.eq_ignore_ascii_case("upgrade") => Ok(()),
        (options, _) => Err(format!("Connection {options:?}")),
    }
}

/// Reads a chunked content, without extensions and trailers. Nothing when it has no end yet.
fn chunks(mut bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (whole, mut content) = (bytes.len(), Vec::new());
    loop {
        let Some(end) = find(bytes, b"\r\n") else {
            return if bytes.len() > 16 { Err("a size without an end".into()) } else { Ok(None) };
        };
        let digits = &bytes[..end];
        if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("a size that is no number".into());
        }
        let size = usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        bytes = &bytes[end + 2..];
        let (Some(data), Some(after)) = (bytes.get(..size), bytes.get(size..size + 2)) else {
            return Ok(None);
        };
        if after != b"\r\n" {
            return Err("a chunk without an end".into());
        }
        content.extend_from_slice(data);
        bytes = &bytes[size + 2..];
        if size == 0 {
            return Ok(Some((content, whole - bytes.len())));
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Where `what` first stands.
pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[test]
fn what_is_canonical_is_read_and_what_could_be_read_otherwise_is_not() {
    let host = "Host: front.example\r\n";
    let whole = |text: &str| match read(text.as_bytes()) {
        Reading::Whole(message) => Some((message.body.len(), message.octets == text.len())),
        _ => None,
    };
    assert_eq!(whole(&format!("GET / HTTP/1.1\r\n{host}\r\n")), Some((0, true)));
    assert_eq!(whole(&format!("PUT /a HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\nhi")), Some((2, true)));
    let chunked = format!("PUT /a HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(whole(&format!("{chunked}2\r\nhi\r\n0\r\n\r\n")), Some((2, true)));
    assert!(matches!(read(format!("{chunked}2\r\nhi\r\n").as_bytes()), Reading::Head(_)));
    let unclear = [
        format!("GET / HTTP/1.1\r\n{host}{host}\r\n"),
        format!("GET / HTTP/1.0\r\n{host}\r\n"),
        format!("GET http://front.example/ HTTP/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}Content-Length: 02\r\n\r\nhi"),
        format!("GET / HTTP/1.1\r\n{host}Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi"),
        format!("GET / HTTP/1.1\r\n{host}Content_Length: 2\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}A : b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}A: b\r\n c\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}A: b\nC: d\r\n\r\n"),
        format!("{chunked}2;x\r\nhi\r\n0\r\n\r\n"),
        format!("{chunked}0\r\nA: b\r\n\r\n"),
    ];
    for text in unclear {
        assert!(matches!(read(text.as_bytes()), Reading::Unclear(_)), "{text:?}");
    }
}
