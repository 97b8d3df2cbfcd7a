//! A policy directory that a running edge watches.

use std::fs;
use std::path::{Path, PathBuf};

use super::CaseFile;

/// `cases/`, `lists/` and `pages/` under one directory.
#[derive(Debug, Clone)]
pub struct PolicyDir(PathBuf);

impl PolicyDir {
    /// Makes the three directories.
    pub fn create(path: PathBuf) -> Self {
        for part in ["cases", "lists", "pages"] {
            fs::create_dir_all(path.join(part)).unwrap();
        }
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where a case is.
    pub fn case_path(&self, name: &str) -> PathBuf {
        self.0.join("cases").join(format!("{name}.toml"))
    }

    /// Puts a case in under its id.
    pub fn write(&self, case: &CaseFile) {
        self.write_case(case.id(), &case.toml());
    }

    /// Puts a case file in as an editor does: written beside, then renamed.
    pub fn write_case(&self, name: &str, toml: &str) {
        self.replace(&self.case_path(name), toml.as_bytes());
    }

    /// Puts a list in.
    pub fn write_list(&self, name: &str, text: &str) {
        self.replace(&self.0.join("lists").join(name), text.as_bytes());
    }

    /// Puts a page in.
    pub fn write_page(&self, name: &str, text: &str) {
        self.replace(&self.0.join("pages").join(name), text.as_bytes());
    }

    /// Takes a case out.
    pub fn remove_case(&self, name: &str) {
        fs::remove_file(self.case_path(name)).unwrap();
    }

    /// The names of the files in one of its directories, hidden ones too, sorted.
    pub fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(directory)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn replace(&self, path: &Path, content: &[u8]) {
        let beside = path.with_extension("partial");
        fs::write(&beside, content).unwrap();
        fs::rename(&beside, path).unwrap();
    }
}
