//! Rates, parts, durations and bounds as they are written on a command line of `load`.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::load::Bound;

/// `500ms`, `10s`, `2m`; fractions are taken.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    scaled(text, &units)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "write a number with `us`, `ms`, `s` or `m`, like `10s`".to_owned())
}

/// `20000`, `20k`, either with `/s`.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    scaled(text.strip_suffix("/s").unwrap_or(text), &[("", 1.0), ("k", 1e3)])
        .filter(|rate| *rate >= 1.0)
        .ok_or_else(|| "write requests a second, like `20000` or `20k/s`".to_owned())
}

/// `50%`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    scaled(text, &[("%", 0.01)])
        .filter(|share| *share <= 1.0)
        .ok_or_else(|| "write a part of a hundred, like `50%`".to_owned())
}

/// `p99=5ms`, `p99.9=20ms`.
pub(super) fn bound(text: &str) -> Result<Bound, String> {
    let parse = || {
        let (quantile, most) = text.split_once('=')?;
        let most_us = duration(most).ok()?.as_secs_f64() * 1e6;
        Some(Bound { quantile: self::quantile(quantile)?, most_us })
    };
    parse().ok_or_else(|| "write a percentile and a latency, like `p99=5ms`".to_owned())
}

/// `p99=1.2`: a percentile, and how many times as long it may be.
pub(super) fn ratio(text: &str) -> Result<(f64, f64), String> {
    let parse = || {
        let (quantile, ratio) = text.split_once('=')?;
        Some((self::quantile(quantile)?, ratio.parse().ok().filter(|ratio: &f64| *ratio > 0.0)?))
    };
    parse()
        .ok_or_else(|| "write a percentile and how many times as long it may be, like `p99=1.2`".to_owned())
}

fn quantile(text: &str) -> Option<f64> {
    let percentile: f64 = text.strip_prefix('p')?.parse().ok()?;
    (percentile > 0.0 && percentile < 100.0).then(|| (percentile * 1e6).round() / 1e8)
}

/// A number and one of these units, or none where one of them is empty.
fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let number = |unit: &str| {
        let number = text.strip_suffix(unit)?;
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        plain.then(|| number.parse::<f64>().ok()).flatten()
    };
    units.iter().find_map(|(unit, factor)| Some(number(unit)? * factor))
}

/// Where to, and whether it was said to speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<bool>,
}

/// `127.0.0.1:8080`, `http://localhost:8080`, `https://127.0.0.1:8443`.
pub(super) fn target(text: &str) -> Result<Target, String> {
    let (tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Some(false), rest),
        Some(("https", rest)) => (Some(true), rest),
        Some((scheme, _)) => return Err(format!("`{scheme}` is no scheme: write `http` or `https`")),
        None => (None, text),
    };
    let authority = rest.trim_end_matches('/');
    let wrong =
        || "write an address and a port, like `127.0.0.1:8080` or `https://127.0.0.1:8443`".to_owned();
    let address = authority.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(wrong)?;
    Ok(Target { address, tls })
}

/// Whether only this machine is reached.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_their_units_and_nothing_else_is_taken() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(
            (duration("250us"), duration("2m")),
            (Ok(Duration::from_micros(250)), Ok(Duration::from_secs(120)))
        );
        assert_eq!((rate("20000"), rate("20k/s"), share("12.5%")), (Ok(20_000.0), Ok(20_000.0), Ok(0.125)));
        assert_eq!(bound("p99.9=20ms"), Ok(Bound { quantile: 0.999, most_us: 20_000.0 }));
        assert_eq!(ratio("p50=1.5"), Ok((0.5, 1.5)));
        for wrong in ["", "s", "10", "-1s", "1e3s", "infs", "NaNs", "1 s", "1h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0", "k", "-5", "1M", "0.5/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert!(share("101%").is_err() && share("0.5").is_err() && ratio("p99=0").is_err());
        for wrong in ["p99", "99=5ms", "p100=5ms", "p0=5ms", "p99=5"] {
            assert!(bound(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_target_is_an_address_with_a_port_and_maybe_a_scheme() {
        assert_eq!(target("https://127.0.0.1:8443/").unwrap().tls, Some(true));
        assert_eq!(target("[::1]:80").unwrap(), Target { address: "[::1]:80".parse().unwrap(), tls: None });
        for wrong in ["", "127.0.0.1", "ftp://127.0.0.1:21", "http://"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
        for (address, here) in
            [("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("192.0.2.1", false)]
        {
            assert_eq!(is_loopback(address.parse().unwrap()), here, "{address}");
        }
    }
}
