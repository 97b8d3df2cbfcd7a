//! `audit reveal`: from pseudonyms back to addresses.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::audit::{self, ClientPrivacy, EventId, Problem, ReadError, Revealed, Revealer};
use crate::cli::{Exit, complain};
use crate::config::Config;

/// Longest line that can be a record, in bytes.
const MAX_LINE: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct RevealArgs {
    /// Records to read instead of the log, one a line; `-` is standard input.
    #[arg(value_name = "FILE")]
    records: Option<PathBuf>,
    /// The audit directory, unless the configuration names it.
    #[arg(long, value_name = "DIR", conflicts_with = "records")]
    directory: Option<PathBuf>,
    /// The directory of the keys, unless the configuration names it: needed with --directory alone.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// The configuration file that names both.
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
    /// Only the record with this id.
    #[arg(long, value_name = "ID")]
    id: Option<EventId>,
    /// Only records of this case.
    #[arg(long, value_name = "CASE")]
    case: Option<String>,
}

/// What came of it.
#[derive(Default)]
struct Tally {
    /// Records that were asked for, damaged lines included.
    seen: u64,
    /// Those whose client cannot be told.
    unknown: u64,
}

pub(super) fn run(args: &RevealArgs) -> Exit {
    match prepare(args).and_then(|(mut revealer, records)| reveal(args, &mut revealer, records)) {
        Ok(Tally { seen: 1.., unknown: 0 }) => Exit::Fine,
        Ok(_) => Exit::No,
        Err(exit) => exit,
    }
}

/// Where the lines come from.
enum Lines {
    Log(PathBuf),
    Text(Box<dyn BufRead>),
}

fn prepare(args: &RevealArgs) -> Result<(Revealer, Lines), Exit> {
    let needs_config = args.keys.is_none() || (args.records.is_none() && args.directory.is_none());
    let config = needs_config.then(|| Config::load(&args.config)).transpose();
    let config = config.map_err(|error| match args.directory.is_some() || args.records.is_some() {
        true => complain(
            Exit::Usage,
            &format!("the keys are not in the log: name them with `--keys DIR`; {error}"),
        ),
        false => complain(Exit::Usage, &error),
    });
    let config = config?.map(|config| config.audit);
    let configured = config.as_ref().and_then(|audit| match &audit.client {
        ClientPrivacy::Pseudonym(pseudonyms) => Some(pseudonyms.keys.clone()),
        ClientPrivacy::Full | ClientPrivacy::Truncated => None,
    });
    let keys = args.keys.clone().or(configured);
    let keys = keys.ok_or_else(|| {
        complain(Exit::Usage, &"clients are not recorded as pseudonyms: name the keys with `--keys`")
    })?;
    let revealer = Revealer::open(&keys).map_err(|error| complain(Exit::Io, &error))?;
    let directory = args.directory.clone().or(config.map(|audit| audit.directory));
    let lines = match (&args.records, directory) {
        (Some(path), _) => Lines::Text(open(path).map_err(|error| complain(Exit::Io, &error))?),
        (None, directory) => Lines::Log(directory.unwrap_or_default()),
    };
    Ok((revealer, lines))
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, ReadError> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(|error| ReadError::Io { path: path.to_owned(), error })?;
    Ok(Box::new(BufReader::new(file)))
}

fn reveal(args: &RevealArgs, revealer: &mut Revealer, lines: Lines) -> Result<Tally, Exit> {
    let mut out = io::stdout().lock();
    let mut tally = Tally::default();
    let mut one = |place, line: &[u8]| print(args, revealer, (place, line), &mut out, &mut tally);
    let outcome = match lines {
        Lines::Log(directory) => each_record(&directory, &mut one),
        Lines::Text(text) => each_line(text, &mut one),
    };
    match outcome.and_then(|()| out.flush().map_err(ReadError::Output)) {
        Ok(()) => Ok(tally),
        Err(error) => Err(super::failed(&error)),
    }
}

/// Where a line stands in a text, from 1; a record of the log has its own number.
type Place = Option<u64>;

fn each_record(
    directory: &Path,
    one: &mut impl FnMut(Place, &[u8]) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    for item in audit::records(directory)? {
        match item? {
            Ok(record) => one(None, &record.line)?,
            Err(problem) => note!("interdict: {problem}"),
        }
    }
    Ok(())
}

fn each_line(
    mut text: Box<dyn BufRead>,
    one: &mut impl FnMut(Place, &[u8]) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let failed = |error| ReadError::Io { path: "records".into(), error };
    let mut line = Vec::new();
    let mut number = 1;
    loop {
        line.clear();
        // A longer line is read in pieces, none of which is a record.
        if io::Read::take(&mut text, MAX_LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        let record = line.trim_ascii();
        if !record.is_empty() {
            one(Some(number), record)?;
        }
        number += u64::from(line.ends_with(b"\n"));
    }
}

fn print(
    args: &RevealArgs,
    revealer: &mut Revealer,
    (place, line): (Place, &[u8]),
    out: &mut impl Write,
    tally: &mut Tally,
) -> Result<(), ReadError> {
    let revealed = match revealer.record(line) {
        Ok(Some(revealed)) if is_wanted(args, &revealed) => revealed,
        Ok(_) => return Ok(()),
        Err(problem) => {
            match (place, problem) {
                (Some(place), Problem::Record { what, .. }) => note!("interdict: line {place}: {what}"),
                (_, problem) => note!("interdict: {problem}"),
            }
            tally.seen += 1;
            tally.unknown += 1;
            return Ok(());
        }
    };
    tally.seen += 1;
    let Revealed { id, time, case, client, address } = revealed;
    let mut answer = json!({ "id": id.to_string(), "time": time, "client": client });
    if let (Some(fields), Some(case)) = (answer.as_object_mut(), case) {
        fields.insert("case".to_owned(), case.into());
    }
    let (key, value) = match address {
        Ok(address) => ("address", address.to_string()),
        Err(error) => {
            tally.unknown += 1;
            ("unknown", error.to_string())
        }
    };
    if let Some(fields) = answer.as_object_mut() {
        fields.insert(key.to_owned(), value.into());
    }
    writeln!(out, "{answer}").map_err(ReadError::Output)
}

fn is_wanted(args: &RevealArgs, revealed: &Revealed) -> bool {
    args.id.is_none_or(|id| id == revealed.id)
        && args.case.as_deref().is_none_or(|case| Some(case) == revealed.case.as_deref())
}
