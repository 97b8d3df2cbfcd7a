//! A directory that changes while it is read.

use super::*;

/// Tells of a writer from the second time on that it is asked.
struct Late(usize, &'static str);

impl Writers for Late {
    fn at_work(&mut self) -> BTreeSet<String> {
        self.0 += 1;
        if self.0 > 1 { [self.1.to_owned()].into() } else { BTreeSet::new() }
    }

    fn is_heard(&self) -> bool {
        true
    }
}

#[test]
fn a_list_that_was_cut_to_nothing_just_before_it_was_read_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in [("cases/a.toml", "x"), ("lists/l", ""), ("lists/m", "m.example")] {
        fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
        fs::write(root.path().join(name), text).unwrap();
    }
    let read = |writers: &mut dyn Writers| read_changed(root.path(), &Known::default(), writers).unwrap();
    assert!(read(&mut Unheard).files.has("lists/l"));
    let snapshot = read(&mut Late(0, "lists/l"));
    assert_eq!(snapshot.unfinished, ["lists/l".to_owned()].into());
    assert!(!snapshot.files.has("lists/l") && snapshot.files.has("lists/m"));
    assert_ne!(
        snapshot.fingerprint,
        fingerprint(root.path()),
        "the next look sees that something is missing"
    );
}
