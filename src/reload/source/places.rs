//! Where a change of a policy directory may happen.

use std::fs;
use std::path::{Path, PathBuf};

use super::{PARTS, Part};
use crate::limits;
use crate::policy::PolicyFiles;

/// What has to be watched, so that every change is heard.
#[derive(Debug, Default)]
pub(in crate::reload) struct Places {
    pub(in crate::reload) directories: Vec<PathBuf>,
    /// Names of the set that are links: who writes such a file does it elsewhere.
    pub(in crate::reload) links: Vec<String>,
}

impl Places {
    /// All there are.
    pub(in crate::reload) fn of(root: &Path) -> Self {
        let mut places = Self { directories: vec![root.to_path_buf()], links: Vec::new() };
        for part in PARTS {
            places.collect(root, &root.join(part.directory), part, 0);
        }
        places
    }

    /// Those in a directory that has just come, by its path in the policy directory.
    pub(in crate::reload) fn within(root: &Path, name: &str) -> Self {
        let mut places = Self::default();
        let depth = name.matches('/').count();
        let first = name.split('/').next().unwrap_or_default();
        if let Some(part) = PARTS.into_iter().find(|part| part.directory == first)
            && (depth == 0 || part.recursive)
        {
            places.collect(root, &root.join(name), part, depth);
        }
        places
    }

    fn collect(&mut self, root: &Path, directory: &Path, part: Part, depth: usize) {
        if depth > limits::SOURCE_DEPTH || !directory.is_dir() {
            return;
        }
        self.directories.push(directory.to_path_buf());
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_file() || entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            if part.recursive && path.is_dir() {
                self.collect(root, &path, part, depth + 1);
            } else if kind.is_symlink() && !path.is_dir() {
                let name = path.strip_prefix(root).ok().and_then(Path::to_str);
                self.links.extend(name.filter(|name| PolicyFiles::belongs(name)).map(str::to_owned));
            }
        }
    }
}
