//! What is said of `edge.toml`, right and wrong: `tests/cases/config/*.txt`.

use std::path::Path;

use interdict::config::Config;

use crate::table_cases::check_all;

#[test]
fn a_configuration_means_what_its_table_says() {
    check_all("config", |row| {
        let (name, content) = &row.files[0];
        let text = std::str::from_utf8(content).unwrap();
        match Config::parse(text, name, Path::new("/etc/interdict")) {
            Ok(config) => format!("{config:#?}"),
            Err(found) => found.to_string(),
        }
    });
}
