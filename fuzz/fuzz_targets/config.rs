//! Any text as `edge.toml`: never a panic, and a refusal always says why.
#![no_main]

use std::path::Path;

use interdict::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(found) = Config::parse(text, "edge.toml", Path::new("/etc/interdict")) {
        assert!(found.has_errors());
        assert!(!found.to_string().contains(['\r', '\x1b']));
    }
});
