//! Scenario files of data models: in the simulator and against real processes, and what is said of wrong ones.

#![allow(
    clippy::disallowed_methods,
    reason = "drives real processes: has real time, tasks and sockets"
)]

mod common;

use std::path::{Path, PathBuf};

use common::{Finished, meridian};

const TWO: &str = "name = \"x\"\nregions = [\"us-east-1\", \"eu-west-1\"]\n";
const CARTS: &str = "[[table]]\nname = \"carts\"\nkey = [\"user\", \"line:N\"]\n";

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulations/models");
    let files = std::fs::read_dir(folder).expect("the models are there");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

/// Runs a scenario that is written to a file of its own.
async fn run_text(text: &str, args: &[&str]) -> Finished {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.toml");
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("plain");
    meridian(&[&["sim", "run", file], args].concat()).await
}

#[tokio::test]
async fn every_model_shows_in_the_simulator_what_it_says() {
    for model in models() {
        let file = model.to_str().expect("plain");
        let text = std::fs::read_to_string(&model).expect("readable");
        assert!(text.starts_with("# "), "{file} says what it is about");
        let run = meridian(&["sim", "run", file, "--seeds", "3"]).await;
        assert_eq!(run.code, Some(0), "{file}\n{}{}", run.stdout, run.stderr);
    }
}

#[tokio::test]
async fn what_is_not_found_is_told_with_its_line_and_what_was_found() {
    let steps = "[[step]]\nat = \"1s\"\nregion = \"us-east-1\"\nput = \"carts\"\nItem = { user = \"ann\", line = 1, n = 2 }\n\
        [[expect]]\ntable = \"carts\"\nkey = { user = \"ann\", line = 1 }\nhas = { n = 3 }\nregion = \"eu-west-1\"\n";
    let run = run_text(&format!("{TWO}{CARTS}{steps}"), &[]).await;
    let said = run.refused();
    for words in [
        "x.toml:11: ",
        "{ line = 1, user = \"ann\" } of carts to have { n = 3 }, in eu-west-1",
        "found in eu-west-1 { line = 1, n = 2, user = \"ann\" }",
    ] {
        assert!(said.contains(words), "no '{words}' in:\n{said}");
    }
}

#[tokio::test]
async fn an_operation_that_fails_is_not_as_expected() {
    let steps = "[[step]]\nat = \"1s\"\nregion = \"us-east-1\"\nput = \"carts\"\nItem = { user = \"ann\", line = 1 }\n\
        ConditionExpression = \"attribute_exists(#u)\"\nExpressionAttributeNames = { \"#u\" = \"user\" }\n";
    let text = format!("{TWO}{CARTS}{steps}");
    let said = run_text(&text, &[]).await.refused();
    assert!(
        said.contains("found ConditionalCheckFailedException: "),
        "{said}"
    );
    let met = format!("{text}expect_error = \"ConditionalCheckFailedException\"\n");
    run_text(&met, &[]).await.success();
}

/// A file, the line of its mistake, and words that are said of it.
const WRONG: &[(&str, usize, &[&str])] = &[
    (
        "[[step]]\nat = \"1s\"\nregion = \"eu-west-2\"\nget = \"carts\"\nKey = { user = \"a\", line = 1 }\n",
        8,
        &["no region 'eu-west-2'", "did you mean 'eu-west-1'?"],
    ),
    (
        "[[step]]\nat = \"1s\"\nregion = \"eu-west-1\"\nget = \"cart\"\nKey = { user = \"a\", line = 1 }\n",
        9,
        &["no table 'cart'", "did you mean 'carts'?"],
    ),
    (
        "[[step]]\nat = \"1s\"\nregion = \"eu-west-1\"\nget = \"carts\"\nKey = { usr = \"a\", line = 1 }\n",
        10,
        &["no attribute 'usr'", "did you mean 'user'?"],
    ),
    (
        "[[step]]\nat = \"1s\"\nregion = \"eu-west-1\"\nput = \"carts\"\nItem = { user = \"a\", line = \"1\" }\n",
        10,
        &["needs 'line' of type N, not S"],
    ),
    (
        "[[step]]\nat = \"1s\"\nregion = \"eu-west-1\"\nputt = \"carts\"\n",
        9,
        &["a step has no key 'putt'", "did you mean 'put'?"],
    ),
    (
        "[[step]]\nat = \"1s\"\nregion = \"eu-west-1\"\nget = \"carts\"\nKey = { user = \"a\", line = 1 }\n\
         Consistent = true\n",
        11,
        &[
            "a step has no key 'Consistent'",
            "did you mean 'ConsistentRead'?",
        ],
    ),
    (
        "[[step]]\nat = \"-1s\"\nheal = \"all\"\n",
        7,
        &["'at' must not be negative"],
    ),
    (
        "[[step]]\nat = \"9s\"\ncut = [\"us-east-1\", \"eu-west-1\"]\n[[step]]\nat = \"3s\"\n\
         heal = [\"us-east-1\", \"eu-west-1\"]\n",
        10,
        &[
            "nothing is wrong between us-east-1 and eu-west-1 by then",
            "before that of the cut?",
        ],
    ),
    (
        "[[step]]\nat = \"1s\"\nrestart = \"us-east-1\"\n",
        7,
        &["us-east-1 is alive by then"],
    ),
    (
        "[[step]]\nat = \"1s\"\nregion = \"eu-west-1\"\nget = \"carts\"\nKey = { user = \"a\", line = 1 }\n\
         expect_error = \"ConditionalCheckFailed\"\n",
        11,
        &["did you mean 'ConditionalCheckFailedException'?"],
    ),
    (
        "[[expect]]\ntable = \"carts\"\nkey = { user = \"a\", line = 1 }\nconflict = 1\n",
        9,
        &[
            "an expectation has no key 'conflict'",
            "did you mean 'conflicts'?",
        ],
    ),
    (
        "[[expect]]\ntable = \"carts\"\nkey = { user = \"a\" }\nabsent = true\n",
        8,
        &["needs 'line'"],
    ),
    (
        "[[expect]]\ntable = \"carts\"\ncount = \"many\"\n",
        8,
        &["invalid type"],
    ),
    (
        "[[expect]]\nlag_p98_ms = 3\n",
        7,
        &["lag_p98_ms", "did you mean 'lag_p99_ms'?"],
    ),
    (
        "[[table]]\nname = \"t\"\nkey = [\"a:X\"]\n",
        8,
        &["keys have no type 'X'"],
    ),
];

#[tokio::test]
async fn mistakes_are_told_before_anything_runs_with_their_lines_and_hints() {
    for (rest, line, words) in WRONG {
        let said = run_text(&format!("{TWO}{CARTS}{rest}"), &[])
            .await
            .refused();
        let place = format!("x.toml:{line}: ");
        for words in words.iter().copied().chain([place.as_str()]) {
            assert!(
                said.contains(words),
                "no '{words}' in:\n{said}\nof:\n{rest}"
            );
        }
    }
    let fault = "[[fault]]\nat = \"1s\"\ncut = [\"us-east-1\", \"mars\"]\n";
    let said = run_text(&format!("{TWO}{fault}"), &[]).await.refused();
    assert!(
        said.contains("line 5") && said.contains("'mars' is not among"),
        "{said}"
    );
    let late = format!("{TWO}duration = \"5s\"\n[[step]]\nat = \"6s\"\nheal = \"all\"\n");
    let said = run_text(&late, &[]).await.refused();
    assert!(
        said.contains("x.toml:5: ") && said.contains("after the end"),
        "{said}"
    );
}
