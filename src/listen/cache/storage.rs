//! The store as Pingora's cache sees it.

use std::any::Any;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use pingora::cache::key::CacheHashKey;
use pingora::cache::storage::{HandleHit, HandleMiss, MissFinishType};
use pingora::cache::trace::SpanHandle;
use pingora::cache::{
    CacheKey, CacheMeta, HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType, Storage,
};
use pingora::{Error, ErrorType, Result};

use super::account::Reserved;
use super::store::{Object, Place, Site, Source, Store, held};
use crate::limits;

/// The first memory a fill asks for, in bytes.
const FIRST_GRIP: usize = 4096;

#[async_trait]
impl Storage for Store {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let Some(object) = self.find(&place(key)) else { return Ok(None) };
        let meta = CacheMeta::deserialize(&object.meta.times, &object.meta.fields)?;
        Ok(Some((meta, Box::new(Hit::new(object)))))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _: &SpanHandle,
    ) -> Result<MissHandler> {
        let site = key.extensions.get::<Site>().ok_or_else(|| internal("a fill without its host"))?;
        let (times, fields) = meta.serialize()?;
        Ok(Box::new(Fill {
            store: self,
            place: place(key),
            site: Arc::clone(site),
            source: meta.extensions().get::<Source>().map(Arc::clone),
            created: meta.created(),
            times,
            fields,
            body: Vec::new(),
            reserved: self.reserve(0).ok_or_else(|| internal("no room"))?,
        }))
    }

    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        _: PurgeType,
        _: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        let removed = self.remove(&target.key().primary_bin());
        Ok(if removed.objects > 0 { PurgeOutcome::Purged(None) } else { PurgeOutcome::NotFound })
    }

    /// After a revalidation. What took the place of the object meanwhile, or took it out, is left alone.
    async fn update_meta(&'static self, key: &CacheKey, meta: &CacheMeta, _: &SpanHandle) -> Result<bool> {
        let Some(object) = self.find(&place(key)) else { return Ok(false) };
        if object.created != meta.created() {
            return Ok(false);
        }
        let (times, fields) = meta.serialize()?;
        let Some(stored) = self.meta(times, fields, &object.site) else { return Ok(false) };
        let from = (Arc::clone(&object.site), object.source.clone());
        Ok(self.insert(Object::new(object.place, from, object.created, stored, object.body.clone())))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

fn place(key: &CacheKey) -> Place {
    Place { uri: key.primary_bin(), variant: key.variance_bin() }
}

fn internal(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, what)
}

/// An object on its way to a client.
pub(super) struct Hit {
    object: Arc<Object>,
    at: usize,
    end: usize,
}

impl Hit {
    fn new(object: Arc<Object>) -> Self {
        let end = object.body.len();
        Self { object, at: 0, end }
    }

    /// What is served.
    pub(super) fn object(&self) -> &Object {
        &self.object
    }
}

#[async_trait]
impl HandleHit for Hit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        let end = self.end.min(self.at + limits::CACHE_PIECE_BYTES);
        if self.at >= end {
            return Ok(None);
        }
        let piece = self.object.body.slice(self.at..end);
        self.at = end;
        Ok(Some(piece))
    }

    async fn finish(
        self: Box<Self>,
        _: &'static (dyn Storage + Sync),
        _: &CacheKey,
        _: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        let length = self.object.body.len();
        if start >= length {
            return Err(internal("a range behind the end"));
        }
        self.at = start;
        self.end = end.map_or(length, |end| end.min(length)).max(start);
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}

/// An object on its way from an origin. Nobody sees it before it is whole.
struct Fill {
    store: &'static Store,
    place: Place,
    site: Site,
    source: Option<Source>,
    created: SystemTime,
    times: Vec<u8>,
    fields: Vec<u8>,
    body: Vec<u8>,
    /// For all of `body` that is allocated.
    reserved: Reserved,
}

impl Fill {
    /// Makes sure that `more` bytes fit. Pieces are copied: one that is kept would keep the whole buffer it was
    /// read into.
    fn grow(&mut self, more: usize) -> Result<()> {
        let needed = self.body.len() + more;
        let capacity = self.body.capacity();
        if needed <= capacity {
            return Ok(());
        }
        let wanted = needed.max(2 * capacity).max(FIRST_GRIP);
        // Where twice as much is not to be had, what is needed may be.
        let got =
            [wanted, needed].into_iter().find_map(|size| Some((size, self.store.reserve(size - capacity)?)));
        let (size, reserved) = got.ok_or_else(|| internal("the cache is full of what is in use"))?;
        self.reserved.join(reserved);
        self.body.try_reserve_exact(size - self.body.len()).map_err(|_| internal("no memory"))
    }

    /// The fields with the length of the content, so that ranges of it can be served.
    fn settle_length(&mut self) -> Result<bool> {
        let mut meta = CacheMeta::deserialize(&self.times, &self.fields)?;
        if let Some(length) = meta.headers().get(CONTENT_LENGTH) {
            return Ok(length.as_bytes() == self.body.len().to_string().as_bytes());
        }
        if !matches!(meta.response_header().status.as_u16(), 204 | 304) {
            meta.response_header_mut().insert_header(CONTENT_LENGTH, self.body.len())?;
            (self.times, self.fields) = meta.serialize()?;
        }
        Ok(true)
    }
}

#[async_trait]
impl HandleMiss for Fill {
    async fn write_body(&mut self, data: Bytes, _: bool) -> Result<()> {
        self.grow(data.len())?;
        self.body.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<MissFinishType> {
        if !self.settle_length()? {
            return Err(internal("an answer of another length than it said"));
        }
        let Self { store, place, site, source, created, times, fields, mut body, mut reserved } = *self;
        body.shrink_to_fit();
        let length = body.len();
        reserved.shrink(body.capacity());
        let meta = store.meta(times, fields, &site).ok_or_else(|| internal("no room"))?;
        let body = if length == 0 { Bytes::new() } else { held(body, reserved) };
        if store.insert(Object::new(place, (site, source), created, meta, body)) {
            store.note_stored();
        }
        Ok(MissFinishType::Created(length))
    }
}

#[cfg(test)]
mod tests;
