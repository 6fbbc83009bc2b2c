//! What the benches share: real regions, and connections that cost the client little.

#![allow(dead_code, reason = "each bench uses its part")]

pub mod apply;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A running `meridian up`; stops when dropped.
pub struct Up {
    child: Supervisor,
    /// `127.0.0.1:PORT` of the front door.
    pub front: String,
    /// Name and `127.0.0.1:PORT`, in the topology's order.
    pub regions: Vec<(String, String)>,
}

struct Supervisor(Child);

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Closing the supervisor is enough: its regions stop with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first `count` of five regions, every table global.
pub fn topology(folder: &Path, count: usize) -> std::path::PathBuf {
    const NAMES: [&str; 5] = [
        "us-east-1",
        "eu-west-1",
        "ap-northeast-1",
        "us-west-2",
        "sa-east-1",
    ];
    let mut text = "[cluster]\nname = \"bench\"\nreplicate = \"all\"\n".to_owned();
    for (id, name) in NAMES.iter().take(count).enumerate() {
        text += &format!("[[region]]\nname = \"{name}\"\nid = {id}\n");
    }
    let path = folder.join("bench.toml");
    std::fs::write(&path, text).expect("a file");
    path
}

pub fn up(topology: &Path, data: &Path) -> Up {
    let child = Command::new(env!("CARGO_BIN_EXE_meridian"))
        .arg("up")
        .arg(topology)
        .args(["--port", "0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("meridian starts");
    let mut child = Supervisor(child);
    let stdout = child.0.stdout.take().expect("piped above");
    let (mut front, mut regions) = (String::new(), Vec::new());
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("text");
        if let Some((_, address)) = line.split_once(" on http://") {
            front = address.trim().to_owned();
        } else if let Some((name, address)) = line.split_once(" http://") {
            regions.push((name.trim().to_owned(), address.trim().to_owned()));
        }
        if line == "ready" {
            return Up {
                child,
                front,
                regions,
            };
        }
    }
    panic!("meridian was never ready");
}

impl Up {
    /// Runs a command on the cluster and gives what it prints.
    pub fn run(&self, args: &[&str]) -> String {
        let port = self.front.rsplit(':').next().expect("a port");
        let done = Command::new(env!("CARGO_BIN_EXE_meridian"))
            .args(args)
            .args(["--port", port])
            .output()
            .expect("meridian runs");
        assert!(done.status.success(), "{args:?}: {done:?}");
        String::from_utf8(done.stdout).expect("text")
    }

    /// What `status --json` says of each region, by name.
    pub fn status(&self) -> Vec<Value> {
        let status: Value =
            serde_json::from_str(&self.run(&["status", "--json"])).expect("it is JSON");
        status["regions"].as_array().expect("regions").clone()
    }

    /// The most memory each region's process has held, MiB.
    pub fn peak_mib(&self) -> Vec<(String, u64)> {
        let of = |region: &Value| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", region["pid"]));
            let kib = status.ok().and_then(|text| {
                let line = text.lines().find(|l| l.starts_with("VmHWM"))?.to_owned();
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            });
            let name = region["name"].as_str().unwrap_or_default().to_owned();
            (name, kib.unwrap_or(0) / 1024)
        };
        self.status().iter().map(of).collect()
    }
}

/// One keep-alive connection to one region.
pub struct Wire {
    stream: TcpStream,
    region: String,
    ahead: Vec<u8>,
}

/// An answer: its status, its session token when one was asked for, and its body.
pub struct Answer {
    pub status: u16,
    pub session: Option<String>,
    pub body: Vec<u8>,
}

impl Wire {
    pub async fn to((region, address): &(String, String)) -> Wire {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("it is connected");
        Wire {
            stream,
            region: region.clone(),
            ahead: Vec::new(),
        }
    }

    /// Posts `body` as `operation`; `more` are further header lines, each with its CRLF.
    pub async fn post(&mut self, operation: &str, more: &str, body: &str) -> Answer {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: bench\r\nx-amz-target: DynamoDB_20120810.{operation}\r\n\
             content-type: application/x-amz-json-1.0\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/{}/dynamodb/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=0\r\nx-amz-date: {}\r\n{more}\
             content-length: {}\r\n\r\n",
            self.region,
            amz_date(),
            body.len()
        );
        let request = [head.as_bytes(), body.as_bytes()].concat();
        self.stream.write_all(&request).await.expect("it is open");
        self.answer().await
    }

    async fn answer(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await;
        };
        let head: Vec<u8> = self.ahead.drain(..end).collect();
        let head = String::from_utf8(head).expect("text");
        let header = |name: &str| {
            let found = head.lines().filter_map(|line| line.split_once(':'));
            let mut found = found.filter(|(n, _)| n.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.trim().to_owned())
        };
        let length = header("content-length").expect("a length");
        let length: usize = length.parse().expect("a number");
        while self.ahead.len() < length {
            self.more().await;
        }
        Answer {
            status: head[9..12].parse().expect("a status"),
            session: header("x-meridian-session"),
            body: self.ahead.drain(..length).collect(),
        }
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.ahead).await;
        assert!(read.is_ok_and(|n| n > 0), "the region hung up");
    }
}

/// Creates a table with the one key `pk` and waits until every region has it.
pub async fn create(up: &Up, table: &str) {
    let mut first = Wire::to(&up.regions[0]).await;
    let body = json!({
        "TableName": table,
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    });
    let made = first.post("CreateTable", "", &body.to_string()).await;
    assert_eq!(made.status, 200, "{}", String::from_utf8_lossy(&made.body));
    for region in &up.regions {
        let mut wire = Wire::to(region).await;
        let asked = json!({ "TableName": table }).to_string();
        while wire.post("DescribeTable", "", &asked).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Now, as `X-Amz-Date` has it.
fn amz_date() -> String {
    let now = aws_sdk_dynamodb::primitives::DateTime::from(std::time::SystemTime::now());
    let format = aws_sdk_dynamodb::primitives::DateTimeFormat::DateTime;
    let text = now.fmt(format).expect("a date of this age");
    let whole = text
        .trim_end_matches('Z')
        .split('.')
        .next()
        .unwrap_or_default();
    let digits: String = whole.chars().filter(|c| !"-:".contains(*c)).collect();
    format!("{digits}Z")
}

/// Prints a distribution.
pub fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let last = times.len().saturating_sub(1);
    let at = |share: f64| {
        let time = times.get((last as f64 * share) as usize);
        time.map_or(f64::NAN, |t| t.as_secs_f64() * 1e3)
    };
    let (p50, p90, p99, max) = (at(0.5), at(0.9), at(0.99), at(1.0));
    println!(
        "{what:<44} p50 {p50:7.2}  p90 {p90:7.2}  p99 {p99:7.2}  max {max:7.2} ms  ({} samples)",
        times.len()
    );
}

/// The value of `--name` among the arguments, or what it is when not given.
pub fn argument<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == name);
    let value = at.and_then(|at| args.get(at + 1));
    value.map_or(otherwise, |value| {
        let parsed = value.parse();
        parsed.unwrap_or_else(|_| panic!("{name} cannot be '{value}'"))
    })
}
