//! Keeps the region processes of `up` running: one that dies is started again, and said so.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::CliError;
use super::cluster::{Cluster, Member};
use super::serve::Ready;
use crate::config::Topology;

/// Between a death and the next start; doubled by every death that comes soon after, to the maximum.
const RESTART_DELAY: Duration = Duration::from_millis(100);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(5);
/// A region that ran this long is healthy again.
const STEADY: Duration = Duration::from_secs(10);
/// How long a region may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The regions as they are now: what the front door routes by and tells of.
#[derive(Debug)]
pub struct Members {
    cluster: Mutex<Cluster>,
}

impl Members {
    pub fn new(topology: &Topology) -> Self {
        let mut cluster = Cluster::of(topology);
        for member in &mut cluster.regions {
            // Each region picks its admin port and says so when it is ready.
            member.admin = None;
        }
        Members {
            cluster: Mutex::new(cluster),
        }
    }

    pub fn cluster(&self) -> Cluster {
        self.cluster
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn list(&self) -> Vec<Member> {
        self.cluster().regions
    }

    /// The region of that name. Where a request names none, or none of this cluster, any that runs may tell
    /// the client what is wrong with it.
    pub fn serving(&self, region: Option<&str>) -> Option<Member> {
        let cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let named = cluster.regions.iter().find(|m| Some(&*m.name) == region);
        let running = || cluster.regions.iter().find(|m| m.pid.is_some());
        named
            .or_else(running)
            .or_else(|| cluster.regions.first())
            .cloned()
    }

    /// The names of the regions that are down.
    pub fn missing(&self) -> Vec<String> {
        self.list()
            .into_iter()
            .filter(|m| m.pid.is_none())
            .map(|m| m.name)
            .collect()
    }

    fn update(&self, name: &str, pid: Option<u32>, admin: Option<String>) {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = cluster.regions.iter_mut().find(|m| m.name == name) {
            member.pid = pid;
            member.admin = admin;
        }
    }
}

/// How to start one region's process.
#[derive(Clone, Debug)]
pub struct Launch {
    pub region: String,
    pub topology: PathBuf,
    /// `None` = in memory.
    pub data: Option<PathBuf>,
    pub certs: PathBuf,
    pub credentials: Option<PathBuf>,
    /// Its other arguments.
    pub tuning: Vec<String>,
}

#[derive(Deserialize)]
struct ReadyLine {
    ready: Ready,
}

/// One supervised region.
pub struct Child {
    first_ready: Option<oneshot::Receiver<Result<(), String>>>,
    region: String,
    /// Whether it is to be dead for now.
    hold: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Child {
    /// Starts the region and keeps it running until `stop`. A death before it was ever ready is final.
    pub fn start(launch: Launch, members: Arc<Members>, stop: CancellationToken) -> Child {
        let (tell, first_ready) = oneshot::channel();
        let region = launch.region.clone();
        let (hold, held) = watch::channel(false);
        let task = tokio::spawn(supervise(launch, members, stop, tell, held));
        Child {
            first_ready: Some(first_ready),
            region,
            hold,
            task,
        }
    }

    /// Waits until the region answers for the first time.
    pub async fn ready(&mut self) -> Result<(), CliError> {
        let failed = |reason: String| CliError::Start {
            region: self.region.clone(),
            reason,
        };
        match self.first_ready.take() {
            None => Ok(()),
            Some(wait) => match wait.await {
                Ok(result) => result.map_err(failed),
                Err(_) => Err(failed("its supervisor stopped".into())),
            },
        }
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    /// Kills the process and keeps it dead, or lets it run again.
    pub fn hold(&self, dead: bool) {
        self.hold.send_replace(dead);
    }

    pub async fn join(self) {
        // A supervisor that panicked has said so on standard error already.
        let _ = self.task.await;
    }
}

async fn supervise(
    launch: Launch,
    members: Arc<Members>,
    stop: CancellationToken,
    tell: oneshot::Sender<Result<(), String>>,
    mut held: watch::Receiver<bool>,
) {
    let mut tell = Some(tell);
    let mut delay = RESTART_DELAY;
    loop {
        tokio::select! {
            () = until(&mut held, false) => {}
            () = stop.cancelled() => return,
        }
        let started = tokio::time::Instant::now();
        let end = run_once(&launch, &members, &stop, &mut tell, &mut held).await;
        members.update(&launch.region, None, None);
        if stop.is_cancelled() {
            return;
        }
        if let Some(tell) = tell.take() {
            // Nobody waits any more when `up` is stopping already.
            let _ = tell.send(Err(end));
            return;
        }
        if *held.borrow() {
            continue;
        }
        if started.elapsed() > STEADY {
            delay = RESTART_DELAY;
        }
        eprintln!("region {} died ({end}); starting it again", launch.region);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => return,
        }
        delay = (delay * 2).min(RESTART_DELAY_MAX);
    }
}

/// Waits until the process is to be dead, or alive; where nobody says any more, for ever.
async fn until(held: &mut watch::Receiver<bool>, dead: bool) {
    let gone = held.wait_for(|held| *held == dead).await.is_err();
    if gone {
        std::future::pending::<()>().await;
    }
}

/// Runs the process once; says how it ended.
async fn run_once(
    launch: &Launch,
    members: &Members,
    stop: &CancellationToken,
    tell: &mut Option<oneshot::Sender<Result<(), String>>>,
    held: &mut watch::Receiver<bool>,
) -> String {
    let mut child = match command(launch).and_then(|mut c| c.spawn()) {
        Ok(child) => child,
        Err(error) => return format!("it could not be started: {error}"),
    };
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return "its output could not be read".into();
    };
    let last_words = tokio::spawn(relay_errors(stderr, tell.is_some()));
    let mut lines = BufReader::new(stdout).lines();
    let (mut stopping, mut killed) = (false, false);
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    if let Ok(line) = serde_json::from_str::<ReadyLine>(&line) {
                        members.update(&launch.region, Some(line.ready.pid), Some(line.ready.admin));
                        if let Some(tell) = tell.take() {
                            let _ = tell.send(Ok(()));
                        }
                    }
                }
                Ok(None) | Err(_) => break,
            },
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                drop(child.stdin.take());
            }
            () = until(held, true), if !killed => {
                killed = true;
                // One that is gone already is as dead as it should be.
                let _ = child.start_kill();
            }
        }
    }
    let status = match tokio::time::timeout(STOP_TIMEOUT, child.wait()).await {
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            let _ = child.kill().await;
            "it did not stop and was killed".into()
        }
    };
    let words = last_words.await.unwrap_or_default();
    if words.is_empty() { status } else { words }
}

fn command(launch: &Launch) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "--supervised", "--region", &launch.region]);
    command
        .arg("--topology")
        .arg(&launch.topology)
        .arg("--certs")
        .arg(&launch.certs)
        .args(&launch.tuning);
    match &launch.data {
        Some(data) => command.arg("--data").arg(data),
        None => command.arg("--in-memory"),
    };
    if let Some(credentials) = &launch.credentials {
        command.arg("--credentials").arg(credentials);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

/// Passes a region's standard error on, and keeps its last `error:` lines as the reason of its end.
async fn relay_errors(stderr: tokio::process::ChildStderr, starting: bool) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let mut words = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(error) = line.strip_prefix("error: ") {
            words = error.to_owned();
        } else if !words.is_empty() && line.starts_with("  ") {
            words = format!("{words}\n{line}");
        } else {
            eprintln!("{line}");
            continue;
        }
        if !starting {
            eprintln!("{line}");
        }
    }
    words
}
