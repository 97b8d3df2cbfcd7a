//! Is what came back what has to come back?

use super::plan::Expect;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A response.
    Response {
        /// Its status.
        status: u16,
        /// Its `enforcement-id`; 0 for one that is no UUID.
        id: Option<u128>,
    },
    /// A refusal as the protocol has it: a close without a byte, a reset, an alert.
    Refused,
}

/// What is wrong with an answer, or with the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A blocked host was answered without an `enforcement-id`.
    Unblocked,
    /// A blocked host was answered with an `enforcement-id` and a status that is none of a block.
    OddStatus,
    /// A host that passes was blocked.
    Blocked,
    /// A host that is refused was answered.
    Answered,
    /// A host that is to be answered was refused: closed, reset or sent an alert.
    Refused,
    /// A host that passes got a 5xx.
    ServerError,
    /// An `enforcement-id` that is no id, one of several in one answer, or one that came in two.
    BadId,
    /// No connection.
    Connect,
    /// A connection that ended, or spoke what is not its protocol.
    Broken,
    /// No answer in time.
    Timeout,
}

impl Fault {
    /// All of them, in the order of reports.
    pub(super) const ALL: [Self; 10] = [
        Self::Unblocked,
        Self::OddStatus,
        Self::Blocked,
        Self::Answered,
        Self::Refused,
        Self::ServerError,
        Self::BadId,
        Self::Connect,
        Self::Broken,
        Self::Timeout,
    ];

    /// What reports say of it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unblocked => "blocked hosts answered without an enforcement-id",
            Self::OddStatus => "block answers with a status other than 403, 410 or 451",
            Self::Blocked => "allowed hosts blocked",
            Self::Answered => "refused hosts answered",
            Self::Refused => "hosts to be answered refused",
            Self::ServerError => "allowed hosts answered with 5xx",
            Self::BadId => "enforcement ids that are none or came twice",
            Self::Connect => "connections that could not be made",
            Self::Broken => "connections that broke",
            Self::Timeout => "answers that did not come in time",
        }
    }
}

/// Holds an answer against what has to come back.
pub(super) fn judge(expect: Expect, answer: Answer) -> Result<(), Fault> {
    match (expect, answer) {
        (Expect::Refusal, Answer::Refused) => Ok(()),
        (Expect::Refusal, Answer::Response { .. }) => Err(Fault::Answered),
        (Expect::Page | Expect::Pass, Answer::Refused) => Err(Fault::Refused),
        (Expect::Page, Answer::Response { id: None, .. }) => Err(Fault::Unblocked),
        (_, Answer::Response { id: Some(0), .. }) => Err(Fault::BadId),
        (Expect::Page, Answer::Response { status: 403 | 410 | 451, .. }) => Ok(()),
        (Expect::Page, Answer::Response { .. }) => Err(Fault::OddStatus),
        (Expect::Pass, Answer::Response { id: Some(_), .. }) => Err(Fault::Blocked),
        (Expect::Pass, Answer::Response { status: 500.., .. }) => Err(Fault::ServerError),
        (Expect::Pass, Answer::Response { .. }) => Ok(()),
    }
}

/// The value of an `enforcement-id`.
pub(super) fn id(value: &[u8]) -> u128 {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.trim().parse::<crate::audit::EventId>().ok()).map_or(0, |id| id.as_u128())
}
