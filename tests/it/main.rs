//! Everything from outside: the library's promises and the binary's.

mod audit;
