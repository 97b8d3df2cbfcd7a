//! The `interdict` command.
fn main() {}
