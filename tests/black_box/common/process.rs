//! The binary as a process: started, listened to, stopped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::PATIENCE;

const BINARY: &str = env!("CARGO_BIN_EXE_meridian");

/// Ports below those that systems give to outgoing connections: nobody takes one while a region restarts.
const PORT_MIN: u16 = 10_000;
const PORT_MAX: u16 = 30_000;
/// What one cluster may use.
const PORTS_EACH: u16 = 8;

/// The first of some ports in a row that are free for TCP and UDP, and given to nobody else in this process.
pub fn free_ports() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let slots = (PORT_MAX - PORT_MIN) / PORTS_EACH;
    let free = |port: u16| {
        TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
    };
    // Test processes that run at the same time begin at different places.
    let own = u16::try_from(std::process::id() % u32::from(slots)).expect("below the modulus");
    for _ in 0..slots {
        let slot = (own.wrapping_mul(31) % slots + GIVEN.fetch_add(1, Ordering::Relaxed)) % slots;
        let first = PORT_MIN + slot * PORTS_EACH;
        if (first..first + PORTS_EACH).all(free) {
            return first;
        }
    }
    panic!("there are no free ports between {PORT_MIN} and {PORT_MAX}");
}

/// A command that ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// It must have gone well.
    #[track_caller]
    pub fn success(self) -> Finished {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// It must have failed as a good command does: exit code 1, words for a person, no panic.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_eq!(self.code, Some(1), "{self:#?}");
        assert!(self.stderr.contains("error: "), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self.stderr
    }
}

/// Runs `meridian` with these arguments to its end.
pub async fn meridian<A: AsRef<OsStr>>(args: &[A]) -> Finished {
    let mut command = tokio::process::Command::new(BINARY);
    command
        .args(args)
        .env_remove("MERIDIAN_PORT")
        .env_remove("MERIDIAN_CREDENTIALS");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let shown: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .unwrap_or_else(|_| panic!("meridian {shown:?} does not end"))
        .expect("the binary can be started");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Sends a signal, such as `KILL`, to a process that may be gone already.
pub fn signal(pid: u32, name: &str) {
    let mut kill = Command::new("kill");
    kill.args([format!("-{name}"), pid.to_string()]);
    let sent = kill.stderr(Stdio::null()).status();
    sent.expect("there is a kill command");
}

/// A long-running `meridian`, stopped with SIGTERM when dropped.
pub struct Process {
    child: Child,
    lines: Mutex<Receiver<String>>,
    /// Everything it and its children said.
    log: Arc<Mutex<String>>,
    gone: Option<ExitStatus>,
}

impl Process {
    pub fn spawn<A: AsRef<OsStr>>(args: &[A]) -> Process {
        let mut child = Command::new(BINARY)
            .args(args)
            .env_remove("MERIDIAN_PORT")
            .env_remove("MERIDIAN_CREDENTIALS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let log = Arc::new(Mutex::new(String::new()));
        let (tell, lines) = channel();
        listen(child.stdout.take().expect("piped"), &log, Some(tell));
        listen(child.stderr.take().expect("piped"), &log, None);
        Process {
            child,
            lines: Mutex::new(lines),
            log,
            gone: None,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.clone()
    }

    /// Its next line on standard output.
    pub fn line(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("it says nothing more ({error}):\n{}", self.log()),
        }
    }

    /// Stops it as an operator would.
    pub fn stop(&mut self) -> ExitStatus {
        if self.gone.is_none() {
            signal(self.pid(), "TERM");
        }
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.gone.is_none() {
            self.gone = self.child.try_wait().expect("it is our child");
        }
        self.gone
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the process said ---\n{}---", self.log());
            if self.ended().is_none() {
                // A stop that hangs must not hide why the test failed; regions end with `up`.
                signal(self.pid(), "KILL");
            }
            return;
        }
        self.stop();
        let log = self.log();
        assert!(!log.contains("panicked at"), "a process panicked:\n{log}");
    }
}

fn listen(
    from: impl Read + Send + 'static,
    log: &Arc<Mutex<String>>,
    tell: Option<Sender<String>>,
) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            let mut all = log.lock().unwrap_or_else(PoisonError::into_inner);
            all.push_str(&line);
            all.push('\n');
            drop(all);
            if let Some(tell) = &tell {
                // Nobody listens any more once the test ends.
                let _ = tell.send(line);
            }
        }
    });
}
