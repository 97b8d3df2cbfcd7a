//! The integration tests, one binary: every file is a topic.

mod hostname;
