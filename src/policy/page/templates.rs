//! Page templates: which there are, in which language, and whether they can be rendered.
//!
//! `pages/NAME.html` is the page `NAME` in the default language, `pages/NAME.<lang>.html` the same page in
//! another. A last part of the name that looks like a language tag is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::limits;
use crate::policy::case::{Action, Basis, Case, CaseId, Legal, Mode};
use crate::policy::files::PolicyFiles;
use crate::policy::ruleset::CompileOptions;

use super::context::{BUILT_IN_LANGUAGE, Context};
use super::{Body, DEFAULT_PAGE, Page, RenderedPages};

/// What the default page is when the policy directory has none.
const BUILT_IN: &str = include_str!("default.html");
const FOLDER: &str = "pages/";
const HTML: &str = "text/html; charset=utf-8";

/// The page templates of a policy set.
pub(crate) struct Templates {
    engine: Environment<'static>,
    /// By page name: the default language first, then the others in order of their tags.
    pages: BTreeMap<String, Vec<Variant>>,
    /// Page names with a fault that has been reported already.
    faulty: BTreeSet<String>,
}

/// One template file.
#[derive(Debug)]
struct Variant {
    language: String,
    /// The path in the policy directory, and the name of the template.
    file: String,
    source: Arc<str>,
}

impl Templates {
    /// Reads all pages, and tries each with a legal and with another sample case: a fault shows when it is
    /// written, not on the night its page is first needed.
    pub(crate) fn load(files: &PolicyFiles, diagnostics: &mut Diagnostics) -> Self {
        let mut templates = Self { engine: engine(), pages: BTreeMap::new(), faulty: BTreeSet::new() };
        let mut default_given = false;
        for (path, file) in &files.files {
            let Some(stem) = path.strip_prefix(FOLDER).and_then(|name| name.strip_suffix(".html")) else {
                continue;
            };
            let (name, language) = split_language(stem);
            default_given |= name == DEFAULT_PAGE && language.is_none();
            let content = file.content.as_deref().unwrap_or_default();
            templates.read(path, name, language, content, diagnostics);
        }
        if !default_given {
            let path = format!("{FOLDER}{DEFAULT_PAGE}.html");
            templates.read(&path, DEFAULT_PAGE, None, BUILT_IN.as_bytes(), diagnostics);
        }
        templates
    }

    fn read(
        &mut self,
        path: &str,
        name: &str,
        language: Option<&str>,
        content: &[u8],
        diagnostics: &mut Diagnostics,
    ) {
        let read = std::str::from_utf8(content).map_err(|error| not_text(path, content, error.valid_up_to()));
        match read.and_then(|source| self.checked(path, language, source)) {
            Ok(variant) => {
                let variants = self.pages.entry(name.to_owned()).or_default();
                let at = if language.is_none() { 0 } else { variants.len() };
                variants.insert(at, variant);
            }
            Err(diagnostic) => {
                self.faulty.insert(name.to_owned());
                diagnostics.push(diagnostic);
            }
        }
    }

    fn checked(&mut self, path: &str, language: Option<&str>, source: &str) -> Result<Variant, Diagnostic> {
        let fault = |error| fault(path, source, &error);
        self.engine.add_template_owned(path.to_owned(), source.to_owned()).map_err(fault)?;
        let variant = Variant {
            language: language.or_else(|| declared_language(source)).unwrap_or(BUILT_IN_LANGUAGE).to_owned(),
            file: path.to_owned(),
            source: source.into(),
        };
        for case in samples() {
            self.variant(&variant, &case).map_err(fault)?;
        }
        Ok(variant)
    }

    /// Makes all pages of a case; `None` for a case that refuses, or when a page cannot be made.
    pub(crate) fn render(
        &self,
        case: &Case,
        options: &CompileOptions,
        diagnostics: &mut Diagnostics,
    ) -> Option<RenderedPages> {
        let Some(variants) = self.pages.get(&case.page) else {
            if !self.faulty.contains(&case.page) {
                diagnostics.push(missing(case, self.pages.keys().map(String::as_str)));
            }
            return None;
        };
        if case.action == Action::Refuse {
            return None;
        }
        let mut html = Vec::with_capacity(variants.len());
        for variant in variants {
            match self.variant(variant, case) {
                Ok(page) => html.push(page),
                Err(error) => {
                    let mut fault = fault(&variant.file, &variant.source, &error);
                    fault.message = format!("{} (for case `{}`)", fault.message, case.id);
                    diagnostics.push(fault);
                    return None;
                }
            }
        }
        Some(RenderedPages::new(case, html, options))
    }

