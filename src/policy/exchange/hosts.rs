//! Hosts files (`hosts(5)`): an address, then names. Each name is meant alone: a hosts file knows no wildcards.

use std::net::IpAddr;

use super::importer::Taken;
use super::reason::{Omission, Reason};
use crate::policy::{Form, Pattern};

pub(super) fn line(text: &str, taken: &mut Taken) {
    // A comment begins at any `#`, also within a word.
    let entry = text.split('#').next().unwrap_or_default().trim();
    let mut words = entry.split_ascii_whitespace();
    let Some(first) = words.next() else { return };
    // `fe80::1%lo0` has a zone, which is no part of the address.
    let address: Option<IpAddr> = first.split('%').next().and_then(|address| address.parse().ok());
    let names: Vec<&str> = words.collect();
    let Some(address) = address else {
        match taken.name(first, entry) {
            // A name that is glued to its address has been reported as that.
            None => {}
            Some(_) => taken.skip(entry, Reason::NoAddress, ""),
        }
        return;
    };
    if names.is_empty() {
        taken.skip(entry, Reason::Malformed, "an address without a name");
        return;
    }
    let leads_nowhere = address.is_unspecified() || is_loopback(address);
    for name in &names {
        // Of several names, the one that is meant is shown.
        let entry = if names.len() > 1 { name } else { entry };
        // Where a name of the machine itself leads is of no interest.
        let Some(host) = taken.dns_name(name, entry) else { continue };
        if leads_nowhere {
            taken.block(Pattern { form: Form::Exact, name: host }, entry);
        } else {
            taken.skip(entry, Reason::OtherAddress, format!("`{host}` leads to {address}"));
        }
    }
}

/// `127.0.0.1` and `::1` only: `127.0.0.53` is where something listens.
fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets() == [127, 0, 0, 1],
        IpAddr::V6(address) => address.is_loopback(),
    }
}

pub(super) fn write(pattern: &Pattern, into: &mut String) -> Result<(), Omission> {
    match pattern.form {
        Form::Subtree => Err(Omission::Subtree),
        Form::Below => Err(Omission::Below),
        Form::Exact if pattern.name.ip().is_some() => Err(Omission::Address),
        Form::Exact => {
            into.extend(["0.0.0.0 ", pattern.name.as_str(), "\n"]);
            Ok(())
        }
    }
}
