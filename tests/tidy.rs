//! House rules that a compiler does not check (see also clippy.toml).
//!
//! - Floors: a module uses only modules below it.
//! - `unsafe` and the LMDB crates are named in `src/store/lmdb.rs` only.
//! - Files stay readable, and nothing unfinished is merged.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of `src/`, lowest first. Modules of one floor may not use each other.
/// The same list, in the same order, as in `src/lib.rs`.
const FLOORS: &[&[&str]] = &[
    &["config"],
    &["telemetry"],
    &["marks", "whims"],
    &["item"],
    &["clock"],
    &["expression"],
    &["partiql"],
    &["store"],
    &["replica"],
    &["replication"],
    &["transport"],
    &["api", "simulation"],
    &["region"],
    &["cli"],
];

/// The most lines a file may have; 150 to 400 is what to aim at.
const FILE_LINES_MAX: usize = 600;

/// Marks of unfinished work. Split, so that this file does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("db", "g!("),
];

/// The one file with `unsafe` and the one that knows LMDB.
const UNSAFE_FILE: &str = "src/store/lmdb.rs";

struct Source {
    /// Relative to the repository, with forward slashes.
    name: String,
    text: String,
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = folders.iter().map(|f| root.join(f)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/");
            found.push(Source {
                name,
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!found.is_empty(), "no sources in {folders:?}");
    found
}

/// The code of a line: what comes before `//`. A `//` inside a string hides the rest of its line.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c| !is_word(c)).any(|w| w == word)
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The top-level module that a file in `src/` belongs to; `None` for `lib.rs` and `main.rs`.
fn module_of(name: &str) -> Option<&str> {
    let inside = name.strip_prefix("src/")?;
    let module = inside.split('/').next()?.trim_end_matches(".rs");
    (module != "lib" && module != "main").then_some(module)
}

/// The top-level modules that a text names: `crate::x`, `crate::{x::.., y}`, `super::super::x`.
fn modules_named(text: &str) -> Vec<String> {
    let code: String = text.lines().map(code).collect::<Vec<_>>().join("\n");
    let mut named = Vec::new();
    for marker in ["crate::", "super::super::"] {
        for (at, _) in code.match_indices(marker) {
            if code[..at].ends_with(is_word) {
                continue;
            }
            let rest = code[at + marker.len()..].trim_start();
            match rest.strip_prefix('{') {
                Some(group) => named.extend(heads_of_group(group)),
                None => named.push(rest.chars().take_while(|c| is_word(*c)).collect()),
            }
        }
    }
    // Items and macros of the crate root and modules of the own floor are not floors: left out later.
    named.sort();
    named.dedup();
    named
}

/// The first name of each path of `{a::b, c::{d, e}}`, given what follows the opening brace.
fn heads_of_group(group: &str) -> Vec<String> {
    let mut heads = vec![String::new()];
    let (mut depth, mut in_head) = (0usize, true);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(String::new());
                in_head = true;
            }
            c if depth == 0 && in_head && is_word(c) => heads.last_mut().unwrap().push(c),
            c if c.is_whitespace() => {}
            _ => in_head = false,
        }
    }
    heads
}

fn report(faults: &str, rule: &str) {
    assert!(faults.is_empty(), "\n{rule}\n{faults}");
}

#[test]
fn a_floor_uses_only_floors_below() {
    let mut faults = String::new();
    for source in sources(&["src"]) {
        let Some(module) = module_of(&source.name) else {
            continue;
        };
        let Some(own) = floor_of(module) else {
            writeln!(
                faults,
                "  {}: '{module}' has no floor; give it one in tests/tidy.rs",
                source.name
            )
            .unwrap();
            continue;
        };
        for used in modules_named(&source.text) {
            let allowed = used == module || floor_of(&used).is_none_or(|floor| floor < own);
            if !allowed {
                writeln!(faults, "  {}: '{module}' may not use '{used}'", source.name).unwrap();
            }
        }
    }
    report(
        &faults,
        "A module uses only modules below it (docs: the floors in src/lib.rs):",
    );
}

#[test]
fn the_floors_are_those_of_the_library() {
    let library =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let declared: Vec<&str> = library
        .lines()
        .filter_map(|l| l.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let listed: Vec<&str> = FLOORS
        .iter()
        .flat_map(|floor| floor.iter().copied())
        .collect();
    assert_eq!(
        declared, listed,
        "src/lib.rs and tests/tidy.rs list the floors in the same order"
    );
}

#[test]
fn unsafe_and_lmdb_are_in_one_file() {
    let mut faults = String::new();
    for source in sources(&["src", "tests"]) {
        if source.name == UNSAFE_FILE || source.name == "tests/tidy.rs" {
            continue;
        }
        // The tests of that file are part of it.
        let may_name_lmdb = source.name == "src/store/lmdb_tests.rs";
        for (n, line) in source.text.lines().enumerate() {
            let code = code(line);
            let lmdb = code.contains("lmdb_sys") || code.trim_start().starts_with("use lmdb::");
            if has_word(code, "unsafe") || (lmdb && !may_name_lmdb) {
                writeln!(faults, "  {}:{}: {}", source.name, n + 1, line.trim()).unwrap();
            }
        }
    }
    report(
        &faults,
        "Only src/store/lmdb.rs says `unsafe` or `lmdb` (docs/adr/0002):",
    );
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let source = sources(&[UNSAFE_FILE]).remove(0);
    let lines: Vec<&str> = source.text.lines().collect();
    let mut faults = String::new();
    for (n, line) in lines.iter().enumerate() {
        let above = lines[..n]
            .iter()
            .rev()
            .take_while(|l| l.trim_start().starts_with("//"));
        if has_word(code(line), "unsafe") && !above.into_iter().any(|l| l.contains("// SAFETY: ")) {
            writeln!(faults, "  {}:{}: {}", source.name, n + 1, line.trim()).unwrap();
        }
    }
    report(
        &faults,
        "An unsafe block has a `// SAFETY:` comment right above it:",
    );
}

#[test]
fn files_are_short_and_finished() {
    let mut faults = String::new();
    for source in sources(&["src", "tests"]) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            writeln!(
                faults,
                "  {}: {lines} lines, {FILE_LINES_MAX} is the limit",
                source.name
            )
            .unwrap();
        }
        for (n, line) in source.text.lines().enumerate() {
            if let Some(mark) = UNFINISHED.iter().find(|mark| line.contains(**mark)) {
                writeln!(faults, "  {}:{}: '{mark}'", source.name, n + 1).unwrap();
            }
        }
    }
    report(&faults, "Files are one idea, and finished:");
}

#[test]
fn the_reader_of_paths_finds_what_it_should() {
    let text = "use crate::{item::{Value, Key}, clock::Now,\n    store};\nlet x = crate::api::serve(); // crate::cli\n\
                super::super::region::run(); mycrate::zzz; $crate::replica::X";
    assert_eq!(
        modules_named(text),
        ["api", "clock", "item", "region", "replica", "store"]
    );
    assert!(has_word("unsafe { x }", "unsafe"));
    assert!(!has_word("#![allow(unsafe_code)]", "unsafe"));
    assert_eq!(module_of("src/store/lmdb.rs"), Some("store"));
    assert_eq!(module_of("src/main.rs"), None);
}
