//! Scenario files of data models: in the simulator and against real processes, and what is said of wrong ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::{Cluster, Finished, meridian};
use serde_json::Value;

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

/// What a run expected, where that is written, and whether it was met.
fn findings(json: &Value) -> Vec<(u64, String, bool)> {
    let listed = json["findings"].as_array().expect("findings");
    let finding = |one: &Value| {
        let line = one["line"].as_u64().expect("a line");
        let expected = one["expected"].as_str().expect("words");
        // Times of day differ.
        let expected = expected.split("expires = ").next().unwrap_or(expected);
        (line, expected.to_owned(), one["met"] == true)
    };
    listed.iter().map(finding).collect()
}

/// Plays a model in both worlds: they find the same.
async fn same_verdict(name: &str) {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("simulations/models/{name}.toml"));
    let file = file.to_str().expect("plain");
    let simulated = meridian(&["sim", "run", file, "--json"]).await.success();
    let simulated: Value = serde_json::from_str(&simulated.stdout).expect("JSON");
    let live = meridian(&["sim", "run", file, "--live", "--json"]).await;
    assert_eq!(live.code, Some(0), "{name}\n{}{}", live.stdout, live.stderr);
    let live: Value = serde_json::from_str(&live.stdout).expect("JSON");
    assert_eq!(findings(&simulated[0]), findings(&live), "{name}");
}

#[tokio::test]
async fn real_processes_lose_the_same_cart_line() {
    same_verdict("cart-naive").await;
}

#[tokio::test]
async fn real_processes_give_one_name_to_two() {
    same_verdict("username-anywhere").await;
}

#[tokio::test]
async fn real_processes_make_money_from_nowhere() {
    same_verdict("ledger-balance").await;
}

#[tokio::test]
async fn dead_regions_and_slow_links_are_the_same_in_both_worlds() {
    let put = |at: &str, more: &str| {
        format!(
            "[[step]]\nat = \"{at}\"\nregion = \"eu-west-1\"\nput = \"carts\"\nItem = {{ user = \"ann\", line = 1 }}\n{more}"
        )
    };
    let text = format!(
        "{TWO}{CARTS}{}[[step]]\nat = \"1s\"\nslow = [\"us-east-1\", \"eu-west-1\"]\nrtt = \"200ms\"\n\
         [[step]]\nat = \"1500ms\"\nkill = \"eu-west-1\"\n{}[[step]]\nat = \"2500ms\"\nrestart = \"eu-west-1\"\n{}\
         [[expect]]\ntable = \"carts\"\ncount = 1\nconflicts = 0\n",
        put("500ms", ""),
        put("2s", "expect_error = \"ServiceUnavailable\"\n"),
        put(
            "5s",
            "ReturnValues = \"ALL_OLD\"\nexpect_item = { user = \"ann\", line = 1 }\n"
        ),
    );
    run_text(&text, &[]).await.success();
    run_text(&text, &["--live"]).await.success();
}

#[tokio::test]
async fn what_is_not_as_expected_live_is_told_and_fails() {
    let steps = "[[step]]\nat = \"0s\"\nregion = \"us-east-1\"\nput = \"carts\"\nItem = { user = \"ann\", line = 1 }\n\
        expect_error = \"ConditionalCheckFailedException\"\n";
    let said = run_text(&format!("{TWO}{CARTS}{steps}"), &["--live"])
        .await
        .refused();
    for words in [
        "NOT MET",
        "x.toml:6: ",
        "found success",
        "1 of 2 expectations were not met",
    ] {
        assert!(said.contains(words), "no '{words}' in:\n{said}");
    }
}

#[tokio::test]
async fn a_running_cluster_is_played_on_and_left_as_it_was() {
    let data = Arc::new(tempfile::tempdir().expect("a folder"));
    let topology = data.path().join("pair.toml");
    let regions =
        "[[region]]\nname = \"us-east-1\"\nid = 0\n[[region]]\nname = \"eu-west-1\"\nid = 1\n";
    let text = format!("[cluster]\nname = \"pair\"\nreplicate = \"all\"\n{regions}");
    std::fs::write(&topology, text).expect("written");
    let cluster = Cluster::start_in(&data, Some(&topology));
    let live = format!("--live=127.0.0.1:{}", cluster.port);
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulations/models/cart-naive.toml");
    let file = model.to_str().expect("plain");
    for _ in 0..2 {
        // The second time there is no table of the first in the way.
        let run = meridian(&["sim", "run", file, &live]).await;
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    }
    let tables = cluster
        .client("us-east-1")
        .list_tables()
        .send()
        .await
        .expect("listed");
    assert!(tables.table_names().is_empty(), "{tables:?}");
    let kill = format!("{TWO}{CARTS}[[step]]\nat = \"1s\"\nkill = \"us-east-1\"\n");
    let said = run_text(&kill, &[&live]).await.refused();
    assert!(
        said.contains("x.toml:6: ") && said.contains("not this command's"),
        "{said}"
    );
}

#[tokio::test]
async fn what_real_clusters_cannot_do_is_refused_before_they_start() {
    for (rest, words) in [
        (
            "[[step]]\nat = \"1s\"\nskew = \"us-east-1\"\nby = \"5s\"\n",
            "x.toml:6: real clocks cannot be set",
        ),
        (
            "[[fault]]\nat = \"1s\"\nkill = \"us-east-1\"\n",
            "fault: only the simulator",
        ),
        (
            "[[expect]]\nlag_p99_ms = 100\n",
            "expect: only the simulator",
        ),
    ] {
        let text = format!("{TWO}{CARTS}{rest}");
        let said = run_text(&text, &["--live"]).await.refused();
        assert!(said.contains(words), "no '{words}' in:\n{said}");
    }
    let said = run_text(TWO, &["--live"]).await.refused();
    assert!(said.contains("there is none"), "{said}");
}
