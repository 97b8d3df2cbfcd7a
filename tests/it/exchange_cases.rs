//! What lists in the formats of others mean, line by line: `tests/cases/exchange/*.txt`.
//!
//! The name of the one file of a row is the format, and what the command line says beside it.

use std::fmt::Write as _;

use interdict::hostname::Hostname;
use interdict::policy::exchange::{Format, ImportOptions, Importer, settle};

use crate::table_cases::check_all;

#[test]
fn lists_in_the_formats_of_others_mean_what_their_tables_say() {
    check_all("exchange", |row| {
        let [(name, content)] = row.files.as_slice() else { panic!("{}: one file a row", row.title) };
        let (word, option) = name.split_once(' ').unwrap_or((name, ""));
        let format = Format::ALL.into_iter().find(|format| format.as_str() == word).unwrap();
        let options = ImportOptions {
            subdomains: option == "subdomains",
            zone: (format == Format::Rpz && !option.is_empty()).then(|| Hostname::parse(option).unwrap()),
            samples: 100,
        };
        let imported = Importer::read(format, &options, content);
        let mut told = String::new();
        let settled = settle(imported.patterns, imported.except, format);
        for (word, patterns) in [
            ("", &settled.patterns),
            ("except ", &settled.except),
            ("excepted ", &settled.excepted),
            ("no case can except ", &settled.around),
        ] {
            patterns.iter().for_each(|pattern| writeln!(told, "{word}{pattern}").unwrap());
        }
        if imported.doubled > 0 {
            writeln!(told, "doubled: {}", imported.doubled).unwrap();
        }
        for skipped in &imported.skipped {
            let detail =
                if skipped.detail.is_empty() { String::new() } else { format!(": {}", skipped.detail) };
            writeln!(told, "line {}: {}: `{}`{detail}", skipped.line, skipped.reason.as_str(), skipped.text)
                .unwrap();
        }
        told
    });
}
