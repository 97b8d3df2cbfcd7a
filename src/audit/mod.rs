//! stub
#![allow(missing_docs)]
use std::{net::*, path::*, sync::Arc, io};
use serde_json::*;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind { RequestBlocked, RequestShadowed, RequestExempted, UpstreamRefused, PolicyApplied, PolicyRejected, CaseEffective, CaseExpired, EdgeStarted, EdgeStopped }
impl Kind { pub fn as_str(self)->&'static str {"x"} }
pub struct Event<'a> { pub kind: Kind, pub revision: u64, pub enforcement: Option<Enforcement<'a>>, pub request: Option<RequestFacts<'a>>, pub detail: Option<&'a Map<String, Value>> }
pub struct Enforcement<'a> { pub case:&'a str, pub customer:&'a str, pub basis:&'a str, pub action:&'a str, pub status: Option<u16>, pub matched:&'a str, pub also: &'a [&'a str] }
pub struct RequestFacts<'a> { pub host:&'a str, pub names:&'a [&'a [u8]], pub method:&'a str, pub path:&'a [u8], pub client: IpAddr, pub listener:&'a str, pub protocol:&'a str, pub tls: Option<&'a str>, pub user_agent: Option<&'a [u8]>, pub upstream: Option<SocketAddr> }
#[derive(Debug)]
pub struct Receipt; impl Receipt { pub fn id(&self)->EventId {EventId} }
pub struct EventId; impl std::fmt::Display for EventId { fn fmt(&self,_:&mut std::fmt::Formatter<'_>)->std::fmt::Result{Ok(())}}
#[derive(Debug)] pub struct Audit;
pub struct Recovery { pub last_seq:u64, pub last_time: Option<jiff::Timestamp>, pub last_revision: Option<u64>, pub torn_bytes:u64, pub problems: Vec<String> }
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct OpenError;
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct ReadError; impl From<io::Error> for ReadError { fn from(_:io::Error)->Self{ReadError}} impl ReadError{pub fn is_broken_pipe(&self)->bool{true}}
pub struct Options { pub directory: PathBuf, pub segment_bytes: u64, pub edge: String, pub client: ClientPrivacy }
#[derive(Debug, Clone, PartialEq, Eq)] pub enum ClientPrivacy { Full, Truncated, Pseudonym(PathBuf) }
#[derive(serde::Serialize)] pub struct Counters { pub decided:u64, pub durable:u64, pub gap:u64, pub writing: bool }
impl Audit { pub fn open(_:Options,_:Arc<dyn crate::clock::Clock>)->std::result::Result<(Self,Recovery),OpenError>{Err(OpenError)} pub fn record(&self,_:&Event<'_>)->Receipt{Receipt} pub fn counters(&self)->Counters{loop{}} pub fn retry(&self){} pub fn close(&self){} }
pub fn export(_:&Path,_:&mut impl io::Write)->std::result::Result<(),ReadError>{Ok(())}
pub struct Tail; impl Tail { pub fn open(_:&Path,_:usize)->std::result::Result<Self,ReadError>{Ok(Tail)} pub fn print_new(&mut self,_:&mut impl io::Write)->std::result::Result<(),ReadError>{Ok(())}}
/// x
pub const SEGMENT_BYTES: u64 = 64 << 20;