    fn variant(&self, variant: &Variant, case: &Case) -> Result<Page, Error> {
        let context = Value::from(Serde(Context::of(case, &variant.language)));
        let html = self.engine.get_template(&variant.file)?.render(context)?;
        if html.len() > limits::PAGE_BYTES {
            let detail = format!("the page is longer than {} bytes", limits::PAGE_BYTES);
            return Err(Error::new(ErrorKind::InvalidOperation, detail));
        }
        Ok(Page { body: Body::new(html, HTML, &variant.language), language: variant.language.clone() })
    }
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    // A misspelt variable is an error, not an empty place on a public page.
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::Html);
    engine.set_fuel(Some(limits::PAGE_FUEL));
    let tidy = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    engine.set_syntax(tidy.unwrap_or_default());
    engine.add_filter("date", date);
    engine
}

/// `{{ effective|date("%d.%m.%Y") }}`: a date of the case in the form a language is used to.
fn date(value: &str, format: &str) -> Result<String, Error> {
    let invalid = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let date: jiff::civil::Date = value.parse().map_err(invalid)?;
    jiff::fmt::strtime::format(format, date).map_err(invalid)
}

/// `notice.de` is the page `notice` in German, `notice` the page in its default language.
fn split_language(stem: &str) -> (&str, Option<&str>) {
    match stem.rsplit_once('.') {
        Some((name, tag)) if !name.is_empty() && is_language(tag) => (name, Some(tag)),
        _ => (stem, None),
    }
}

/// A language of two or three letters and its subtags (the common part of RFC 5646 §2.1).
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let primary = parts.next().unwrap_or_default();
    (2..=3).contains(&primary.len())
        && primary.bytes().all(|octet| octet.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_alphanumeric())
        })
}

/// What `<html lang="…">` says in a page whose file name says nothing.
fn declared_language(source: &str) -> Option<&str> {
    let (_, tag) = source.split_once("<html")?;
    let (tag, _) = tag.split_once('>')?;
    let (_, value) = tag.split_once("lang=\"")?;
    let (value, _) = value.split_once('"')?;
    Some(value).filter(|value| is_language(value))
}

/// Two cases that between them have every variable set once and absent once.
fn samples() -> Vec<Case> {
    let Some(id) = CaseId::parse("SAMPLE") else { return Vec::new() };
    let plain = Case {
        id,
        customer: String::new(),
        basis: Basis::Abuse,
        decided: jiff::Timestamp::UNIX_EPOCH,
        decided_by: Vec::new(),
        summary: String::new(),
        statement: "statement".to_owned(),
        action: Action::Page,
        status: 403,
        mode: Mode::Enforce,
        effective: None,
        expires: None,
        review: None,
        hosts: Vec::new(),
        lists: Vec::new(),
        except: Vec::new(),
        origins: Vec::new(),
        page: DEFAULT_PAGE.to_owned(),
        legal: None,
        exempt: Vec::new(),
        edges: Vec::new(),
    };
    let legal = Legal {
        authority: "authority".to_owned(),
        reference: "reference".to_owned(),
        url: Some("https://example.org/".to_owned()),
        territory: Vec::new(),
    };
    let ordered = Case { basis: Basis::CourtOrder, status: 451, legal: Some(legal), ..plain.clone() };
    vec![plain, ordered]
}

fn fault(file: &str, source: &str, error: &Error) -> Diagnostic {
    let line = error.line().unwrap_or(1).max(1);
    let text = source.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
    let message = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    let hint = (error.kind() == ErrorKind::UndefinedError).then(|| {
        "a page knows statement, case, status, status_text, basis, legal, decided, effective and lang"
            .to_owned()
    });
    Diagnostic {
        severity: Severity::Error,
        file: file.to_owned(),
        line: small(line),
        column: 1,
        text,
        message,
        hint,
    }
}

fn missing<'a>(case: &Case, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    let known: Vec<&str> = known.collect();
    Diagnostic {
        severity: Severity::Error,
        file: format!("{FOLDER}{}.html", case.page),
        line: 1,
        column: 1,
        text: case.page.clone(),
        message: format!("case `{}` asks for the page `{}`, which does not exist", case.id, case.page),
        hint: Some(format!("the pages are {}", known.join(", "))),
    }
}

fn not_text(file: &str, content: &[u8], valid: usize) -> Diagnostic {
    let before = content.get(..valid).unwrap_or_default();
    let line_start = before.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|octet| **octet == b'\n').count() + 1;
    let in_line = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default()).chars().count();
    Diagnostic {
        severity: Severity::Error,
        file: file.to_owned(),
        line: small(line),
        column: small(in_line + 1),
        text: String::new(),
        message: "not valid UTF-8".to_owned(),
        hint: Some("save the file as UTF-8".to_owned()),
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
