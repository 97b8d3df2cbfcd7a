//! Contradictions inside a case: patterns that can never matter.

use std::collections::{HashMap, HashSet};

use super::list::NamedList;
use super::parse::Written;
use super::{Form, Pattern};

/// Warns of each host of the case file that an `except` of the same case takes away whole.
pub(super) fn hosts_taken_away(hosts: &[Written<'_>], except: &[Written<'_>]) {
    let exceptions: HashSet<(Form, &str)> =
        except.iter().map(|written| (written.pattern.form, written.pattern.name.as_str())).collect();
    if exceptions.is_empty() {
        return;
    }
    for host in hosts {
        let Pattern { form, name } = &host.pattern;
        let is_taken = name.suffixes().enumerate().any(|(depth, suffix)| {
            // At its own depth a pattern is covered by the same form or the wider one, above by any suffix form.
            exceptions.contains(&(Form::Subtree, suffix))
                || (exceptions.contains(&(Form::Below, suffix)) && (depth > 0 || *form == Form::Below))
                || (depth == 0 && exceptions.contains(&(*form, suffix)))
        });
        if is_taken {
            let message = format!("`{}` is never blocked: `except` covers all of it", host.pattern);
            host.spot.warning(message, "remove it from `hosts` or from `except`");
        }
    }
}

/// Warns of each `except` that shares no name with any host of the case, lists included.
pub(super) fn idle_exceptions(hosts: &[Pattern], lists: &[NamedList], except: &[Written<'_>]) {
    if except.is_empty() {
        return;
    }
    let mut idle: Vec<bool> = vec![true; except.len()];
    // The few exceptions go into the tables; the hosts, which may be many, are walked through once.
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut by_suffix: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, written) in except.iter().enumerate() {
        by_name.entry(written.pattern.name.as_str()).or_default().push(index);
        for suffix in written.pattern.name.suffixes().skip(1) {
            by_suffix.entry(suffix).or_default().push(index);
        }
    }
    let mut meets = |indexes: Option<&Vec<usize>>, host: &Pattern, is_met: fn(Form, Form) -> bool| {
        for index in indexes.into_iter().flatten() {
            if let (Some(flag), Some(written)) = (idle.get_mut(*index), except.get(*index))
                && is_met(host.form, written.pattern.form)
            {
                *flag = false;
            }
        }
    };
    let mut look_at = |host: &Pattern| {
        meets(by_suffix.get(host.name.as_str()), host, |host, _| host != Form::Exact);
        for (depth, suffix) in host.name.suffixes().enumerate() {
            let is_met = if depth == 0 { meet_at_one_name } else { |_, exception| exception != Form::Exact };
            meets(by_name.get(suffix), host, is_met);
        }
    };
    hosts.iter().for_each(&mut look_at);
    for names in lists.iter().filter_map(|named| named.list.names()) {
        if names.for_each(|host| look_at(&host)).is_err() {
            // The names cannot be read: that is told where they are compiled, and this warning is not worth a guess.
            return;
        }
    }
    for (written, _) in except.iter().zip(idle).filter(|(_, is_idle)| *is_idle) {
        let message =
            format!("`{}` is an exception from nothing: no host of this case covers it", written.pattern);
        written.spot.warning(message, "remove it, or add the hosts it belongs to");
    }
}

/// Whether two patterns on the same name share any host: the name itself, or those below it.
fn meet_at_one_name(a: Form, b: Form) -> bool {
    let (itself, below) = (|form| form != Form::Below, |form| form != Form::Exact);
    (itself(a) && itself(b)) || (below(a) && below(b))
}
