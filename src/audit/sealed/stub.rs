
use std::{io,sync::Arc,path::PathBuf}; use jiff::{Timestamp,SignedDuration}; use crate::audit::{files::Disk,EventId,Problem};
pub(in crate::audit) struct Sealed; pub(in crate::audit) struct Archive;
#[derive(Clone)] pub(in crate::audit) struct SealOptions { pub(in crate::audit) edge:String,pub(in crate::audit) segment_bytes:u64,pub(in crate::audit) segment_age:SignedDuration,pub(in crate::audit) witness:Option<PathBuf>}
pub(in crate::audit) struct Found{pub(in crate::audit) last_time:Option<Timestamp>,pub(in crate::audit) last_revision:u64,pub(in crate::audit) segments:usize,pub(in crate::audit) torn_bytes:u64,pub(in crate::audit) problems:Vec<Problem>,pub(in crate::audit) extensions:Vec<String>,pub(in crate::audit) tail_ids:Vec<EventId>,pub(in crate::audit) epoch:u64,pub(in crate::audit) new_epoch:Option<String>}
impl Sealed { pub(in crate::audit) fn open(_:Arc<dyn Disk>,_:SealOptions,_:Timestamp)->io::Result<(Self,Found)>{Err(io::ErrorKind::Other.into())}
pub(in crate::audit) fn next_seq(&self)->u64{1} pub(in crate::audit) fn committed_seq(&self)->u64{0}
pub(in crate::audit) fn append(&mut self,_:&[u8],_:u64,_:Timestamp,_:u64)->io::Result<()>{Ok(())}
pub(in crate::audit) fn commit(&mut self,_:Timestamp,_:&[String])->io::Result<u64>{Ok(1)}
pub(in crate::audit) fn full_segments(&mut self)->Vec<Archive>{vec![]}
pub(in crate::audit) fn close(&mut self,_:Timestamp,_:&[String])->io::Result<()>{Ok(())}}
impl Archive{pub(in crate::audit) fn run(&self,_:&dyn Disk)->io::Result<()>{Ok(())}}
