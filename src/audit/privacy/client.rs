//! A client's address as it may be recorded.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// The first half of a pseudonym whose key could not be stored: nobody has such an address, since what is sent to
/// `100::/64` is discarded (RFC 6666).
const LOST: [u8; 8] = [0x01, 0, 0, 0, 0, 0, 0, 0];

/// Stands for "no prefix" in [`ClientText::to_bytes`].
const WHOLE: u8 = 0xff;

/// A client's address in the form in which it may be recorded. Only the configured privacy makes one, and reading
/// a record reads one back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientText {
    address: IpAddr,
    prefix: Option<u8>,
}

impl ClientText {
    pub(super) const fn whole(address: IpAddr) -> Self {
        Self { address, prefix: None }
    }

    pub(super) const fn network(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix: Some(prefix) }
    }

    /// A pseudonym that nobody can reveal: 64 of its bits are those of `pseudonym`, the others say what it is.
    pub(super) fn lost(pseudonym: [u8; 16]) -> Self {
        let mut octets = pseudonym;
        octets.iter_mut().zip(LOST).for_each(|(octet, mark)| *octet = mark);
        Self::whole(IpAddr::V6(octets.into()))
    }

    /// Whether it is one of those that [`ClientText::lost`] makes.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.address, IpAddr::V6(v6) if v6.octets().starts_with(&LOST)) && self.prefix.is_none()
    }

    /// The address, unless it is a network.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.prefix.is_none().then_some(self.address)
    }

    /// Its binary form: the family (4 or 6), sixteen octets of address (IPv4 in the first four, then zeros), and
    /// the length of the network's prefix, or 255 when there is none.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 18] {
        let mut bytes = [0; 18];
        let (family, octets) = match self.address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                (4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            }
            IpAddr::V6(v6) => (6, v6.octets()),
        };
        let fields = std::iter::once(family).chain(octets).chain([self.prefix.unwrap_or(WHOLE)]);
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }

    /// Reads the binary form; none when the bytes are not one.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 18]) -> Option<Self> {
        let [family, octets @ .., prefix] = bytes;
        let (address, bits) = match (family, octets) {
            (4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => (IpAddr::from([a, b, c, d]), 32),
            (6, octets) => (IpAddr::V6(Ipv6Addr::from(octets)), 128),
            _ => return None,
        };
        let prefix = (prefix != WHOLE).then_some(prefix);
        prefix.is_none_or(|prefix| prefix <= bits).then_some(Self { address, prefix })
    }
}

impl fmt::Display for ClientText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            None => write!(f, "{}", self.address),
            Some(prefix) => write!(f, "{}/{prefix}", self.address),
        }
    }
}

/// The text is no client of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a network")]
pub struct ClientTextError(String);

impl FromStr for ClientText {
    type Err = ClientTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = match text.split_once('/') {
                None => (text, None),
                Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
            };
            let address: IpAddr = address.parse().ok()?;
            let bits = if address.is_ipv4() { 32 } else { 128 };
            prefix.is_none_or(|prefix: u8| prefix <= bits).then_some(Self { address, prefix })
        };
        parse().ok_or_else(|| ClientTextError(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_lead_back() {
        for text in
            ["203.0.113.0/24", "203.0.113.7", "2001:db8:1::/48", "2001:db8::1", "::ffff:1.2.3.4", "::/0"]
        {
            let client: ClientText = text.parse().unwrap();
            assert_eq!(client.to_string(), text);
            assert_eq!(ClientText::from_bytes(client.to_bytes()), Some(client));
        }
        for text in ["", "203.0.113.0/33", "::/129", "::1/", "::1/-1", "203.0.113", "fe80::1%eth0"] {
            assert!(text.parse::<ClientText>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_lost_pseudonym_can_be_told_from_others() {
        let lost = ClientText::lost([0xab; 16]);
        assert_eq!(lost.to_string(), "100::abab:abab:abab:abab");
        assert!(lost.is_lost() && lost.to_string().parse::<ClientText>().unwrap().is_lost());
        assert!(!"100:0:0:1::".parse::<ClientText>().unwrap().is_lost());
        assert!(!"100::/64".parse::<ClientText>().unwrap().is_lost());
    }

    proptest! {
        #[test]
        fn bytes_that_are_taken_are_written_the_same(mut bytes: [u8; 18], family in 3u8..8, zeros: bool) {
            bytes[0] = family;
            if zeros {
                bytes[5..17].fill(0);
            }
            if let Some(client) = ClientText::from_bytes(bytes) {
                prop_assert_eq!(client.to_bytes(), bytes);
                prop_assert_eq!(client.to_string().parse::<ClientText>(), Ok(client));
            }
        }
    }
}
