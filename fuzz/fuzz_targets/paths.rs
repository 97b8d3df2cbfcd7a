//! The requests of one HTTP/1 connection: whether blocked ones take the fast path or none does, the client gets the same
//! answers, the connection ends in the same place and the same is on record.
#![no_main]

use std::cell::OnceCell;

use interdict::listen::probe::Stage;
use interdict::server::{Enforcement, Options};
use libfuzzer_sys::fuzz_target;

/// Answered only where the connection goes on behind what came before.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: page.example\r\n\r\n";

const CASES: [(&str, &str); 3] = [
    ("page", "hosts = [\"page.example\", \"*.wide.example\"]"),
    ("shut", "hosts = [\"shut.example\"]\naction = \"refuse\""),
    ("watched", "hosts = [\".watched.example\"]\nmode = \"shadow\""),
];

thread_local! {
    static STAGE: OnceCell<Stage> = const { OnceCell::new() };
}

fn stage() -> Stage {
    let home = std::env::temp_dir().join(format!("interdict-fuzz-paths-{}", std::process::id()));
    std::fs::create_dir_all(home.join("policies/cases")).unwrap();
    for (id, lines) in CASES {
        let case = format!(
            "id = \"{id}\"\ncustomer = \"c\"\nbasis = \"abuse\"\ndecided = 2026-01-05T09:00:00Z\n\
             decided_by = [\"j.doe\"]\nsummary = \"s\"\nstatement = \"s\"\n{lines}\n"
        );
        std::fs::write(home.join(format!("policies/cases/{id}.toml")), case).unwrap();
    }
    let options = Options::new("edge", home.join("policies"), home.join("state"), home.join("audit"));
    let enforcement = Enforcement::start(options).unwrap();
    let stage = Stage::new(enforcement.gate()).unwrap();
    // It goes on until the process ends.
    std::mem::forget(enforcement);
    stage
}

fuzz_target!(|bytes: &[u8]| {
    STAGE.with(|cell| {
        let stage = cell.get_or_init(stage);
        for all in [bytes.to_vec(), [bytes, LAST].concat()] {
            let (fast, full) = stage.both(&all);
            assert_eq!(fast, full);
        }
    });
});
