//! `case new`: one question after the other, each answer checked at once by the parser of case files.

use std::io::{self, BufRead, Read as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{Timestamp, Unit};

use super::draft::{Draft, REACH};
use super::questions::{
    CLIENTS, CONCERNS, DECISION, EFFECT, EXCEPT, EXEMPT_UNTIL, LISTS, ORDER, Question, REASON, Shape,
};
use crate::cli::check::PolicySource;
use crate::cli::{Exit, complain, place};
use crate::limits;
use crate::policy::{Basis, PolicyFiles};
use crate::reload;

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    #[command(flatten)]
    source: PolicySource,
}

/// Why a conversation ended early.
#[derive(Debug)]
enum Ended {
    /// There are no more answers.
    Answers,
    Io(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(super) fn run(args: &NewArgs) -> Exit {
    let directory = match args.source.locate() {
        Ok((directory, _)) => directory,
        Err(exit) => return exit,
    };
    let files = match reload::read(&directory) {
        Ok(snapshot) => snapshot.files,
        Err(error) => return complain(Exit::Usage, &error),
    };
    let (input, output) = (io::stdin().lock(), io::stdout().lock());
    let mut talk = Conversation { input, output, files: &files, draft: Draft::default(), is_legal: false };
    match talk.hold(&directory) {
        Ok(exit) => exit,
        Err(Ended::Answers) => {
            complain(Exit::Usage, &"the answers ended before the questions did; nothing was written")
        }
        Err(Ended::Io(error)) => complain(Exit::Io, &format!("{error}; nothing was written")),
    }
}

struct Conversation<'f, R, W> {
    input: R,
    output: W,
    files: &'f PolicyFiles,
    draft: Draft,
    is_legal: bool,
}

impl<R: BufRead, W: Write> Conversation<'_, R, W> {
    fn hold(&mut self, directory: &Path) -> Result<Exit, Ended> {
        let mut id = String::new();
        for question in &DECISION {
            let answer = self.settle(question, directory)?;
            match question.key {
                "id" => id = answer,
                "basis" => {
                    self.is_legal = Basis::ALL.iter().any(|one| one.as_str() == answer && one.is_legal())
                }
                _ => {}
            }
        }
        if self.is_legal {
            for question in &ORDER {
                self.settle(question, directory)?;
            }
        }
        for question in &EFFECT {
            self.settle(question, directory)?;
        }
        self.concerns(directory)?;
        self.exemptions()?;
        self.finish(&case_path(directory, &id), &format!("cases/{id}.toml"))
    }

    /// Asks what the case concerns until it concerns anything.
    fn concerns(&mut self, directory: &Path) -> Result<(), Ended> {
        loop {
            for question in &CONCERNS {
                let answer = self.settle(question, directory)?;
                if question.key == "host_lists" && !answer.is_empty() {
                    self.settle(&LISTS, directory)?;
                }
            }
            if self.draft.has("host_lists") {
                break;
            }
            let objections = self.draft.objections(self.files, REACH, self.is_legal);
            if objections.is_empty() {
                break;
            }
            self.object(&objections)?;
        }
        if self.draft.has("hosts") || self.draft.has("host_lists") {
            self.settle(&EXCEPT, directory)?;
        }
        Ok(())
    }

    fn exemptions(&mut self) -> Result<(), Ended> {
        for number in 0..limits::ITEMS_PER_CASE {
            let stand_in = "reason = \"stand-in\"\n";
            let clients = self.exemption_line(&CLIENTS, number, "", stand_in)?;
            if clients.is_empty() {
                break;
            }
            let with_reason = clients.clone() + &self.exemption_line(&REASON, number, &clients, "")?;
            self.exemption_line(&EXEMPT_UNTIL, number, &with_reason, "")?;
        }
        Ok(())
    }

    /// Asks for one line of an exemption; `before` are those it has already.
    fn exemption_line(
        &mut self,
        question: &Question,
        number: usize,
        before: &str,
        after: &str,
    ) -> Result<String, Ended> {
        loop {
            let answer = self.ask(question)?;
            if answer.is_empty() {
                return Ok(String::new());
            }
            let line = format!("{} = {}\n", question.key, question.shape.value(&answer));
            self.draft.set_exemption(number, format!("{before}{line}{after}"));
            let objections = self.draft.objections(self.files, question.key, self.is_legal);
            if objections.is_empty() {
                return Ok(line);
            }
            self.object(&objections)?;
        }
    }

