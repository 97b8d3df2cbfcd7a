//! A case as the data plane holds it: without its host names, with its pages made and its networks sorted.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;

use crate::hostname::Hostname;
use crate::metrics::CaseTally;
use crate::network::Networks;

use super::case::{Action, Basis, Case, CaseId, Exemption, Legal, Mode};
use super::files::Digest;
use super::names::{IndexFull, NamesKey, PatternSet};
use super::page::RenderedPages;
use super::pattern::Pattern;

/// One case, compiled. Its host names live in the index of the [`Ruleset`](super::Ruleset).
#[derive(Debug)]
pub struct CompiledCase {
    /// The id, unique in its set.
    pub id: CaseId,
    /// The customer, in the operator's own words.
    pub customer: String,
    /// Why.
    pub basis: Basis,
    /// When it was decided.
    pub decided: Timestamp,
    /// Who decided.
    pub decided_by: Vec<String>,
    /// Internal text: audit and tools only, never shown to a visitor.
    pub summary: String,
    /// Public text, shown on the block page.
    pub statement: String,
    /// What happens.
    pub action: Action,
    /// The HTTP status of the page: 403, 410 or 451.
    pub status: u16,
    /// Whether it is carried out.
    pub mode: Mode,
    /// In force from here on (inclusive).
    pub effective: Option<Timestamp>,
    /// In force until here (exclusive).
    pub expires: Option<Timestamp>,
    /// When it is to be looked at again.
    pub review: Option<Date>,
    /// The order behind it; a legal basis has one.
    pub legal: Option<Legal>,
    /// How many host names it has, those of its lists included, each once.
    pub host_count: usize,
    /// Networks no upstream connection may lead into.
    pub origins: Vec<IpNet>,
    /// The prepared answers; none when the action is [`Action::Refuse`].
    pub pages: Option<RenderedPages>,
    /// Names it never touches.
    pub exceptions: Vec<Pattern>,
    except: PatternSet,
    /// `None`: the case concerns every client.
    territory: Option<Networks>,
    exempt: Vec<CompiledExemption>,
    /// The file it was read from, if any, and its names.
    source: (Option<Digest>, Digest),
    /// Where its verdicts are counted.
    pub(crate) tally: CaseTally,
}

#[derive(Debug)]
struct CompiledExemption {
    clients: Networks,
    /// The same as they are written.
    networks: Vec<IpNet>,
    expires: Option<Timestamp>,
}

impl CompiledCase {
    /// Compiles a case; its hosts go into the index, which counts them.
    pub(super) fn new(
        case: &Case,
        mode: Mode,
        pages: Option<RenderedPages>,
        file: Option<Digest>,
        names: Digest,
    ) -> Result<Self, IndexFull> {
        let territory = case.legal.as_ref().map(|legal| legal.territory.as_slice()).unwrap_or_default();
        Ok(Self {
            except: PatternSet::new(&case.except)?,
            exceptions: case.except.clone(),
            territory: (!territory.is_empty()).then(|| territory.iter().copied().collect()),
            exempt: case.exempt.iter().map(CompiledExemption::new).collect(),
            source: (file, names),
            tally: CaseTally::default(),
            host_count: 0,
            pages,
            id: case.id.clone(),
            customer: case.customer.clone(),
            basis: case.basis,
            decided: case.decided,
            decided_by: case.decided_by.clone(),
            summary: case.summary.clone(),
            statement: case.statement.clone(),
            action: case.action,
            status: case.status,
            mode,
            effective: case.effective,
            expires: case.expires,
            review: case.review,
            origins: case.origins.clone(),
            legal: case.legal.clone(),
        })
    }

    /// Whether it was compiled from just this file with just these names, so that nothing of it can have changed.
    pub(super) fn is_of(&self, file: Option<Digest>, names: Digest) -> bool {
        file.is_some() && self.source == (file, names)
    }

    /// Whether both were compiled from the same file with the same names. Cases that came from no file are the same when
    /// their names are.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.source == other.source
    }

    /// What a layer of the index knows it by.
    pub(super) fn names_key(&self) -> NamesKey {
        NamesKey { case: self.id.clone(), names: self.source.1 }
    }

    /// The digest of its names: it changes when they do.
    #[must_use]
    pub fn names(&self) -> Digest {
        self.source.1
    }

    /// Whether the case is in force at `now`: `effective <= now < expires`.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.effective.is_none_or(|start| start <= now) && self.expires.is_none_or(|end| now < end)
    }

    /// Whether the case concerns a client at this address, that is: its territory is everywhere or here.
    #[must_use]
    pub fn concerns(&self, client: IpAddr) -> bool {
        self.territory.as_ref().is_none_or(|networks| networks.contains(client))
    }

    /// The clients it concerns; none when it concerns everyone.
    #[must_use]
    pub fn territory(&self) -> Option<&Networks> {
        self.territory.as_ref()
    }

    /// The networks whose clients it lets through, each with the end of its exemption.
    pub fn exempted(&self) -> impl Iterator<Item = (IpNet, Option<Timestamp>)> {
        self.exempt.iter().flat_map(|one| one.networks.iter().map(|network| (*network, one.expires)))
    }

    /// When its exemptions end, in the order of the file.
    pub fn lapses(&self) -> impl Iterator<Item = Timestamp> {
        self.exempt.iter().filter_map(|one| one.expires)
    }

    /// Whether the case lets this client through at `now`.
    #[must_use]
    pub fn exempts(&self, client: IpAddr, now: Timestamp) -> bool {
        let running = |one: &CompiledExemption| one.expires.is_none_or(|end| now < end);
        self.exempt.iter().any(|one| running(one) && one.clients.contains(client))
    }

    /// Whether the case never touches this name, whatever its patterns say.
    #[must_use]
    pub fn excepts(&self, host: &Hostname) -> bool {
        self.except.covers(host)
    }
}

impl CompiledExemption {
    fn new(exemption: &Exemption) -> Self {
        Self {
            clients: exemption.clients.iter().copied().collect(),
            networks: exemption.clients.clone(),
            expires: exemption.expires,
        }
    }
}
