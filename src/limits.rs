//! Every bound of this crate, in one place.

/// The longest block page that is made from a template, in bytes.
pub const PAGE_BYTES: usize = 256 * 1024;

/// Steps a page template may take: an endless loop in a page must not stop a reload.
pub const PAGE_FUEL: u64 = 1_000_000;

/// How much of a statement goes into a `grpc-message`, in bytes before they are encoded.
pub const GRPC_MESSAGE_BYTES: usize = 512;

/// How many elements of an `Accept` or `Accept-Language` header are looked at.
pub const ACCEPT_ELEMENTS: usize = 32;
