//! What comes into force before all files of the directory are complete.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;

use super::super::guarding::{Judgement, Refusal, Weighed};
use super::super::note::Told;
use super::super::partial::{InForce, faults, waits_for};
use super::super::report::{Report, Result as ReloadResult, report};
use super::super::source::Snapshot;
use super::super::source::known::Known;
use super::Swapper;
use crate::diagnostic::Diagnostics;
use crate::policy::PolicyFiles;

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
        if !self.authority.is_own() {
            return self.follow_kept(now, began);
        }
        let before = self.gate.ruleset();
        let state = self.authority.root().to_owned();
        let in_force = InForce::find(&state, before.digest()).filter(|_| !self.guarding.is_signed());
        let Some((in_force, (completed, mut warnings))) =
            in_force.and_then(|in_force| in_force.completed(snapshot).map(|files| (in_force, files)))
        else {
            return Some(self.put_off(&waits_for(&snapshot.unfinished), now, began));
        };
        warnings.extend(snapshot.warnings.clone());
        if completed.digest() == before.digest() {
            let unchanged = report(ReloadResult::Unchanged, &warnings, now, began);
            return Some(self.publish(unchanged, None));
        }
        // Long lists that are new can wait for others. What is urgent is short.
        if !self.builder.is_much(&completed)
            && let Some(report) = self.take_early(completed.clone(), snapshot, &warnings, told, began)
        {
            return Some(report);
        }
        let faults = faults(&completed, &snapshot.unfinished, self.builder.book());
        if faults.has_errors() {
            return Some(self.refuse(&faults, &told.notes, now, began));
        }
        if let Some((additions, waiting)) =
            in_force.with_additions(&completed, &told.ended, self.builder.book())
        {
            warnings.extend(waiting);
            if let Some(report) = self.take_early(additions, snapshot, &warnings, told, began) {
                return Some(report);
            }
        }
        Some(self.put_off(&warnings, now, began))
    }

    fn put_off(&self, warnings: &Diagnostics, now: Timestamp, began: Instant) -> Report {
        let stays = report(ReloadResult::Unchanged, warnings, now, began);
        self.publish(Report { waiting: true, ..stays }, None)
    }

    /// Puts a set in force, if it may come early.
    fn take_early(
        &mut self,
        files: PolicyFiles,
        snapshot: &Snapshot,
        warnings: &Diagnostics,
        told: &Told,
        began: Instant,
    ) -> Option<Report> {
        let (before, now) = (self.gate.ruleset(), self.clock.now());
        if files.digest() == before.digest() {
            return None;
        }
        let contents = self.builder.contents();
        let mut built = self.builder.build(files, contents, Some(&before)).ok()?;
        built.warnings.extend(warnings.clone());
        let traffic = self.gate.traffic();
        let weighed = self.guarding.weigh(&built.candidate(contents), Some(&before), Some(traffic), now);
        if !may_come_early(&weighed, &told.ended) {
            return None;
        }
        let Judgement::Taken(passport) = self.guarding.conclude(weighed) else { return None };
        self.gate.metrics().lists_read(built.lists_read);
        Some(self.apply(built.knowing(Known::of(snapshot)), &passport, &told.notes, now, began))
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

fn may_come_early(weighed: &Result<Weighed, Refusal>, ended: &BTreeSet<String>) -> bool {
    weighed.as_ref().is_ok_and(|weighed| match &weighed.held {
        Some(held) => held.is_approved(),
        None => weighed.lessened.iter().all(|case| ended.contains(case)),
    })
}
