//! What comes into force before all files of the directory are complete.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;

use super::super::guarding::Judgement;
use super::super::note::{Note, Told};
use super::super::partial::{InForce, carried_out, faults, waits_for};
use super::super::report::{Report, Result as ReloadResult, report};
use super::super::source::Snapshot;
use super::super::source::known::Known;
use super::Swapper;
use crate::diagnostic::Diagnostics;
use crate::limits;
use crate::policy::{Book, CaseId, Digest, PolicyFiles};

/// A reading of a directory that is not complete.
struct Early<'a> {
    snapshot: &'a Snapshot,
    told: &'a Told,
    /// The digest of all that is there.
    whole: Digest,
    began: Instant,
}

impl Early<'_> {
    fn carried_out(&self, files: &PolicyFiles, book: &Book) -> Vec<Note> {
        carried_out(&self.told.notes, files, self.whole, book)
    }
}

impl Swapper {
    /// Puts in force what can be while files are being written. A report that is `waiting` says that all of it has to wait for
    /// them.
    ///
    /// A name that leaves a case may be on its way into another one by a file that is being written, so that nothing is freed
    /// that no command ends. What is wrong in a case is wrong with any list.
    pub(super) fn reload_incomplete(
        &mut self,
        snapshot: &Snapshot,
        told: &Told,
        now: Timestamp,
        began: Instant,
    ) -> Option<Report> {
        self.fingerprint = snapshot.fingerprint.clone();
        self.unfinished.left_out = snapshot.unfinished.clone();
        if !self.authority.is_own() {
            let followed = self.follow_kept(now, began);
            let waits = || Report {
                waiting: true,
                ..report(ReloadResult::Unchanged, &Diagnostics::default(), now, began)
            };
            return Some(followed.unwrap_or_else(waits));
        }
        self.awaited = false;
        let before = self.gate.ruleset();
        let state = self.authority.root().to_owned();
        let in_force = InForce::find(&state, before.digest()).filter(|_| !self.guarding.is_signed());
        let Some((in_force, (completed, mut warnings))) =
            in_force.and_then(|in_force| in_force.completed(snapshot).map(|files| (in_force, files)))
        else {
            return Some(self.put_off(&waits_for(&snapshot.unfinished), now, began));
        };
        warnings.extend(snapshot.warnings.clone());
        let early = Early { snapshot, told, whole: completed.digest(), began };
        if early.whole == before.digest() {
            self.unfinished.carried_out = Some(early.carried_out(&completed, self.builder.book()));
            let unchanged = report(ReloadResult::Unchanged, &warnings, now, began);
            return Some(self.publish(unchanged, None));
        }
        // Long lists that are new can wait for others. What is urgent is short.
        if !self.builder.is_much(&completed)
            && let Some(report) = self.take_early(completed.clone(), &early, &warnings)
        {
            return Some(report);
        }
        let faults = faults(&in_force, &completed, self.builder.book());
        if faults.has_errors() {
            return Some(self.refuse(&faults, &told.notes, now, began));
        }
        let mut endings = vec![BTreeSet::new()];
        if !told.ended.is_empty() && !self.is_taken_over(&completed, &told.ended) {
            endings.insert(0, told.ended.clone());
        }
        let mut told_of = warnings.clone();
        for ended in endings {
            let is_much = |files: &PolicyFiles| self.builder.is_much(files);
            let book = self.builder.book();
            let Some((additions, waiting)) = in_force.with_additions(&completed, &ended, book, is_much)
            else {
                break;
            };
            told_of = warnings.clone();
            told_of.extend(waiting);
            let report = self.take_early(additions.clone(), &early, &told_of);
            let report = report.or_else(|| self.take_some(&in_force, &additions, &early, &told_of));
            if report.is_some() {
                return report;
            }
        }
        told_of.extend(waits_for(&snapshot.unfinished));
        Some(self.put_off(&told_of, now, began))
    }

