//! How fast a request's body comes in: slowly is fine, trickling for ever is not. Pure: the time is an argument.

use std::time::Instant;

use http::header;
use pingora::http::RequestHeader;

use super::proxy::Patience;

/// What has come of one body.
#[derive(Debug, Default)]
pub(super) struct Upload {
    began: Option<Instant>,
    octets: u64,
}

impl Upload {
    /// Notes a piece. False when what has come is less than the least rate asks for, beyond the time that a client may
    /// be silent for at once.
    pub(super) fn is_in_time(
        &mut self,
        octets: usize,
        is_end: bool,
        patience: &Patience,
        now: Instant,
    ) -> bool {
        let began = *self.began.get_or_insert(now);
        self.octets += octets as u64;
        let beyond = now.saturating_duration_since(began).saturating_sub(patience.client);
        is_end || self.octets as f64 >= patience.min_rate as f64 * beyond.as_secs_f64()
    }
}

/// Whether client and origin talk to and fro: pieces come when there is something to say, not as fast as they can.
pub(super) fn is_conversation(request: &RequestHeader) -> bool {
    let is_grpc = |value: &http::HeaderValue| {
        let value = value.as_bytes();
        value.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
    };
    request.headers.contains_key(header::UPGRADE)
        || request.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_body_may_be_slow_but_not_without_end() {
        let patience = Patience {
            connect: Duration::from_secs(1),
            silence: Duration::from_secs(1),
            client: Duration::from_secs(60),
            min_rate: 100,
        };
        let start = Instant::now();
        let lasts = |octets: usize, every: u64| {
            let mut upload = Upload::default();
            let piece =
                |n: &u64| upload.is_in_time(octets, false, &patience, start + Duration::from_secs(n * every));
            (0..1000).take_while(piece).count()
        };
        assert_eq!(lasts(1, 59), 2, "a byte now and then");
        assert_eq!(lasts(1000, 10), 1000, "the least rate");
        assert!(lasts(900, 10) < 100, "a little less");
        let mut upload = Upload::default();
        assert!(upload.is_in_time(1, false, &patience, start));
        assert!(
            upload.is_in_time(1, true, &patience, start + Duration::from_secs(600)),
            "it is whole by now"
        );
    }
}
