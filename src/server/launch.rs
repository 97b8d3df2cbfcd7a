//! How this process was started, so that the next one is started in the same way.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program and its arguments.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Launch {
    /// Looks at this process. What is executed now may be deleted by the time it is asked for: the path it was started
    /// by leads to what was installed in its place, through a symbolic link if it is one.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let name = PathBuf::from(arguments.next().unwrap_or_default());
        let directory = env::current_dir()?;
        let path = env::var_os("PATH").unwrap_or_default();
        let program = match find(&name, &directory, &path) {
            Some(program) => program,
            None => env::current_exe()?,
        };
        Ok(Self { program, arguments: arguments.collect() })
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When there is no such file any more.
    pub(super) fn command(&self) -> io::Result<Command> {
        if !self.program.is_file() {
            let message = format!("`{}` is not there; install the new program first", self.program.display());
            return Err(io::Error::other(message));
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        Ok(command)
    }
}

/// The program a shell starts by this name.
fn find(name: &Path, directory: &Path, path: &std::ffi::OsStr) -> Option<PathBuf> {
    let is_path = name.components().count() > 1 || name.is_absolute();
    let mut found = if is_path {
        vec![directory.join(name)]
    } else {
        env::split_paths(path).map(|part| directory.join(part).join(name)).collect()
    };
    found.retain(|candidate| candidate.is_file());
    found.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        std::fs::create_dir_all(at("bin")).unwrap();
        std::fs::write(at("bin/edge"), "").unwrap();
        let path = env::join_paths([at("empty"), at("bin")]).unwrap();
        assert_eq!(find(Path::new("edge"), Path::new("/"), &path), Some(at("bin/edge")));
        assert_eq!(find(Path::new("bin/edge"), home.path(), &path), Some(at("bin/edge")));
        assert_eq!(find(&at("bin/edge"), Path::new("/"), &path), Some(at("bin/edge")));
        assert_eq!(find(Path::new("edge"), Path::new("/"), std::ffi::OsStr::new("")), None);
        assert_eq!(find(Path::new("./edge"), home.path(), &path), None);
    }

    #[test]
    fn a_program_that_is_gone_is_named() {
        let launch = Launch { program: "/nowhere/interdict".into(), arguments: Vec::new() };
        let error = launch.command().unwrap_err().to_string();
        assert!(error.contains("`/nowhere/interdict` is not there"), "{error}");
    }
}
