//! Tables of a TOML document whose members know where they are written, so that every mistake is told with its
//! line and, where a name is wrong, with the one that was meant.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::simulation::scenario::Span;

/// A value and where it is written.
pub type Node<'t> = Spanned<DeValue<'t>>;

/// How like two names must be for one to be taken for the other, misspelt.
const ALIKE: f64 = 0.82;

/// A mistake in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Flaw {
    /// Where, in bytes.
    pub at: usize,
    /// What, and after a line break a hint.
    pub reason: String,
}

pub type Read<T> = Result<T, Flaw>;

pub fn flaw<T>(at: usize, reason: impl Into<String>) -> Read<T> {
    let reason = reason.into();
    Err(Flaw { at, reason })
}

/// What is wrong with `found`, of which `known` are possible.
pub fn unknown<'k, T>(
    at: usize,
    what: &str,
    found: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Read<T> {
    let known: Vec<&str> = known.into_iter().collect();
    let hint = match nearest(found, &known) {
        Some(meant) => format!("did you mean '{meant}'?"),
        None if known.is_empty() => "there is none at all".to_owned(),
        None => format!("known: {}", known.join(", ")),
    };
    flaw(at, format!("{what} '{found}'\n  hint: {hint}"))
}

fn nearest<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let alike = |name: &&'k str| {
        let (found, name) = (found.to_lowercase(), name.to_lowercase());
        strsim::jaro_winkler(&found, &name)
    };
    let best = (known.iter()).max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
    (alike(best) >= ALIKE).then_some(*best)
}

/// The line of a byte, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    1 + before.filter(|byte| **byte == b'\n').count()
}

pub fn start(node: &Node<'_>) -> usize {
    node.span().start
}

/// A string.
pub fn text<'n>(node: &'n Node<'_>) -> Read<&'n str> {
    node.get_ref()
        .as_str()
        .map_or_else(|| flaw(start(node), "a string is needed here"), Ok)
}

/// An array, or nothing else.
pub fn list<'n, 't>(node: &'n Node<'t>) -> Read<&'n [Node<'t>]> {
    match node.get_ref().as_array() {
        Some(list) => Ok(list),
        None => flaw(start(node), "an array is needed here"),
    }
}

/// A value as one of Rust's types.
pub fn plain<T: for<'d> Deserialize<'d>>(node: &Node<'_>) -> Read<T> {
    T::deserialize(node.clone().into_deserializer()).map_err(|error: toml::de::Error| Flaw {
        at: error.span().map_or_else(|| start(node), |span| span.start),
        reason: error.message().to_owned(),
    })
}

/// The members of a table: those that were asked for are the known ones.
pub struct Fields<'n, 't> {
    table: &'n DeTable<'t>,
    /// Where the table is written.
    pub at: usize,
    /// What it is, for people: `a step`.
    what: &'static str,
    known: BTreeSet<&'static str>,
}

impl<'n, 't> Fields<'n, 't> {
    pub fn of(node: &'n Node<'t>, what: &'static str) -> Read<Self> {
        let at = start(node);
        match node.get_ref().as_table() {
            None => flaw(at, format!("{what} is a table, {{ .. }}")),
            Some(table) => Ok(Fields {
                table,
                at,
                what,
                known: BTreeSet::new(),
            }),
        }
    }

    pub fn take(&mut self, name: &'static str) -> Option<&'n Node<'t>> {
        self.known.insert(name);
        self.table.get(name)
    }

    pub fn need(&mut self, name: &'static str) -> Read<&'n Node<'t>> {
        let (at, what) = (self.at, self.what);
        let missing = || format!("{what} needs '{name}'");
        self.take(name).map_or_else(|| flaw(at, missing()), Ok)
    }

    pub fn text(&mut self, name: &'static str) -> Read<Option<&'n str>> {
        self.take(name).map(text).transpose()
    }

    /// A time span that is not negative, in microseconds.
    pub fn span_us(&mut self, name: &'static str) -> Read<Option<u64>> {
        let Some(node) = self.take(name) else {
            return Ok(None);
        };
        let span: Span = plain(node)?;
        match u64::try_from(span.us) {
            Ok(us) => Ok(Some(us)),
            Err(_) => flaw(start(node), format!("'{name}' must not be negative")),
        }
    }

    pub fn plain<T: for<'d> Deserialize<'d>>(&mut self, name: &'static str) -> Read<Option<T>> {
        self.take(name).map(plain).transpose()
    }

    /// Which of these words are there.
    pub fn present(&mut self, words: &[&'static str]) -> Vec<&'static str> {
        self.known.extend(words);
        let there = words.iter().filter(|word| self.table.contains_key(**word));
        there.copied().collect()
    }

    /// Refuses every member that nobody asked for.
    pub fn finish(self) -> Read<()> {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if !self.known.contains(name) {
                let what = format!("{} has no key", self.what);
                return unknown(key.span().start, &what, name, self.known);
            }
        }
        Ok(())
    }
}
