//! A name server on loopback that says what a test wants it to, and remembers what it was asked.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// A recursive name server, over UDP. Names are written without the last dot.
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The TTL and the data of each name; a name that is not here does not exist.
    records: Mutex<HashMap<String, (u32, Vec<RData>)>>,
    mood: Mutex<Mood>,
    questions: Mutex<Vec<(String, RecordType)>>,
    closing: AtomicBool,
}

/// How it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    #[default]
    Well,
    /// It answers that it cannot: SERVFAIL.
    Failing,
    /// It says nothing.
    Silent,
}

impl NameServer {
    /// Starts one that knows nothing.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (address, shared) = (socket.local_addr().unwrap(), Arc::<Shared>::default());
        let serving = Arc::clone(&shared);
        thread::spawn(move || serve(&socket, &serving));
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on a name has these addresses, and no others.
    pub fn says(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let data = addresses.iter().map(|address| RData::from(address.parse::<IpAddr>().unwrap()));
        self.shared.records.lock().unwrap().insert(name.to_owned(), (ttl, data.collect()));
    }

    /// From now on a name is another name for `target`.
    pub fn aliases(&self, name: &str, ttl: u32, target: &str) {
        let alias = RData::CNAME(CNAME(full(target)));
        self.shared.records.lock().unwrap().insert(name.to_owned(), (ttl, vec![alias]));
    }

    /// From now on there is no such name.
    pub fn forgets(&self, name: &str) {
        self.shared.records.lock().unwrap().remove(name);
    }

    /// How it is from now on.
    pub fn is(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// How often it was asked for one kind of address of a name.
    pub fn asked_for(&self, name: &str, family: RecordType) -> usize {
        let questions = self.shared.questions.lock().unwrap();
        questions.iter().filter(|(asked, of)| asked == name && *of == family).count()
    }

    /// All names it was asked for.
    pub fn names(&self) -> Vec<String> {
        self.shared.questions.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // Wakes the thread; when this fails it is gone already.
        UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], self.address)).ok();
    }
}

fn full(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}

fn serve(socket: &UdpSocket, shared: &Shared) {
    let mut packet = [0; 4096];
    while let Ok((count, client)) = socket.recv_from(&mut packet) {
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(request) = Message::from_vec(&packet[..count]) else { continue };
        if let Some(answer) = answer(&request, shared) {
            // A client that has gone away meanwhile is part of the test.
            socket.send_to(&answer.to_vec().unwrap(), client).ok();
        }
    }
}

fn answer(request: &Message, shared: &Shared) -> Option<Message> {
    let query = request.queries.first()?;
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    shared.questions.lock().unwrap().push((name.clone(), query.query_type()));
    let mut message = Message::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(query.clone());
    match *shared.mood.lock().unwrap() {
        Mood::Silent => return None,
        Mood::Failing => message.metadata.response_code = ResponseCode::ServFail,
        Mood::Well => look_up(&mut message, name, query.query_type(), shared),
    }
    Some(message)
}

/// Puts in what is known of a name, and of what it is another name for.
fn look_up(message: &mut Message, mut name: String, family: RecordType, shared: &Shared) {
    let records = shared.records.lock().unwrap();
    // A chain of names is short, or it is a circle.
    for _ in 0..8 {
        let Some((ttl, data)) = records.get(&name) else {
            message.metadata.response_code = ResponseCode::NXDomain;
            return;
        };
        let owner = full(&name);
        for one in data.iter().filter(|one| one.record_type() == family) {
            message.add_answer(Record::from_rdata(owner.clone(), *ttl, one.clone()));
        }
        let Some(RData::CNAME(alias)) = data.first() else { return };
        message.add_answer(Record::from_rdata(owner, *ttl, RData::CNAME(alias.clone())));
        name = alias.0.to_ascii().trim_end_matches('.').to_owned();
    }
}
