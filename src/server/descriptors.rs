//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;
use crate::limits;

/// Takes all that the system allows this process, and says so when that is less than the configuration asks for. Most
/// systems start programs with a small soft limit, for the sake of very old ones that would not bear more.
pub(super) fn take_all(configured: &Limits) {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum;
    if limit.current.is_some_and(|current| most.is_none_or(|most| current < most)) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
        if let Err(error) = raised {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
    let wanted = needed(configured.connections);
    if let Some(allowed) = getrlimit(Resource::Nofile).current
        && allowed < wanted
    {
        tracing::warn!(
            allowed,
            wanted,
            connections = configured.connections,
            "this process may open fewer files than so many connections take; see `LimitNOFILE` and `ulimit -n`"
        );
    }
}

/// For so many clients, each of which has a request under way to an origin.
fn needed(connections: usize) -> u64 {
    let each = 1 + limits::DESCRIPTORS_PER_ORIGIN_CONNECTION;
    (connections as u64).saturating_mul(each).saturating_add(limits::DESCRIPTORS_BESIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_may_have_a_request_under_way() {
        assert_eq!(needed(100), 300 + limits::DESCRIPTORS_BESIDE);
        assert_eq!(needed(usize::MAX), u64::MAX);
    }
}
