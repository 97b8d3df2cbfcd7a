//! One run: threads are started together, watched, and their counts added up.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Barrier, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::drive::{Prepared, Thread, Trouble, prepare};
use super::holding::Sought;
use super::judge::Fault;
use super::plan::{Expect, Plan, PlanError};
use super::report::Swap;
use super::stop::Stop;
use super::swaps::Swapping;
use super::tally::Tally;
use super::wire::Reach;
use crate::limits;

/// Between the moment all connections are made and the first request.
const HEAD_START: Duration = Duration::from_millis(20);
/// How often whoever watches is told.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plan cannot be run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A host cannot be asked for.
    #[error("`{host}` cannot be asked for: {cause}")]
    Host {
        /// The host.
        host: String,
        /// Why not.
        cause: String,
    },
    /// So many connections take more files than this process may have open.
    #[error(
        "{connections} connections take {wanted} open files and {allowed} are allowed: raise `ulimit -Hn`, or ask for fewer"
    )]
    Files {
        /// How many it was to be.
        connections: usize,
        /// What they take.
        wanted: u64,
        /// What the system allows.
        allowed: u64,
    },
    /// The generator cannot work.
    #[error("the generator: {0}")]
    Io(#[from] std::io::Error),
    /// A thread of the generator ended in a panic.
    #[error("a thread of the generator ended in a panic")]
    Panicked,
}

/// What the threads say of themselves while they run. Each adds, whoever watches reads.
#[derive(Debug, Default)]
pub struct Live {
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) p99_us: AtomicU64,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since the first request was due.
    pub elapsed: Duration,
    /// How long it will be, warm-up included.
    pub total: Duration,
    /// Whether it is still warming up.
    pub warming_up: bool,
    /// Requests that are over.
    pub done: u64,
    /// Those that failed.
    pub failed: u64,
    /// The 99th percentile of the last whole second; 0 when there is none yet.
    pub p99: Duration,
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    pub(super) plan: Plan,
    /// When the first request was due.
    pub(super) began: Timestamp,
    /// When the last of it was over.
    pub(super) ended: Timestamp,
    pub(super) tally: Tally,
    pub(super) swaps: Vec<Swap>,
}

impl Run {
    /// What failed, connections that could not be made included.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.tally.failures()
    }

    /// Requests that were due and never sent, because every connection was busy.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.tally.unsent
    }

    /// Whether it was told to stop before all was sent.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.tally.cut.is_some()
    }

    /// What has to be on record.
    #[must_use]
    pub fn sought(&self) -> Sought<'_> {
        let hosts = self.plan.blocked.iter().filter(|host| host.expect == Expect::Refusal);
        Sought {
            ids: &self.tally.ids,
            refusals: self.tally.refused,
            refused_hosts: hosts.map(|host| host.name.as_str()).collect(),
            began: self.began,
            ended: self.ended,
        }
    }
}

/// Sorts the ids that came; one that came twice is there once and counts as a failure.
fn sort_ids(tally: &mut Tally) {
    tally.ids.sort_unstable();
    let all = tally.ids.len();
    tally.ids.dedup();
    let twice = all - tally.ids.len();
    if twice > 0 {
        tally.fault(Trouble::new(Fault::BadId, "the same id in two answers"), twice as u64);
    }
}

/// Carries out a plan, with policies that are swapped meanwhile when `swapping` says so. `watch` is told several times a
/// second how far it is.
///
/// # Errors
/// When the plan cannot be run, or the system gives no threads or timers.
pub fn run(
    plan: &Plan,
    swapping: Option<&Swapping>,
    watch: &mut dyn FnMut(&Progress),
) -> Result<Run, RunError> {
    run_until(plan, swapping, &Stop::default(), watch)
}

/// The same; when `until` is told, nothing more is sent, what is under way is waited for, and that is the run.
///
/// # Errors
/// What [`run`] says.
pub fn run_until(
    plan: &Plan,
    swapping: Option<&Swapping>,
    until: &Stop,
    watch: &mut dyn FnMut(&Progress),
) -> Result<Run, RunError> {
    plan.check()?;
    take_files(plan.connections)?;
    let shared = Arc::new(plan.clone());
    let live = Arc::new(Live::default());
    let gate = Arc::new(Barrier::new(plan.threads + 1));
    let start = Arc::new(OnceLock::new());
    let threads = threads(&shared, &live, (&gate, &start), until)?;
    let handles: Vec<_> = threads.into_iter().map(|one| thread::spawn(move || one.run())).collect();
    gate.wait();
    let (first, began) = (Instant::now() + HEAD_START, Timestamp::now());
    start.get_or_init(|| first);
    gate.wait();
    let from = first + plan.warm_up;
    let (stop, stopped) = mpsc::channel();
    let mut stop = Some(stop);
    let swaps = swapping.cloned().map(|swapping| thread::spawn(move || swapping.swap(from, &stopped)));
    while handles.iter().any(|handle| !handle.is_finished()) {
        thread::sleep(WATCH_EVERY);
        watch(&progress(plan, &live, first));
        // Policies are put right at once, whatever is still waited for.
        stop = stop.filter(|_| !until.is_told());
    }
    drop(stop);
    let swaps = swaps.map(JoinHandle::join).transpose().map_err(|_| RunError::Panicked)?.unwrap_or_default();
    let mut tally = Tally::new(from, false, 0);
    for handle in handles {
        tally.add(handle.join().map_err(|_| RunError::Panicked)??);
    }
    sort_ids(&mut tally);
    Ok(Run { plan: plan.clone(), began, ended: Timestamp::now(), tally, swaps })
}

/// Takes all files that the system allows: most systems start programs with a small soft limit.
fn take_files(connections: usize) -> Result<(), RunError> {
    let wanted = (connections as u64).saturating_add(limits::LOAD_FILES_BESIDE);
    let limit = getrlimit(Resource::Nofile);
    let few = |allowed: Option<u64>| allowed.is_some_and(|allowed| allowed < wanted);
    if few(limit.current) {
        let allowed = limit.maximum;
        if few(allowed) {
            return Err(RunError::Files { connections, wanted, allowed: allowed.unwrap_or(u64::MAX) });
        }
        let raised = Rlimit { current: allowed, maximum: allowed };
        setrlimit(Resource::Nofile, raised).map_err(std::io::Error::from)?;
    }
    Ok(())
}

/// The threads, with all that can fail made before the first of them starts.
fn threads(
    plan: &Arc<Plan>,
    live: &Arc<Live>,
    (gate, start): (&Arc<Barrier>, &Arc<OnceLock<Instant>>),
    until: &Stop,
) -> Result<Vec<Thread>, RunError> {
    let prepared: Arc<[Prepared]> = prepare(plan)?.into();
    let reach = Arc::new(Reach::new(plan)?);
    let thread = |index| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Thread {
            plan: Arc::clone(plan),
            prepared: Arc::clone(&prepared),
            reach: Arc::clone(&reach),
            live: Arc::clone(live),
            runtime,
            index,
            gate: Arc::clone(gate),
            start: Arc::clone(start),
            until: until.clone(),
        })
    };
    (0..plan.threads).map(thread).collect()
}

fn progress(plan: &Plan, live: &Live, first: Instant) -> Progress {
    let elapsed = first.elapsed();
    Progress {
        elapsed,
        total: plan.warm_up + plan.duration,
        warming_up: elapsed < plan.warm_up,
        done: live.done.load(Relaxed),
        failed: live.failed.load(Relaxed),
        p99: Duration::from_micros(live.p99_us.load(Relaxed)),
    }
}
