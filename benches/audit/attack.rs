//! The requests of an attack: three hosts of one case, 5,000 clients, 20 paths, 30 user agents.

use std::net::{IpAddr, Ipv4Addr};

use interdict::audit::{Enforcement, Event, Kind, RequestFacts};

/// Each host with the names that requests for it carry.
const HOSTS: [(&str, &[&[u8]]); 3] = [
    ("www.forum.example", &[b"www.forum.example"]),
    ("forum.example", &[b"forum.example"]),
    ("img.forum.example", &[b"img.forum.example"]),
];
const CLIENTS: u64 = 5_000;
const SYSTEMS: [&str; 6] = [
    "X11; Linux x86_64",
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Ubuntu; Linux x86_64",
    "iPhone; CPU iPhone OS 18_1 like Mac OS X",
    "Linux; Android 14; Pixel 8",
];
const WORDS: [&str; 5] = ["threads", "members", "search", "attachments", "api/v2/posts"];

/// What all requests are made of.
pub(crate) struct Attack {
    paths: Vec<String>,
    agents: Vec<String>,
}

/// A stream of requests, the same for the same seed.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

impl Attack {
    pub(crate) fn new() -> Self {
        let paths = (0..20).map(|at| format!("/{}/2026/11/a-title-{at}?page=2", WORDS[at % 5])).collect();
        let agents = (0..30).map(|at| {
            let (system, version) = (SYSTEMS[at % 6], 120 + at / 6);
            format!("Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0")
        });
        Self { paths, agents: agents.collect() }
    }

    /// The next request, blocked.
    pub(crate) fn event(&self, dice: &mut Dice) -> Event<'_> {
        let roll = dice.roll();
        let (host, names) = HOSTS[(roll % 3) as usize];
        let client = (roll >> 8) % CLIENTS;
        // Scattered over the address space, as the machines of a botnet are.
        let client = Ipv4Addr::from((client as u32 + 1).wrapping_mul(0x9e37_79b1));
        Event {
            kind: Kind::RequestBlocked,
            revision: 7,
            enforcement: Some(Enforcement {
                case: "TS-2026-0147",
                customer: "cust-20931",
                basis: "imminent-threat",
                action: "page",
                status: Some(403),
                matched: ".forum.example",
                also: &[],
            }),
            request: Some(RequestFacts {
                host,
                names,
                method: "GET",
                path: self.paths[((roll >> 24) % 20) as usize].as_bytes(),
                client: IpAddr::V4(client),
                listener: "127.0.0.1:8080",
                protocol: "HTTP/1.1",
                tls: None,
                user_agent: Some(self.agents[((roll >> 40) % 30) as usize].as_bytes()),
                upstream: None,
            }),
            detail: None,
        }
    }

    /// A line of the log, as long as they are on average.
    pub(crate) fn line(&self) -> Vec<u8> {
        let id = "01930000-0000-7000-8000-000000000000".parse().unwrap();
        let now = "2026-11-20T22:30:00.123456Z".parse().unwrap();
        interdict::audit::line_of(&self.event(&mut Dice::new(0)), "ams-1", id, 1_000_000, now)
    }
}