    /// Whether the names of cases that are to end are blocked all the same when all that is there comes into force: then they
    /// must not be free in between.
    fn is_taken_over(&self, completed: &PolicyFiles, ended: &BTreeSet<String>) -> bool {
        let (before, now) = (self.gate.ruleset(), self.clock.now());
        if self.builder.is_much(completed) {
            return true;
        }
        let built = self.builder.build(completed.clone(), self.builder.contents(), Some(&before));
        built.map_or(true, |built| self.guarding.still_blocks(&before, ended, &built.ruleset, now))
    }

    /// Of new cases that may not come together, takes those that may come alone. One that the guard would hold back, or refuse,
    /// is judged when the directory is complete.
    fn take_some(
        &mut self,
        in_force: &InForce<'_>,
        additions: &PolicyFiles,
        early: &Early<'_>,
        warnings: &Diagnostics,
    ) -> Option<Report> {
        let new = in_force.new_cases(additions);
        let mut last = None;
        for case in new.iter().take(limits::CASES_TRIED).filter(|_| new.len() > 1) {
            let mut files = additions.clone();
            let taken = |name: &str| self.builder.book().has_case(name);
            files.files.retain(|name, _| name == case || !new.contains(name) || taken(name));
            last = self.take_early(files, early, warnings).or(last);
        }
        last
    }

    /// Whether the last reading is the answer to whoever has asked for a change with this note.
    pub(in crate::reload) fn has_judged(&self, note: Option<&Note>) -> bool {
        match (&self.unfinished.carried_out, note) {
            (Some(done), Some(note)) => done.contains(note),
            _ => true,
        }
    }

    fn put_off(&self, warnings: &Diagnostics, now: Timestamp, began: Instant) -> Report {
        let stays = report(ReloadResult::Unchanged, warnings, now, began);
        self.publish(Report { waiting: true, ..stays }, None)
    }

    /// Puts a set in force, if it may come early.
    fn take_early(
        &mut self,
        files: PolicyFiles,
        early: &Early<'_>,
        warnings: &Diagnostics,
    ) -> Option<Report> {
        let (before, now) = (self.gate.ruleset(), self.clock.now());
        if files.digest() == before.digest() {
            return None;
        }
        let done = early.carried_out(&files, self.builder.book());
        let contents = self.builder.contents();
        let mut built = self.builder.build(files, contents, Some(&before)).ok()?;
        built.warnings.extend(warnings.clone());
        let traffic = self.gate.traffic();
        let weighed = self.guarding.weigh(&built.candidate(contents), Some(&before), Some(traffic), now);
        let is_gone = |case: &String| {
            early.told.ended.contains(case)
                && CaseId::parse(case).is_some_and(|id| built.ruleset.case(&id).is_none())
        };
        let may_come = weighed.as_ref().is_ok_and(|weighed| match &weighed.held {
            Some(held) => held.is_approved(),
            None => weighed.lessened.iter().all(is_gone),
        });
        if !may_come {
            return None;
        }
        let Judgement::Taken(passport) = self.guarding.conclude(weighed) else { return None };
        self.gate.metrics().lists_read(built.lists_read);
        let already = self.unfinished.carried_out.replace(done.clone()).unwrap_or_default();
        let notes: Vec<Note> = done.into_iter().filter(|note| !already.contains(note)).collect();
        Some(self.apply(built.knowing(Known::of(early.snapshot)), &passport, &notes, now, early.began))
    }

    /// Puts in force what the successor has kept last. What it has made of the directory is not to be guessed.
    fn follow_kept(&mut self, now: Timestamp, began: Instant) -> Option<Report> {
        let before = self.gate.ruleset();
        let state = self.authority.root().to_owned();
        self.awaited = true;
        let newest = InForce::newest(&state)?;
        if newest.is(before.digest()) {
            return None;
        }
        let built = self.builder.build(newest.files()?, self.builder.contents(), Some(&before)).ok()?;
        let report = self.follow(built, now, began);
        // There may be another one before the directory is complete.
        self.awaited = true;
        Some(self.publish(report, None))
    }
}
