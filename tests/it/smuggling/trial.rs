//! Many cases against one edge and one origin, and what is held of each.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::mem;

use super::canonical::Message;
use super::dialects::DIALECTS;
use super::notation::number_in;
use super::origin::{Connection, Raw};
use crate::harness::audit::{Record, of_kind};
use crate::harness::{CaseFile, Client, Edge, Response, Setup, wait_until};

/// Statuses the edge may give of its own to what is no request it can take; nothing comes after them.
const REFUSALS: [u16; 5] = [400, 405, 417, 431, 501];

/// An edge on trial.
pub struct Trial {
    pub edge: Edge,
    pub origin: Raw,
    bystander: Option<Client>,
    seen: Vec<Seen>,
}

/// What came of one case for its client.
#[derive(Default)]
struct Seen {
    title: String,
    sent: Vec<u8>,
    answers: Vec<Response>,
    /// The edge has ended it in the middle, so that a request may have no answer.
    broken_off: bool,
    wrong: Vec<String>,
}

/// What a whole trial came to.
pub struct Findings {
    /// One text a case: what its client got, and what the origin got.
    pub reports: Vec<String>,
    /// What must not be; empty if all is well.
    pub wrong: String,
    /// How many answers came from the origin, were pages, and were refusals.
    pub answers: (usize, usize, usize),
}

impl Trial {
    /// Starts both.
    pub fn start() -> Self {
        let origin = Raw::start();
        let setup = Setup::new().route(&["*"], &[&origin.address().to_string()]);
        let edge = setup.case(CaseFile::new("page", &["blocked.example"])).start();
        Self { edge, origin, bystander: None, seen: Vec::new() }
    }

    /// The number that the next case will have.
    pub fn next(&self) -> usize {
        self.seen.len()
    }

    /// Sends the octets of one case, and nothing after them, and takes in whatever comes.
    pub fn send(&mut self, title: &str, sent: Vec<u8>) {
        let mut client = self.edge.connect();
        client.send(&sent).end_sending();
        self.hear(client, Seen { title: title.to_owned(), sent, ..Seen::default() });
    }

    /// The same in packets of one octet.
    pub fn send_by_octets(&mut self, title: &str, sent: Vec<u8>) {
        let mut client = self.edge.connect();
        for octet in sent.chunks(1) {
            client.send(octet);
        }
        client.end_sending();
        // What a client sends after its last request may cost it the answer (RFC 9112 §9.6).
        let says = |what: &[u8]| sent.windows(what.len()).any(|window| window.eq_ignore_ascii_case(what));
        let broken_off = says(b"close") || says(b"HTTP/1.0");
        self.hear(client, Seen { title: title.to_owned(), sent, broken_off, ..Seen::default() });
    }

    fn hear(&mut self, mut client: Client, mut seen: Seen) {
        loop {
            match client.try_response(false) {
                Ok(None) => break,
                Ok(Some(answer)) => {
                    let upgraded = answer.status == 101;
                    seen.answers.push(answer);
                    if upgraded {
                        break;
                    }
                }
                Err(error) => {
                    seen.wrong.push(format!("an answer that is none: {error}"));
                    break;
                }
            }
        }
        self.conclude(seen);
    }

    /// Takes in a case that was sent in another way.
    pub fn note(&mut self, title: &str, sent: Vec<u8>, answer: Option<Response>) {
        let broken_off = answer.is_none();
        let answers = answer.into_iter().collect();
        self.conclude(Seen { title: title.to_owned(), sent, answers, broken_off, wrong: Vec::new() });
    }

    /// Somebody else asks for something, and gets that and nothing else.
    fn conclude(&mut self, mut seen: Seen) {
        let target = format!("/bystander/{}", self.seen.len());
        let mut client = self.bystander.take().unwrap_or_else(|| self.edge.connect());
        match client.get("front.example", &target) {
            Some(answer) if answer.text() == format!("GET {target}") => {}
            answer => seen.wrong.push(format!("a bystander got {:?}", answer.map(|answer| answer.text()))),
        }
        self.bystander = Some(client);
        self.seen.push(seen);
    }

    /// Ends the edge and says what it all came to.
    pub fn finish(self) -> Findings {
        let Self { edge, origin, bystander, mut seen } = self;
        wait_until("no connection to the origin holds a part of a request", || {
            origin.all(|connection| !connection.is_torn())
        });
        drop(bystander);
        let records = edge.finish();
        wait_until("the edge has let go of the origin", || origin.all(|connection| connection.ended));
        let connections = origin.connections();
        let mut wrong = String::new();
        for connection in &connections {
            check_connection(connection, &mut wrong);
        }
        let blocked = blocked_by_number(&records);
        let served = served_by_number(&connections);
        let mut answers = (0, 0, 0);
        let mut reports = Vec::new();
        for (number, case) in seen.iter_mut().enumerate() {
            let of_case = served.get(&number).map(Vec::as_slice).unwrap_or_default();
            check_case(case, of_case, blocked.get(&number).copied().unwrap_or(0), &mut answers);
            reports.push(report(case, of_case));
            for what in mem::take(&mut case.wrong) {
                let sent = case.sent.escape_ascii().to_string();
                writeln!(wrong, "{}: {what}\n    {}", case.title, &sent[..sent.len().min(600)]).unwrap();
            }
        }
        let strangers: Vec<_> = served.keys().filter(|number| **number >= seen.len()).collect();
        assert!(strangers.is_empty(), "requests of no case: {strangers:?}");
        Findings { reports, wrong, answers }
    }
}

