//! The command line of `terminate`, and the case it describes.

use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;

use crate::cli::change::{ChangeArgs, operator};
use crate::document::moment;
use crate::policy::{CaseDraft, LegalDraft};

/// Every key of a case file but `[[exempt]]` has its flag; what is not given is not written, and has the default of case files.
#[derive(Debug, Args)]
pub(in crate::cli) struct TerminateArgs {
    /// The id of the new case, like `TS-2026-0147`.
    #[arg(long)]
    pub(super) id: String,
    /// The customer whose service ends.
    #[arg(long)]
    customer: String,
    /// Why: court-order, regulator-order, sanctions, copyright, imminent-threat, terms-of-service, abuse, fraud,
    /// non-payment or customer-request.
    #[arg(long)]
    basis: String,
    /// A host pattern: `a.example`, `.a.example` (it and all below) or `*.a.example` (all below).
    #[arg(long = "host", value_name = "PATTERN")]
    pub(super) hosts: Vec<String>,
    /// A host list of the policy directory, like `lists/forum.txt`.
    #[arg(long = "host-list", value_name = "PATH")]
    pub(super) host_lists: Vec<String>,
    /// What a line of a list that is no name does: refuse or skip [default: refuse]
    #[arg(long, value_name = "WORD")]
    on_bad_entry: Option<String>,
    /// A network of the customer's servers, into which no connection is opened.
    #[arg(long = "origin", value_name = "NETWORK")]
    origins: Vec<String>,
    /// A name that the case never touches.
    #[arg(long, value_name = "PATTERN")]
    except: Vec<String>,
    /// page or refuse [default: page]
    #[arg(long)]
    action: Option<String>,
    /// 403, 410 or 451 [default: 451 for the legal bases, else 403]
    #[arg(long)]
    status: Option<u16>,
    /// The public text, shown on the block page.
    #[arg(long)]
    statement: Option<String>,
    /// The internal text, for the log and the tools only.
    #[arg(long)]
    summary: Option<String>,
    /// Who decided [default: whoever runs this]
    #[arg(long, value_name = "NAME")]
    decided_by: Vec<String>,
    /// When it was decided, as 2026-11-20T22:15:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    decided: Option<Timestamp>,
    /// In force from then on [default: at once]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) effective: Option<Timestamp>,
    /// Ends by itself then.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) expires: Option<Timestamp>,
    /// The day on which somebody looks at it again, as 2026-12-20.
    #[arg(long, value_name = "DATE")]
    review: Option<Date>,
    /// enforce or shadow [default: enforce]
    #[arg(long)]
    mode: Option<String>,
    /// An edge that carries the case out, as `fra-1` or `fra-*` [default: every one]
    #[arg(long = "edge", value_name = "PATTERN")]
    pub(super) edges: Vec<String>,
    /// The block page: NAME for `pages/NAME.html`.
    #[arg(long, value_name = "NAME")]
    pub(super) page: Option<String>,
    /// The court, regulator or rights holder; the legal bases need it.
    #[arg(long)]
    authority: Option<String>,
    /// Its reference number; the legal bases need it.
    #[arg(long)]
    reference: Option<String>,
    /// Where the order can be read.
    #[arg(long)]
    url: Option<String>,
    /// Only clients in this network are concerned.
    #[arg(long, value_name = "NETWORK")]
    territory: Vec<String>,
    #[command(flatten)]
    pub(super) change: ChangeArgs,
}

impl TerminateArgs {
    /// The case as it is to be written.
    pub(super) fn draft(&self) -> CaseDraft {
        let decided_by = if self.decided_by.is_empty() { vec![operator()] } else { self.decided_by.clone() };
        CaseDraft {
            id: self.id.clone(),
            customer: self.customer.clone(),
            basis: self.basis.clone(),
            decided: self.decided.unwrap_or_else(now),
            decided_by,
            summary: self.summary.clone(),
            statement: self.statement.clone(),
            action: self.action.clone(),
            status: self.status,
            mode: self.mode.clone(),
            effective: self.effective,
            expires: self.expires,
            review: self.review,
            hosts: self.hosts.clone(),
            host_lists: self.host_lists.clone(),
            on_bad_entry: self.on_bad_entry.clone(),
            except: self.except.clone(),
            origins: self.origins.clone(),
            edges: self.edges.clone(),
            page: self.page.clone(),
            legal: LegalDraft {
                authority: self.authority.clone(),
                reference: self.reference.clone(),
                url: self.url.clone(),
                territory: self.territory.clone(),
            },
        }
    }
}

/// To the second: nobody decides in microseconds.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
