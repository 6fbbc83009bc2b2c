//! Real processes as a cluster that scripts are played on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::faults::Faults;
use crate::cli::cluster::{Cluster, Member};
use crate::cli::up::Local;
use crate::cli::{CliError, client};
use crate::clock;
use crate::item::{Item, json as wire};
use crate::simulation::script::{self, Clash, Lost, Operator, Reply, Request, Script, Side};

/// How long regions may take to have what all need before the scenario begins, and to die and come back.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much longer than in a simulated world things may take.
const SLACK: Duration = Duration::from_secs(15);
/// Until all is equal at the end, unless the scenario says.
const CONVERGE_US: u64 = 60_000_000;
const POLL: Duration = Duration::from_millis(25);
const CONFLICTS_MAX: usize = 10_000;

pub struct Live<'l> {
    runtime: &'l Runtime,
    script: &'l Script,
    /// The regions, by the script's index.
    members: Vec<Member>,
    /// The processes, where they are ours.
    local: Option<Local>,
    stop: CancellationToken,
    quiet: bool,
    faults: Faults,
    began: Option<(Instant, u64)>,
    /// The tables that were made, to be deleted in somebody else's cluster.
    made: Vec<String>,
}

impl<'l> Live<'l> {
    pub fn new(
        runtime: &'l Runtime,
        script: &'l Script,
        cluster: Cluster,
        local: Option<Local>,
        stop: CancellationToken,
        quiet: bool,
    ) -> Result<Self, CliError> {
        let member = |name: &String| cluster.member(name).cloned();
        let members = script.regions.iter().map(member).collect::<Result<_, _>>();
        Ok(Live {
            runtime,
            script,
            members: members?,
            local,
            stop,
            quiet,
            faults: Faults::default(),
            began: None,
            made: Vec::new(),
        })
    }

    /// Stops the processes that are ours; otherwise deletes the tables that were made.
    pub fn end(mut self) -> Result<(), CliError> {
        if let Some(local) = self.local.take() {
            self.stop.cancel();
            self.runtime.block_on(local.stop());
            return Ok(());
        }
        for table in std::mem::take(&mut self.made) {
            let request = Request {
                region: 0,
                operation: "DeleteTable",
                body: json!({"TableName": table}),
            };
            let reply = self
                .runtime
                .block_on(send(self.members.first().cloned(), request));
            if reply.status >= 400 {
                eprintln!(
                    "warning: the table '{table}' could not be deleted: {}",
                    reply.body
                );
            }
        }
        Ok(())
    }

