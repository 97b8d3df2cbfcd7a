//! What commands say, to the letter: to people who read it, and without an edge.

use crate::harness::{CaseFile, Origin};
use crate::terminate::{answer, edge, terminate};

#[test]
fn a_case_for_ever_may_end_with_the_calendar() {
    let origin = Origin::start();
    let edge = edge(&origin);
    let output = terminate(&edge, "TS-1", "new.example", &["--expires", "9999-12-31T23:59:59Z"]);
    assert_eq!(answer(&output, 0)["result"], "enforced");
    edge.get("new.example").assert_blocked(403);
    let output = terminate(&edge, "TS-2", "other.example", &["--expires", "9999-12-31T25:59:59Z"]);
    assert_eq!(output.code, 2, "{output:?}");
    // The edge reads the moment as it may stand in a file.
    let case = CaseFile::new("TS-3", &["third.example"]).key("expires = 9999-12-31T23:59:59Z");
    edge.change(|policies| policies.write(&case));
    edge.get("third.example").assert_blocked(403);
}
