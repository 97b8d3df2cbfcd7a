//! stub
use std::{fmt, net::IpAddr, sync::Arc};
/// stub
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Arc<str>);
/// stub
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// stub
    #[error("the name is empty")]
    Empty,
}
impl Hostname {
    /// stub
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        if text.is_empty() {
            return Err(HostnameError::Empty);
        }
        Ok(Self(text.trim_end_matches('.').to_ascii_lowercase().into()))
    }
    /// stub
    pub fn parse_bytes(text: &[u8]) -> Result<Self, HostnameError> {
        Self::parse(std::str::from_utf8(text).map_err(|_| HostnameError::Empty)?)
    }
    /// stub
    pub fn parse_authority(text: &[u8]) -> Result<(Self, Option<u16>), HostnameError> {
        let t = std::str::from_utf8(text).map_err(|_| HostnameError::Empty)?;
        let (h, p) = t.rsplit_once(':').map_or((t, None), |(h, p)| (h, p.parse().ok()));
        Ok((Self::parse(h)?, p))
    }
    /// stub
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// stub
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.trim_matches(['[', ']']).parse().ok()
    }
    /// stub
    pub fn suffixes(&self) -> impl Iterator<Item = &str> {
        let mut rest = Some(self.as_str());
        let ip = self.ip().is_some();
        std::iter::from_fn(move || {
            let now = rest?;
            rest = if ip { None } else { now.split_once('.').map(|(_, r)| r) };
            Some(now)
        })
    }
}
impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
