//! A real disk that a test can fill.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::tools;

/// A file system of a few megabytes; unmounted when it goes out of scope.
pub struct SmallDisk {
    home: PathBuf,
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts one of this size in `home`. `None`, with a line that says so, where the user does not want it.
    #[track_caller]
    pub fn mount(home: PathBuf, name: &str, size: &str) -> Option<Self> {
        if std::env::var_os("INTERDICT_NO_MOUNT").is_some_and(|value| value == "1") {
            println!("left out: INTERDICT_NO_MOUNT=1, so there is no small disk to fill");
            return None;
        }
        let place = home.join(name);
        fs::create_dir_all(&place).unwrap();
        let size = format!("size={size}");
        let output =
            tools::run("mount", ["-t", "tmpfs", "-o", &size, "interdict-test", place.to_str().unwrap()]);
        assert_eq!(
            output.code, 0,
            "cannot mount a tmpfs: {}(run as root, or set INTERDICT_NO_MOUNT=1 to leave this test out)",
            output.stderr
        );
        Some(Self { home, place })
    }

    /// Takes every free byte; a second time, what has become free since.
    pub fn fill(&self) {
        let mut filler = fs::File::options().append(true).create(true).open(self.filler()).unwrap();
        for size in [65536, 4096, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives them back.
    pub fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.place.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        tools::run("umount", [Path::new("-l"), &self.place]);
        // The edge cleaned up as far as it could: a mount point cannot be removed. What is left is one empty directory.
        fs::remove_dir_all(&self.home).ok();
    }
}
