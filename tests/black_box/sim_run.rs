//! `meridian sim run` as a process: many seeds at a time, told in their order, and stopped by Ctrl-C.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::common::{eventually, meridian, signal};
use serde_json::Value;
use tempfile::TempDir;

/// A short world in which nothing breaks; `more` goes to its end.
fn scenario(folder: &TempDir, more: &str) -> String {
    let path = folder.path().join("short.toml");
    let text = format!(
        "name = \"short\"\nregions = [\"us-east-1\", \"eu-west-1\"]\nduration = \"4s\"\nsteady = true\n\
         [workload]\noperations_per_second = 10\n{more}"
    );
    std::fs::write(&path, text).expect("written");
    text_of(&path)
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("plain").to_owned()
}

#[tokio::test]
async fn seeds_on_several_threads_are_those_on_one() {
    let folder = TempDir::new().expect("a folder");
    let file = scenario(&folder, "");
    let run = async |jobs: &str| {
        let args = [
            "sim", "run", &file, "--seeds", "12", "--json", "--jobs", jobs,
        ];
        meridian(&args).await.success()
    };
    let (alone, together) = (run("1").await, run("4").await);
    assert_eq!(alone.stdout, together.stdout);
    let runs: Vec<Value> = serde_json::from_str(&together.stdout).expect("JSON");
    let seeds: Vec<u64> = runs.iter().filter_map(|run| run["seed"].as_u64()).collect();
    assert_eq!(seeds, (0..12).collect::<Vec<u64>>());
    assert!(runs.iter().all(|run| run["marks"].is_object()));
    // Nobody looks: standard error is a pipe.
    assert_eq!(together.stderr, "");
}

#[tokio::test]
async fn what_fails_is_told_in_the_order_of_the_seeds() {
    let folder = TempDir::new().expect("a folder");
    let file = scenario(&folder, "[expect]\nlag_max_ms = 1\n");
    let args = ["sim", "run", &file, "--seeds", "8", "--jobs", "3"];
    let said = meridian(&args).await.refused();
    let failed: Vec<&str> = said.lines().filter(|l| l.ends_with(" FAILED")).collect();
    let expected: Vec<String> = (0..8).map(|seed| format!("seed {seed} FAILED")).collect();
    assert_eq!(failed, expected, "{said}");
    assert!(said.contains("8 of 8 seeds failed"), "{said}");
    assert!(!said.contains('\r'), "no line is drawn: {said}");
}

/// Starts more seeds than anybody waits for.
fn endless(file: &str, folder: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
    command.args(["sim", "run", file, "--seeds", "100000000", "--jobs", "2"]);
    command.arg("--report").arg(folder.join("report"));
    command.arg("--files").arg(folder.join("files"));
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn ctrl_c_ends_it_after_the_seeds_under_way_and_what_is_known_is_reported() {
    let folder = TempDir::new().expect("a folder");
    let child = endless(&scenario(&folder, ""), folder.path());
    let third = folder.path().join("files/run-2");
    eventually("a seed has ended", async || third.exists()).await;
    signal(child.id(), "INT");
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("it ends");
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert_eq!(status.code(), Some(130), "{stdout}{stderr}");
    assert!(stdout.contains("seeds passed, 0 failed"), "{stdout}");
    assert!(stderr.contains("of 100000000 seeds"), "{stderr}");
    let read = |name: &str| {
        let path = folder.path().join("report").join(name);
        std::fs::read_to_string(path).expect("the report is there")
    };
    let report: Value = serde_json::from_str(&read("report.json")).expect("JSON");
    assert_eq!(report["asked"], 100_000_000);
    assert_eq!(report["passed"], true);
    let runs = report["runs"].as_array().expect("a list");
    let seeds: Vec<u64> = runs.iter().filter_map(|run| run["seed"].as_u64()).collect();
    let expected: Vec<u64> = (0..).take(seeds.len()).collect();
    assert_eq!(seeds, expected, "all that were begun, in order");
    assert!(seeds.len() >= 3, "{seeds:?}");
    let said = format!("Stopped after {} of 100000000 seeds", seeds.len());
    assert!(read("report.html").contains(&said), "{said}");
}