    /// Waits for something, or until somebody wants the end.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, Lost> {
        self.runtime.block_on(async {
            tokio::select! {
                value = future => Ok(value),
                () = self.stop.cancelled() => Err(Lost("interrupted".into())),
            }
        })
    }

    fn member(&self, region: usize) -> Result<Member, Lost> {
        let known = self.members.get(region).cloned();
        let known = known.ok_or_else(|| Lost(format!("there is no region {region}")))?;
        // A process that came back has another admin port.
        let fresh = (self.local.as_ref()).and_then(|local| local.member(&known.name));
        Ok(fresh.unwrap_or(known))
    }

    fn is_dead(&self, region: usize) -> bool {
        self.local.is_some() && self.member(region).is_ok_and(|member| member.pid.is_none())
    }

    fn admin(
        &self,
        region: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Lost> {
        let member = self.member(region)?;
        self.wait(member.call(method, path, body))?
            .map_err(|error| Lost(error.to_string()))
    }

    /// Polls until it is so. Says whether it came to be in time.
    fn until(
        &mut self,
        most: Duration,
        so: impl Fn(&mut Self) -> Result<bool, Lost>,
    ) -> Result<bool, Lost> {
        let began = Instant::now();
        while !so(self)? {
            if began.elapsed() > most {
                return Ok(false);
            }
            self.wait(async { tokio::time::sleep(POLL).await })?;
        }
        Ok(true)
    }

    /// Tells the regions at the beginning of these ways what is wrong with them; the dead are told when they are back.
    fn tell_faults(&self, ways: &[(usize, usize)]) -> Result<(), Lost> {
        for (from, to) in ways.iter().filter(|(from, _)| !self.is_dead(*from)) {
            let body = self.faults.body((*from, *to), &self.member(*to)?.name);
            self.admin(*from, Method::POST, "/fault", Some(&body))?;
        }
        Ok(())
    }

    fn restart(&mut self, region: usize) -> Result<(), Lost> {
        let name = self.member(region)?.name;
        if let Some(local) = &self.local {
            local.hold(&name, false);
        }
        match self.until(PATIENCE, |live| Ok(!live.is_dead(region)))? {
            true => self.tell_faults(&self.faults.of(region)),
            false => Err(Lost(format!("{name} does not come back"))),
        }
    }

    fn kill(&mut self, region: usize) -> Result<(), Lost> {
        let name = self.member(region)?.name;
        let Some(local) = &self.local else {
            return Err(Lost(format!("{name} is somebody else's")));
        };
        local.hold(&name, true);
        match self.until(PATIENCE, |live| Ok(live.is_dead(region)))? {
            true => Ok(()),
            false => Err(Lost(format!("{name} does not die"))),
        }
    }

    /// Whether every region is connected to every other and nobody lacks anything.
    fn is_converged(&self) -> Result<bool, Lost> {
        let mut frontiers = Vec::new();
        for region in 0..self.members.len() {
            if self.is_dead(region) {
                return Ok(false);
            }
            let status = self.admin(region, Method::GET, "/status", None)?;
            let links = status.get("links").and_then(Value::as_array);
            let ours = |link: &&Value| {
                let peer = link.get("peer").and_then(Value::as_str);
                self.members
                    .iter()
                    .any(|member| Some(&*member.name) == peer)
            };
            let up = |link: &Value| {
                link.get("connected") == Some(&true.into()) && link.get("behind") == Some(&0.into())
            };
            if !links.into_iter().flatten().filter(ours).all(up) {
                return Ok(false);
            }
            frontiers.push(status.get("frontier").cloned());
        }
        // Other regions and groups of somebody else's cluster are none of the scenario's business.
        let same = frontiers.windows(2).all(|pair| pair.first() == pair.last());
        Ok(same || self.local.is_none())
    }

    fn has_tables(&mut self) -> Result<bool, Lost> {
        let script = self.script;
        for table in &script.tables {
            let request = |region| Request {
                region,
                operation: "DescribeTable",
                body: json!({"TableName": table.name}),
            };
            let requests = (0..self.members.len()).map(request).collect();
            let active = |reply: &Reply| {
                let status = reply
                    .body
                    .get("Table")
                    .and_then(|table| table.get("TableStatus"));
                status == Some(&"ACTIVE".into())
            };
            if !script::Cluster::ask(self, requests)?.iter().all(active) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl script::Cluster for Live<'_> {
    fn gather(&mut self) -> Result<(), Lost> {
        match self.until(PATIENCE, |live| live.is_converged())? {
            true => Ok(()),
            false => Err(Lost("the regions do not find each other".into())),
        }
    }

    fn begin(&mut self) -> Result<(), Lost> {
        let ready = self.until(PATIENCE, |live| {
            Ok(live.has_tables()? && live.is_converged()?)
        });
        if !ready? {
            let hint = "does the cluster's topology have replicate = \"all\"?";
            return Err(Lost(format!("not every region has the tables; {hint}")));
        }
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.began = Some((Instant::now(), micros(wall)));
        Ok(())
    }

    fn now_us(&self) -> u64 {
        self.began.map_or(0, |(began, _)| micros(began.elapsed()))
    }

    fn started_us(&self) -> u64 {
        self.began.map_or(0, |(_, wall_us)| wall_us)
    }

    fn pause(&mut self, for_us: u64) -> Result<(), Lost> {
        let time = Duration::from_micros(for_us);
        self.wait(async { tokio::time::sleep(time).await })
    }

    fn ask(&mut self, requests: Vec<Request>) -> Result<Vec<Reply>, Lost> {
        let mut asked = Vec::new();
        for request in requests {
            if request.operation == "CreateTable" {
                let name = request.body.get("TableName").and_then(Value::as_str);
                self.made.extend(name.map(str::to_owned));
            }
            asked.push((self.member(request.region)?, request));
        }
        let created = asked
            .iter()
            .any(|(_, request)| request.operation == "CreateTable");
        let replies = self.wait(async {
            let mut under_way = JoinSet::new();
            for (at, (member, request)) in asked.into_iter().enumerate() {
                under_way.spawn(async move { (at, send(Some(member), request).await) });
            }
            let mut replies = under_way.join_all().await;
            replies.sort_by_key(|(at, _)| *at);
            replies
                .into_iter()
                .map(|(_, reply)| reply)
                .collect::<Vec<Reply>>()
        })?;
        if created && replies.iter().any(|reply| reply.error().is_some()) {
            // It is not ours to delete.
            self.made.pop();
        }
        Ok(replies)
    }

    fn operate(&mut self, operator: &Operator) -> Result<(), Lost> {
        match operator {
            Operator::Kill(region) => self.kill(*region),
            Operator::Restart(region) => self.restart(*region),
            Operator::Skew { .. } => Err(Lost("real clocks cannot be set".into())),
            links => {
                let ways = self.faults.take(links);
                self.tell_faults(&ways)
            }
        }
    }

    fn conflicts(&mut self, region: usize, table: &str) -> Result<Vec<Clash>, Lost> {
        if self.is_dead(region) {
            return Ok(Vec::new());
        }
        let path = format!("/conflicts?limit={CONFLICTS_MAX}&table={table}");
        let answer = self.admin(region, Method::GET, &path, None)?;
        let listed = answer.get("conflicts").and_then(Value::as_array);
        // Those of an earlier table of that name have no key.
        let clashes = listed.into_iter().flatten();
        Ok(clashes.filter_map(|one| clash(one, self.script)).collect())
    }

    fn calm(&mut self, within_us: Option<u64>) -> Result<Option<u64>, Lost> {
        self.operate(&Operator::Heal(None))?;
        for region in 0..self.members.len() {
            if self.is_dead(region) {
                self.restart(region)?;
            }
        }
        let began = Instant::now();
        let most = Duration::from_micros(within_us.unwrap_or(CONVERGE_US)).max(SLACK);
        let converged = self.until(most, |live| live.is_converged())?;
        Ok(converged.then(|| micros(began.elapsed())))
    }

    fn lags_us(&mut self) -> Option<Vec<u64>> {
        None
    }

    fn tell(&mut self, region: Option<usize>, text: &str) {
        if !self.quiet {
            let tenths = script::Cluster::now_us(self) / 100_000;
            let region = region.and_then(|region| self.members.get(region));
            let region = region.map_or("-", |member| member.name.as_str());
            eprintln!("{:>6}.{} s  {region:<15} {text}", tenths / 10, tenths % 10);
        }
    }

    fn patience_us(&self) -> u64 {
        micros(SLACK)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// One request to a region; a region that does not answer is as one that says so.
async fn send(member: Option<Member>, request: Request) -> Reply {
    let began = Instant::now();
    let unavailable = |reason: String| {
        let kind = "com.amazon.coral.service#ServiceUnavailable";
        (503, json!({"__type": kind, "message": reason}))
    };
    let (status, body) = match member {
        None => unavailable("there is no such region".into()),
        Some(member) => {
            let address = member.endpoint.trim_start_matches("http://");
            let headers = headers(&member.name, request.operation);
            match client::post(address, "/", &headers, &request.body).await {
                Ok((status, body)) => (status.as_u16(), body),
                Err(reason) => unavailable(reason),
            }
        }
    };
    Reply {
        status,
        body,
        took_us: micros(began.elapsed()),
    }
}

/// What a request is signed with where any signature does.
fn headers(region: &str, operation: &str) -> [(&'static str, String); 4] {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = clock::calendar::date_time(micros(now)).replace(['-', ':'], "");
    let time = now.split('.').next().unwrap_or_default();
    let day = time.split('T').next().unwrap_or_default();
    let scope = format!("scenario/{day}/{region}/dynamodb/aws4_request");
    let signed =
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=0");
    [
        ("content-type", "application/x-amz-json-1.0".to_owned()),
        ("x-amz-target", format!("DynamoDB_20120810.{operation}")),
        ("x-amz-date", format!("{time}Z")),
        ("authorization", signed),
    ]
}

/// A conflict as the admin port tells it.
fn clash(one: &Value, script: &Script) -> Option<Clash> {
    let item = |json: &Value| -> Option<Item> { wire::item_from_json(json.clone()).ok() };
    let side = |name: &str| {
        let side = one.get(name)?;
        let region = side.get("region").and_then(Value::as_str)?;
        Some(Side {
            region: script.regions.iter().position(|known| known == region)?,
            item: side
                .get("item")
                .filter(|json| json.is_object())
                .and_then(item),
        })
    };
    Some(Clash {
        id: one.get("id")?.as_str()?.to_owned(),
        key: one
            .get("key")
            .filter(|json| json.is_object())
            .and_then(item)?,
        winner: side("winner")?,
        loser: side("loser")?,
    })
}
