//! Where a report goes: files that are tried before anything is sent.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cli::{Exit, complain};
use crate::load::{self, Report};

/// The files of a report. Dropped without a report, those that are new are gone again.
pub(super) struct Outputs<'a> {
    json: Option<Output<'a>>,
    html: Option<Output<'a>>,
}

/// One file that can be written.
struct Output<'a> {
    path: &'a Path,
    /// It was not there before, and nothing has been written to it.
    is_new: bool,
}

impl<'a> Outputs<'a> {
    pub(super) fn open(json: Option<&'a Path>, html: Option<&'a Path>) -> Result<Self, Exit> {
        let open = |path: Option<&'a Path>| {
            path.map(Output::open)
                .transpose()
                .map_err(|(path, error)| complain(Exit::Io, &format_args!("`{}`: {error}", path.display())))
        };
        let (json, html) = (open(json)?, open(html)?);
        if let (Some(json), Some(html)) = (&json, &html)
            && is_same(json.path, html.path)
        {
            let told = format!("--json and --html are to write to one file, `{}`", html.path.display());
            return Err(complain(Exit::Usage, &told));
        }
        Ok(Self { json, html })
    }

    /// Writes both; what becomes of one is nothing to the other.
    pub(super) fn write(mut self, report: &Report) -> Result<(), Exit> {
        let json = self.json.as_mut().map_or(Ok(()), |output| {
            let json = serde_json::to_string(report).map_err(|error| complain(Exit::Io, &error))?;
            output.write(&format!("{json}\n"))
        });
        let html = self.html.as_mut().map_or(Ok(()), |output| {
            output.write(&load::page(report).map_err(|error| complain(Exit::Io, &error))?)
        });
        json.and(html)
    }
}

impl<'a> Output<'a> {
    /// Opens it to write, and leaves what is in it as it is: there may be no new report.
    fn open(path: &'a Path) -> Result<Self, (&'a Path, io::Error)> {
        let refused = |error| (path, error);
        match fs::metadata(path) {
            // Pipes and the like: to open one may wait for whoever reads it.
            Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => Ok(Self { path, is_new: false }),
            Ok(_) => {
                OpenOptions::new().append(true).open(path).map_err(refused)?;
                Ok(Self { path, is_new: false })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                File::create(path).map_err(refused)?;
                Ok(Self { path, is_new: true })
            }
            Err(error) => Err(refused(error)),
        }
    }

    fn write(&mut self, text: &str) -> Result<(), Exit> {
        self.is_new = false;
        fs::write(self.path, text)
            .map_err(|error| complain(Exit::Io, &format_args!("`{}`: {error}", self.path.display())))
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if self.is_new {
            fs::remove_file(self.path).ok();
        }
    }
}

/// Whether two names, or two links, lead to one file.
fn is_same(a: &Path, b: &Path) -> bool {
    // Whatever else takes both, as `/dev/null` does.
    let file = |path| fs::metadata(path).ok().filter(fs::Metadata::is_file);
    let identity = |path| file(path).map(|metadata| (metadata.dev(), metadata.ino()));
    identity(a).is_some_and(|a| identity(b) == Some(a))
}