    /// Asks until the parser takes the answer, and keeps it.
    fn settle(&mut self, question: &Question, directory: &Path) -> Result<String, Ended> {
        loop {
            let mut answer = self.ask(question)?;
            if question.key == "decided" && answer.is_empty() {
                answer =
                    Timestamp::now().round(Unit::Second).unwrap_or_else(|_| Timestamp::now()).to_string();
            }
            self.keep(question, &answer);
            let mut objections =
                self.draft.objections(self.files, question.key, self.is_legal_with(question, &answer));
            if question.key == "id" && objections.is_empty() {
                objections.extend(no_place(directory, &answer));
            }
            if objections.is_empty() {
                return Ok(answer);
            }
            self.object(&objections)?;
            self.keep(question, "");
        }
    }

    /// Whether the file needs a `[legal]` table, the answer to this question taken into account.
    fn is_legal_with(&self, question: &Question, answer: &str) -> bool {
        let says_so = || Basis::ALL.iter().any(|basis| basis.as_str() == answer && basis.is_legal());
        self.is_legal || (question.key == "basis" && says_so())
    }

    fn keep(&mut self, question: &Question, answer: &str) {
        let is_of_order = ORDER.iter().any(|one| one.key == question.key);
        match (answer.is_empty(), is_of_order) {
            (true, _) => self.draft.unset(question.key),
            (false, true) => self.draft.set_legal(question.key, &question.shape.value(answer)),
            (false, false) => self.draft.set(question.key, &question.shape.value(answer)),
        }
    }

    /// Asks until there is an answer where one is needed.
    fn ask(&mut self, question: &Question) -> Result<String, Ended> {
        loop {
            writeln!(self.output, "{}", question.text)?;
            let answer = self.line()?;
            // A list of nothing but commas names nothing.
            let is_empty = question.shape != Shape::Text && answer.trim_matches([',', ' ', '\t']).is_empty();
            if !(is_empty || answer.is_empty()) {
                return Ok(answer);
            }
            if !question.is_needed {
                return Ok(String::new());
            }
            self.object(&["this needs an answer".to_owned()])?;
        }
    }

    fn line(&mut self) -> Result<String, Ended> {
        write!(self.output, "> ")?;
        self.output.flush()?;
        let mut line = Vec::new();
        (&mut self.input).take(limits::ANSWER_BYTES).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            writeln!(self.output)?;
            return Err(Ended::Answers);
        }
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }

    fn object(&mut self, objections: &[String]) -> Result<(), Ended> {
        objections.iter().try_for_each(|objection| writeln!(self.output, "  {objection}"))?;
        Ok(())
    }

    /// Shows the file and writes it, when that is what is wanted.
    fn finish(&mut self, path: &Path, name: &str) -> Result<Exit, Ended> {
        let (errors, warnings) = self.draft.verdict(self.files, name);
        writeln!(self.output, "\n{}", self.draft.text())?;
        self.object(&warnings)?;
        if !errors.is_empty() {
            self.object(&errors)?;
            return Ok(complain(Exit::No, &"the case cannot be taken; nothing was written"));
        }
        loop {
            writeln!(self.output, "Write this to {}? yes or no", path.display())?;
            match self.line()?.as_str() {
                "yes" | "y" => break,
                "no" | "n" => return Ok(complain(Exit::No, &"nothing was written")),
                _ => {}
            }
        }
        match place::put(path, false, |file| file.write_all(self.draft.text().as_bytes())) {
            Ok(()) => {
                writeln!(self.output, "{} is written", path.display())?;
                Ok(Exit::Fine)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(complain(Exit::No, &format!("`{}` is there already; nothing was written", path.display())))
            }
            Err(error) => Ok(complain(Exit::Io, &format!("cannot write `{}`: {error}", path.display()))),
        }
    }
}

/// Why a case with this id cannot have a file of its own, if so.
fn no_place(directory: &Path, id: &str) -> Option<String> {
    let path = case_path(directory, id);
    if !PolicyFiles::belongs(&format!("cases/{id}.toml")) {
        Some("a file of that name would be hidden, and no part of the policy set".to_owned())
    } else if path.exists() {
        Some(format!("`{}` is there already, and is never overwritten", path.display()))
    } else {
        None
    }
}

fn case_path(directory: &Path, id: &str) -> PathBuf {
    directory.join("cases").join(format!("{id}.toml"))
}
