//! `import`: lists in the formats of others become one list of a policy directory.

mod report;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use sha2::{Digest as _, Sha256};

use self::report::{FileReport, Report};
use super::{Exit, complain, place};
use crate::hostname::Hostname;
use crate::limits;
use crate::policy::Digest;
use crate::policy::exchange::{Distinct, Format, ImportOptions, Imported, Importer, Settled, settle};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The format of the files.
    #[arg(long, value_enum)]
    format: FormatArg,
    /// The lists; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the list goes, like policies/lists/NAME.txt [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace that file when it is there.
    #[arg(long, requires = "output")]
    replace: bool,
    /// Write nothing when anything was skipped.
    #[arg(long)]
    strict: bool,
    /// In a list of domains, take each name with all below it.
    #[arg(long)]
    subdomains: bool,
    /// What the response policy zone is called, where the file does not say it.
    #[arg(long, value_name = "NAME")]
    zone: Option<Hostname>,
    /// How many skipped entries of each reason are shown.
    #[arg(long, value_name = "N", default_value_t = 3)]
    show: usize,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// The formats, as words of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FormatArg {
    /// `0.0.0.0 a.example`
    Hosts,
    /// `a.example`, `.a.example`, `*.a.example`
    Domains,
    /// `||a.example^`
    Adblock,
    /// `address=/a.example/`
    Dnsmasq,
    /// A response policy zone: `a.example CNAME .`
    Rpz,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Hosts => Self::Hosts,
            FormatArg::Domains => Self::Domains,
            FormatArg::Adblock => Self::Adblock,
            FormatArg::Dnsmasq => Self::Dnsmasq,
            FormatArg::Rpz => Self::Rpz,
        }
    }
}

pub(super) fn run(args: &ImportArgs) -> Exit {
    match import(args) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn import(args: &ImportArgs) -> Result<Exit, Exit> {
    let format = Format::from(args.format);
    check(args, format)?;
    let options = ImportOptions { subdomains: args.subdomains, zone: args.zone.clone(), samples: args.show };
    let mut files = Vec::with_capacity(args.files.len());
    let (mut patterns, mut except) = (Distinct::default(), Distinct::default());
    for path in &args.files {
        let (imported, digest) = read(path, format, &options)
            .map_err(|error| complain(Exit::Io, &format!("cannot read `{}`: {error}", path.display())))?;
        files.push(FileReport::of(path, digest, &imported));
        for pattern in imported.patterns {
            patterns.insert(pattern);
        }
        for pattern in imported.except {
            except.insert(pattern);
        }
    }
    // The files are used together, so an exception in one counts for all of them.
    let settled = settle(patterns.into_patterns(), except.into_patterns(), format);
    let mut report = Report::of(format, files, &settled, args.show);
    let refusal = report.refusal(args.strict);
    if refusal.is_none() {
        write(args, &report, &settled)?;
        report.output = args.output.as_ref().map(|path| path.display().to_string());
    }
    report.print(args.json);
    Ok(refusal.map_or(Exit::Fine, |refusal| complain(Exit::No, &format!("nothing was written: {refusal}"))))
}

/// What can be wrong with the command line.
fn check(args: &ImportArgs, format: Format) -> Result<(), Exit> {
    if args.subdomains && format != Format::Domains {
        return Err(complain(
            Exit::Usage,
            &"`--subdomains` is for `--format domains`; other formats say it themselves",
        ));
    }
    if args.zone.is_some() && format != Format::Rpz {
        return Err(complain(Exit::Usage, &"`--zone` is for `--format rpz`"));
    }
    match &args.output {
        Some(path) if !args.replace && path.exists() => Err(is_there(path)),
        _ => Ok(()),
    }
}

pub(super) fn is_there(path: &Path) -> Exit {
    complain(Exit::Usage, &format!("`{}` is there already; add `--replace` to replace it", path.display()))
}

/// Reads one file in pieces: a list may be larger than the memory it takes.
fn read(path: &Path, format: Format, options: &ImportOptions) -> io::Result<(Imported, Digest)> {
    let mut file: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    let mut importer = Importer::new(format, options);
    let mut digest = Sha256::new();
    let mut piece = vec![0; limits::IMPORT_PIECE_BYTES];
    loop {
        let length = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let piece = piece.get(..length).unwrap_or_default();
        digest.update(piece);
        importer.feed(piece);
    }
    Ok((importer.finish(), Digest::from_bytes(digest.finalize().into())))
}

fn write(args: &ImportArgs, report: &Report, settled: &Settled) -> Result<(), Exit> {
    let list = |out: &mut dyn Write| {
        for remark in report.remarks(&settled.except) {
            writeln!(out, "# {remark}")?;
        }
        settled.patterns.iter().try_for_each(|pattern| writeln!(out, "{pattern}"))
    };
    deliver(args.output.as_deref(), args.replace, list)
}

/// Writes to a file, whole or not at all, or to standard output.
pub(super) fn deliver(
    output: Option<&Path>,
    may_replace: bool,
    list: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Exit> {
    let Some(path) = output else {
        let mut out = BufWriter::new(io::stdout().lock());
        let written = list(&mut out).and_then(|()| out.flush());
        return written.map_err(|error| complain(Exit::Io, &format!("cannot write the list: {error}")));
    };
    place::put(path, may_replace, |file| list(file)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => is_there(path),
        _ => complain(Exit::Io, &format!("cannot write `{}`: {error}", path.display())),
    })
}
