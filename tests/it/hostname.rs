//! The identity of a host: against the vectors of Unicode, and against itself in many spellings.

mod properties;
mod unicode;
