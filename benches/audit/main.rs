//! What does a record cost: on the request path, until it is sealed, on the disk, and to whoever verifies it?
//!
//! Every figure stands on a line of its own with its goal, beside what the same machine does at the same time with a
//! plain buffered write, a `write(2)` and nginx's access log: absolute times drift with the machine, ratios less.
//! A part runs alone as `cargo bench --bench audit -- request`; the parts are `request`, `sustained`, `beside`
//! and `disk`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop at the first surprise")]

mod attack;
mod beside;
mod disk;
#[path = "../edge/mod.rs"]
mod edge;
mod measure;
mod nginx;
mod request;
mod sealed;
mod sustained;

use measure::Plain;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Test runs start every bench too, and without this word.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("measures with `cargo bench --bench audit` only");
        return;
    }
    let parts: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| *wanted == part);

    let plain = Plain::measure();
    println!("machine: {}", measure::machine());
    if wanted("request") {
        request::run(&plain);
    }
    if wanted("sustained") {
        sustained::run(&plain);
    }
    if wanted("beside") {
        beside::run();
    }
    if wanted("disk") {
        disk::run(&plain);
    }
}
