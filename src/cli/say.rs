//! What commands say. A reader that has gone or a disk that is full ends no command in the middle of its work.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::Mutex;

use super::{Exit, complain};

/// A line on standard output, what `println!` would panic over included.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::say::line(::std::format_args!($($words)*)) };
}

/// The same for text that has its own line ends.
macro_rules! say_text {
    ($($words:tt)*) => { $crate::cli::say::text(::std::format_args!($($words)*)) };
}

/// A line on standard error.
macro_rules! note {
    ($($words:tt)*) => { $crate::cli::say::aside(::std::format_args!("{}\n", ::std::format_args!($($words)*))) };
}

/// The same for text that has its own line ends.
macro_rules! note_text {
    ($($words:tt)*) => { $crate::cli::say::aside(::std::format_args!($($words)*)) };
}

/// Why the first words were lost.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

pub(super) fn line(words: Arguments<'_>) {
    keep(writeln!(io::stdout().lock(), "{words}"));
}

pub(super) fn text(words: Arguments<'_>) {
    keep(io::stdout().lock().write_fmt(words));
}

/// There is nobody left to be told that this fails.
pub(super) fn aside(words: Arguments<'_>) {
    io::stderr().lock().write_fmt(words).ok();
}

fn keep(written: io::Result<()>) {
    if let (Err(error), Ok(mut lost)) = (written, LOST.lock()) {
        lost.get_or_insert(error);
    }
}

/// How a command ends whose work ended like this: when its words were lost, that is said. A reader that has seen enough and
/// closes the pipe is no failure.
pub(super) fn end(exit: Exit) -> Exit {
    keep(io::stdout().lock().flush());
    match LOST.lock().ok().and_then(|mut lost| lost.take()) {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            let said = format!("the answer is lost, standard output cannot be written: {error}");
            complain(if exit == Exit::Fine { Exit::Io } else { exit }, &said)
        }
        _ => exit,
    }
}