/// A request that reached the origin.
struct Served {
    message: Message,
    /// Its content never came to an end.
    cut: bool,
    /// Octets after an upgrade.
    tunnelled: usize,
}

fn served_by_number(connections: &[Connection]) -> HashMap<usize, Vec<Served>> {
    let mut all: HashMap<usize, Vec<Served>> = HashMap::new();
    let mut add = |message: &Message, cut: bool, tunnelled: usize| {
        // An asterisk has no room for a number.
        let marks = message.values("x-front");
        if let Some(number) = number_in(&message.target).or_else(|| number_in(marks.first()?)) {
            all.entry(number).or_default().push(Served { message: message.clone(), cut, tunnelled });
        }
    };
    for connection in connections {
        let last = connection.requests.len();
        for (index, message) in connection.requests.iter().enumerate() {
            add(message, false, if index + 1 == last { connection.tunnelled } else { 0 });
        }
        if let Some(begun) = &connection.begun {
            add(&Message { order: usize::MAX, ..begun.clone() }, true, 0);
        }
    }
    all.values_mut().for_each(|served| served.sort_by_key(|served| served.message.order));
    all
}

fn blocked_by_number(records: &[Record]) -> HashMap<usize, usize> {
    let mut counts = HashMap::new();
    for record in of_kind(records, "request.blocked") {
        if let Some(number) = number_in(record.text("path")) {
            *counts.entry(number).or_default() += 1;
        }
    }
    counts
}

/// What the origin read has one meaning, and none of it is for a blocked host.
fn check_connection(connection: &Connection, wrong: &mut String) {
    if let Some(why) = &connection.unclear {
        writeln!(wrong, "the origin cannot make sense of {}", &why[..why.len().min(2000)]).unwrap();
    }
    let expected: Vec<_> = connection
        .requests
        .iter()
        .map(|message| (format!("{} {} HTTP/1.1", message.method, message.target), message.body.len()))
        .collect();
    for dialect in DIALECTS {
        let understood = dialect.read_all(&connection.bytes[..connection.read]);
        if understood != expected {
            let pairs = understood.iter().zip(&expected);
            let at = pairs.take_while(|(one, other)| one == other).count();
            let (one, other) = (understood.get(at), expected.get(at));
            writeln!(wrong, "`{}` reads {one:?} where there is {other:?}", dialect.name()).unwrap();
        }
    }
    for message in connection.requests.iter().chain(&connection.begun) {
        let names_blocked = |name: &str| {
            let is_blocked = |value: &str| value.split(':').next() == Some("blocked.example");
            message.values(name).into_iter().any(is_blocked)
        };
        let is_told = message.values("forwarded").iter().any(|hop| hop.contains("host=blocked.example;"));
        if message.target.contains("smuggled")
            || names_blocked("host")
            || names_blocked("x-forwarded-host")
            || is_told
        {
            let Message { method, target, fields, .. } = message;
            writeln!(wrong, "the origin got {method} {target} {fields:?}").unwrap();
        }
    }
}

/// Edge and origin agree with the client on how many requests there were, and on which.
fn check_case(case: &mut Seen, served: &[Served], recorded: usize, answers: &mut (usize, usize, usize)) {
    let mut expected =
        served.iter().filter(|served| !served.cut || served.message.target.starts_with("/early/"));
    let mut pages = 0;
    let last = case.answers.len().saturating_sub(1);
    for (index, answer) in case.answers.iter().enumerate() {
        if answer.field("origin").is_some() {
            answers.0 += 1;
            let request =
                expected.next().map(|served| format!("{} {}", served.message.method, served.message.target));
            let is_silent = matches!(answer.status, 101 | 204) || answer.body.is_empty();
            if request.is_none() || (!is_silent && request.as_deref() != Some(&*answer.text())) {
                case.wrong.push(format!("the answer `{}` to the request {request:?}", answer.text()));
            }
        } else if answer.enforcement_id().is_some() {
            pages += 1;
        } else if index == last && REFUSALS.contains(&answer.status) {
            answers.2 += 1;
        } else {
            case.wrong.push(format!("the answer {} `{}`", answer.status, answer.text().trim_end()));
        }
    }
    answers.1 += pages;
    if let Some(more) = expected.next().filter(|_| !case.broken_off) {
        case.wrong.push(format!("no answer to the request for {}", more.message.target));
    }
    if pages != recorded {
        case.wrong.push(format!("{pages} pages and {recorded} records"));
    }
}

fn report(case: &Seen, served: &[Served]) -> String {
    let answers: Vec<_> = case.answers.iter().map(|answer| answer.status.to_string()).collect();
    let requests: Vec<_> = served
        .iter()
        .map(|Served { message, cut, tunnelled }| {
            let what = match (cut, tunnelled) {
                (true, _) => "cut short".to_owned(),
                (false, 0) => format!("with {}", message.body.len()),
                (false, octets) => format!("and a tunnel with {octets}"),
            };
            let target = match message.target.split_once("/front/") {
                Some((before, after)) => format!("{before}/front{}", &after[5..]),
                None => message.target.clone(),
            };
            format!("{} {} {what}", message.method, target.escape_default())
        })
        .collect();
    let or_nothing = |list: Vec<String>, with: &str| match list.is_empty() {
        true => "nothing".to_owned(),
        false => list.join(with),
    };
    format!("client: {}\norigin: {}", or_nothing(answers, " "), or_nothing(requests, ", "))
}
