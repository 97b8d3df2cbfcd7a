//! Whatever somebody does to a log without its private key is found, and where.

use std::path::PathBuf;

use super::{
    sample::Sample,
    tests::{run, told},
    *,
};

/// All files of a log, below its directory.
fn files(sample: &Sample) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![sample.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(sample.path()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn small() -> Sample {
    let mut sample = Sample::new();
    sample.segments(&[4, 3]);
    sample.miss(2);
    sample.append(5, 2);
    sample.partials();
    sample.checkpoint(true);
    sample.epoch(1_000_010, "the directory was an older copy");
    sample.segments(&[3, 2]);
    assert_eq!(told(&run(&sample)), [""; 0]);
    sample
}

fn is_packed(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "zst")
}

/// Whether a finding names this file and, in lines that are not compressed, this byte.
fn is_located(report: &Report, file: &Path, at: u64) -> bool {
    let has_byte = |finding: &Finding| finding.bytes.is_some_and(|(start, end)| (start..end).contains(&at));
    let is_plain = file.extension().is_some_and(|extension| extension == "jsonl");
    report.findings.iter().any(|finding| finding.file == file && (!is_plain || has_byte(finding)))
}

#[test]
fn every_flipped_byte_is_found_and_located() {
    let sample = small();
    for file in files(&sample) {
        let path = sample.path().join(&file);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            // Some bits of a zstd frame say nothing: what it holds is the same.
            let same = is_packed(&file)
                && zstd::decode_all(&bad[..]).is_ok_and(|text| text == zstd::decode_all(&good[..]).unwrap());
            std::fs::write(&path, bad).unwrap();
            let report = run(&sample);
            assert!(
                same || is_located(&report, &file, at as u64),
                "{} byte {at}: {:?}",
                file.display(),
                told(&report)
            );
        }
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn every_cut_is_found_and_located() {
    let sample = small();
    for file in files(&sample) {
        let path = sample.path().join(&file);
        let good = std::fs::read(&path).unwrap();
        for length in 0..good.len() {
            std::fs::write(&path, &good[..length]).unwrap();
            let report = run(&sample);
            assert!(
                report.findings.iter().any(|finding| finding.file == file),
                "{} cut at {length}: {:?}",
                file.display(),
                told(&report)
            );
        }
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn every_deleted_file_is_found() {
    let sample = small();
    for file in files(&sample) {
        let path = sample.path().join(&file);
        let good = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let report = run(&sample);
        // The private key need not be there. A segment that is gone is named by its lines, compressed or not. The
        // checkpoint of an orderly stop within the last segment is one of several that say the same.
        let name = file.to_string_lossy().into_owned();
        let is_spare = name == "log.key"
            || name.contains("/checkpoints/") && !name.ends_with("04") && !name.ends_with("03");
        let plain = PathBuf::from(name.trim_end_matches(".zst"));
        // Partial tiles must be there as of the start of the open segment.
        let is_needed = ["tree/1/tile/0/000.p/4", "tree/2/tile/0/000.p/3"].contains(&name.as_str());
        let is_spare = is_spare || name.contains(".p/") && !is_needed;
        let is_found = report.findings.iter().any(|finding| finding.file == file || finding.file == plain);
        assert!(is_found || is_spare, "{name}: {:?}", told(&report));
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_deleted_segment_is_named_with_its_records() {
    let mut sample = Sample::new();
    sample.segments(&[300, 200, 100, 50]);
    for suffix in ["idx", "jsonl.zst"] {
        std::fs::remove_file(sample.path().join(format!("segments/{:020}.{suffix}", 301))).unwrap();
    }
    let report = run(&sample);
    assert_eq!(
        told(&report)[..1],
        ["segments/00000000000000000301.jsonl, records 301 to 500: the segment is missing"]
    );
}

#[test]
fn swapped_and_replaced_segments_are_found() {
    let mut sample = Sample::new();
    sample.segments(&[300, 300, 300, 50]);
    let path = |first: u64, suffix: &str| sample.path().join(format!("segments/{first:020}.{suffix}"));
    for suffixes in [&["jsonl.zst"][..], &["jsonl.zst", "idx"]] {
        for suffix in suffixes {
            let one = std::fs::read(path(1, suffix)).unwrap();
            std::fs::rename(path(301, suffix), path(1, suffix)).unwrap();
            std::fs::write(path(301, suffix), one).unwrap();
        }
        let report = run(&sample);
        for first in [1, 301] {
            let file = format!("segments/{first:020}.jsonl.zst");
            assert!(
                report.findings.iter().any(|finding| finding.file == Path::new(&file)),
                "{:?}",
                told(&report)
            );
        }
        for suffix in suffixes {
            let one = std::fs::read(path(1, suffix)).unwrap();
            std::fs::rename(path(301, suffix), path(1, suffix)).unwrap();
            std::fs::write(path(301, suffix), one).unwrap();
        }
    }
    assert!(run(&sample).is_sound());
}

/// Rewrites one segment with its index so that they fit each other.
fn rewrite(sample: &Sample, first: u64, change: impl Fn(String) -> String) {
    let packed = sample.path().join(format!("segments/{first:020}.jsonl.zst"));
    let text = String::from_utf8(zstd::decode_all(&std::fs::read(&packed).unwrap()[..]).unwrap()).unwrap();
    sample.write(&format!("segments/{first:020}.jsonl"), change(text));
    sample.pack(first);
}

#[test]
fn a_changed_record_is_found_within_its_group_even_if_its_index_was_made_to_fit() {
    let mut sample = Sample::new();
    sample.segments(&[300, 1000, 300, 50]);
    rewrite(&sample, 301, |text| text.replacen("/\\\"700\\\\", "/\\\"7O0\\\\", 1));
    let report = run(&sample);
    assert_eq!(report.findings.len(), 1, "{:?}", told(&report));
    let finding = &report.findings[0];
    assert_eq!(finding.file, Path::new("segments/00000000000000000301.jsonl.zst"));
    // Records 513 to 768 are one group of 256 leaves.
    assert_eq!(finding.records, Some((513, 768)));
    assert_eq!(finding.what, "changed since it was signed");
}

#[test]
fn a_removed_record_is_told_exactly() {
    let mut sample = Sample::new();
    sample.segments(&[300, 300, 50]);
    rewrite(&sample, 301, |text| {
        text.lines().filter(|line| !line.contains("\"seq\":400,")).map(|line| format!("{line}\n")).collect()
    });
    let report = run(&sample);
    let holes = report.findings.iter().any(|finding| {
        finding.records == Some((400, 400))
            && finding.file == Path::new("segments/00000000000000000301.jsonl.zst")
    });
    assert!(holes, "{:?}", told(&report));
}

#[test]
fn a_checkpoint_rolled_back_with_everything_after_it_is_found_by_what_was_kept() {
    let mut sample = Sample::new();
    sample.segments(&[300]);
    let old = std::fs::read(sample.path().join("tree/1/checkpoint")).unwrap();
    sample.append(1, 20);
    sample.checkpoint(true);
    sample.partials();
    sample.write("tree/1/checkpoint", &old);
    let report = run(&sample);
    assert_eq!(
        told(&report),
        ["tree/1/checkpoint: rolled back: it is of 300 records, but a kept checkpoint is of 320"]
    );
    // With the kept one gone as well, a later segment still shows it.
    std::fs::remove_file(sample.path().join(format!("tree/1/checkpoints/{:020}", 320))).unwrap();
    let mut later = Sample::new();
    later.segments(&[300, 20, 5]);
    let kept = |size: u64| later.path().join(format!("tree/1/checkpoints/{size:020}"));
    std::fs::copy(kept(300), later.path().join("tree/1/checkpoint")).unwrap();
    for size in [320, 325] {
        std::fs::remove_file(kept(size)).unwrap();
    }
    let report = run(&later);
    assert!(
        told(&report).iter().any(|told| told.starts_with("tree/1/checkpoint: rolled back")),
        "{:?}",
        told(&report)
    );
}

#[test]
fn changes_in_a_log_of_several_groups_are_located() {
    let mut sample = Sample::new();
    sample.segments(&[700, 900]);
    for (file, step) in
        [("segments/00000000000000000701.jsonl", 3571), ("segments/00000000000000000001.idx", 97)]
    {
        let path = sample.path().join(file);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            let report = run(&sample);
            assert!(is_located(&report, Path::new(file), at as u64), "{file} {at}: {:?}", told(&report));
        }
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_folder_in_the_place_of_a_file_is_one_finding_among_others() {
    let sample = small();
    let index = sample.path().join("segments/00000000000000000001.idx");
    let mut bad = std::fs::read(&index).unwrap();
    bad[40] ^= 1;
    std::fs::write(&index, bad).unwrap();
    let others = told(&run(&sample));
    assert_eq!(others.len(), 1);
    for file in files(&sample) {
        let path = sample.path().join(&file);
        let good = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let report = run(&sample);
        let name = file.to_string_lossy();
        assert!(report.findings.iter().any(|finding| finding.file == file), "{name}: {:?}", told(&report));
        // Without the key or the first segment nothing can be said of its index.
        let is_other =
            !["log.pub", "segments/00000000000000000001"].iter().any(|other| name.starts_with(other));
        assert!(!is_other || told(&report).contains(&others[0]), "{name}: {:?}", told(&report));
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_file_in_the_place_of_a_folder_is_found() {
    for folder in ["segments", "epochs", "tree", "tree/1", "tree/1/checkpoints", "tree/1/tile"] {
        let sample = small();
        std::fs::remove_dir_all(sample.path().join(folder)).unwrap();
        sample.write(folder, "a file");
        let report = run(&sample);
        let there = format!("{folder}: it is no folder");
        assert!(told(&report).contains(&there), "{folder}: {:?}", told(&report));
    }
}
