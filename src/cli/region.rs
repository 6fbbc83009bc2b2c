//! `region`: the members of a running cluster: list them, add one, remove one, say that one has moved. Any active
//! region may be asked; every other must agree.

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::{Cluster, Member};
use super::{CliError, ClusterArgs, block_on, parse_duration};

/// Between two looks at how far a change is.
const LOOK: Duration = Duration::from_millis(300);
/// How long a region that has been added may not answer before it is not asked any more.
const UNANSWERED: Duration = Duration::from_secs(10);
const MEMBERS: &str = "/members";
/// How long a majority may take to agree that a region has lapsed.
const PATIENCE: Duration = Duration::from_secs(25);
/// Between two looks whether it has.
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct RegionArgs {
    #[command(subcommand)]
    command: RegionCommand,
}

#[derive(Debug, Subcommand)]
enum RegionCommand {
    /// Show the members of the cluster and what those that come or go wait for
    List(ListArgs),
    /// Make a region a member: it is given everything, and serves once it has it
    Add(AddArgs),
    /// Take a region out, once all others have what it has
    Remove(RemoveArgs),
    /// Say where a region is reached from now on
    Move(MoveArgs),
    /// Give up a region that does not come back: the others forget again what all of them have
    ///
    /// A majority of the regions must not hear it. Of two regions the one that is left decides alone: be sure
    /// that the other is down, and never do it on both sides. A region that comes back later hands over what
    /// only it has, and is given everything.
    Lapse(LapseArgs),
}

#[derive(Debug, Args)]
struct ViaArgs {
    /// Admin address of any active region of the cluster
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["port", "topology"])]
    via: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    via: ViaArgs,
}

#[derive(Debug, Args)]
struct AddressArgs {
    /// Where the other regions reach it (UDP)
    #[arg(long, value_name = "HOST:PORT")]
    replication: Option<String>,
    /// Where clients reach it
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// Where its admin port is
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
}

#[derive(Debug, Args)]
struct WaitArgs {
    /// Give up waiting after so long; what was begun goes on
    #[arg(long, value_parser = parse_duration, default_value = "24h")]
    timeout: Duration,
    /// Print the members as JSON in the end, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct AddArgs {
    name: String,
    /// The id that its topology file gives it (default: the first that no region has or had)
    #[arg(long)]
    id: Option<u16>,
    #[command(flatten)]
    addresses: AddressArgs,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    via: ViaArgs,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    name: String,
    /// Of a region that has lapsed: give up what only it has
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    via: ViaArgs,
}

#[derive(Debug, Args)]
struct MoveArgs {
    name: String,
    #[command(flatten)]
    addresses: AddressArgs,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    via: ViaArgs,
}

#[derive(Debug, Args)]
struct LapseArgs {
    /// The region that is down
    name: String,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub fn run(args: RegionArgs) -> Result<(), CliError> {
    block_on(async {
        match args.command {
            RegionCommand::List(args) => {
                let (_, members) = speaker(&args.via).await?;
                print(&members, args.json)
            }
            RegionCommand::Add(args) => add(args).await,
            RegionCommand::Remove(args) => remove(args).await,
            RegionCommand::Move(args) => change_addresses(args).await,
            RegionCommand::Lapse(args) => lapse(args).await,
        }
    })
}

async fn add(args: AddArgs) -> Result<(), CliError> {
    let mut add = args.addresses.json(&args.name);
    if let Some(id) = args.id {
        add["id"] = json!(id);
    }
    let wanted = Wanted {
        name: args.name,
        body: json!({ "add": add }),
        done: |member| member.is_some_and(|m| m["state"] == "active"),
        may_be_done: false,
        under_way: "joining",
    };
    let deadline = Instant::now() + args.wait.timeout;
    let members = pursue(&args.via, deadline, &wanted).await?;
    serves(&args.via, deadline, &members, &wanted.name).await?;
    done(&members, args.wait.json)
}

/// Waits until a region that has been added answers clients: it hears a moment later than others that it is active.
/// One whose admin port cannot be asked from here is a member all the same.
async fn serves(
    via: &ViaArgs,
    deadline: Instant,
    members: &Value,
    name: &str,
) -> Result<(), CliError> {
    let member = reached(via, members, name).await;
    let (began, mut told) = (Instant::now(), Told::default());
    loop {
        match member.call(Method::GET, "/status", None).await {
            Ok(status) => match status["rebuilding"].as_str() {
                None => return Ok(()),
                Some(why) => told.tell(format!("'{name}' to serve: {why}"), deadline)?,
            },
            Err(error) if began.elapsed() > UNANSWERED => {
                eprintln!("whether '{name}' serves is not known here: {error}");
                return Ok(());
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn remove(args: RemoveArgs) -> Result<(), CliError> {
    if !args.force {
        keeps_nothing_alone(&args).await?;
    }
    let wanted = Wanted {
        body: json!({"remove": {"name": args.name, "force": args.force}}),
        name: args.name,
        done: |member| member.is_none_or(|m| m["state"] == "removed"),
        may_be_done: true,
        under_way: "leaving",
    };
    agree(&args.via, &args.wait, &wanted).await
}

async fn change_addresses(args: MoveArgs) -> Result<(), CliError> {
    let body = args.addresses.json(&args.name);
    let wanted = Wanted {
        name: args.name,
        body: json!({ "move": body }),
        done: |_| false,
        may_be_done: false,
        under_way: "",
    };
    agree(&args.via, &args.wait, &wanted).await
}

impl AddressArgs {
    fn json(&self, name: &str) -> Value {
        json!({
            "name": name, "replication": self.replication, "endpoint": self.endpoint, "admin": self.admin,
        })
    }
}

/// A region that leaves takes with it what no other region has: say so before.
async fn keeps_nothing_alone(args: &RemoveArgs) -> Result<(), CliError> {
    let (_, members) = speaker(&args.via).await?;
    let Some(member) = named(&members, &args.name) else {
        return Ok(());
    };
    if member["state"] != "active" {
        return Ok(());
    }
    let leaver = reached(&args.via, &members, &args.name).await;
    let status = leaver.call(Method::GET, "/status", None).await;
    let status = status.map_err(|error| CliError::CannotDrain {
        region: args.name.clone(),
        reason: error.to_string(),
    })?;
    let tables = status["tables"].as_array().into_iter().flatten();
    let alone = tables.filter(|t| t["replicas"].as_array().is_some_and(|r| r.len() == 1));
    let names: Vec<&str> = alone.filter_map(|t| t["name"].as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(CliError::WouldBeLost {
        region: args.name.clone(),
        tables: names.join(", "),
    })
}

/// The region where its peers reach it, or else the cluster's topology or front door.
async fn reached(via: &ViaArgs, members: &Value, name: &str) -> Member {
    let admin = named(members, name).and_then(|member| member["admin"].as_str());
    let known = Member {
        name: name.to_owned(),
        pid: None,
        endpoint: String::new(),
        admin: admin.map(str::to_owned),
    };
    if known.admin.is_some() {
        return known;
    }
    let cluster = Cluster::find(&via.cluster).await.ok();
    let found = cluster.and_then(|cluster| cluster.member(name).ok().cloned());
    found.unwrap_or(known)
}

/// An active region that answers, and what it says of the members.
async fn speaker(via: &ViaArgs) -> Result<(Member, Value), CliError> {
    let candidates = match &via.via {
        Some(admin) => vec![Member {
            name: admin.clone(),
            pid: None,
            endpoint: String::new(),
            admin: Some(admin.clone()),
        }],
        None => Cluster::find(&via.cluster).await?.regions,
    };
    let mut last = None;
    for candidate in candidates {
        match candidate.call(Method::GET, MEMBERS, None).await {
            Ok(members) if members["state"] == "active" => return Ok((candidate, members)),
            Ok(members) => {
                let state = members["state"].as_str().unwrap_or("no member");
                let reason = format!("it is {state}: ask an active region");
                let region = candidate.name;
                last = Some(CliError::Refused { region, reason });
            }
            Err(error) => last = last.or(Some(error)),
        }
    }
    Err(last.unwrap_or_else(|| CliError::NoCluster {
        address: "any region".into(),
        reason: "the topology has none".into(),
    }))
}

/// A change, and how to see that it is made.
struct Wanted {
    name: String,
    body: Value,
    done: fn(Option<&Value>) -> bool,
    /// Where it is made already, that is fine.
    may_be_done: bool,
    /// The state that the region has while it goes on by itself.
    under_way: &'static str,
}

/// What is waited for, as it was last said.
#[derive(Default)]
struct Told(String);

impl Told {
    /// Says it if that is news, and ends the waiting when it has been long enough.
    fn tell(&mut self, waits: String, deadline: Instant) -> Result<(), CliError> {
        if waits != self.0 {
            eprintln!("waiting for {waits}");
            self.0.clone_from(&waits);
        }
        match Instant::now() > deadline {
            true => Err(CliError::StillWaiting { waits }),
            false => Ok(()),
        }
    }
}

/// Asks for a change and waits until the members have agreed on it.
async fn agree(via: &ViaArgs, wait: &WaitArgs, wanted: &Wanted) -> Result<(), CliError> {
    let members = pursue(via, Instant::now() + wait.timeout, wanted).await?;
    done(&members, wait.json)
}

fn done(members: &Value, as_json: bool) -> Result<(), CliError> {
    if !as_json {
        println!("done: epoch {} of the members", members["epoch"]);
    }
    print(members, as_json)
}

/// Asks for a change, waits until it is made, and says what it waits for. Gives the members then.
async fn pursue(via: &ViaArgs, deadline: Instant, wanted: &Wanted) -> Result<Value, CliError> {
    let (speaker, before) = speaker(via).await?;
    let begun = named(&before, &wanted.name).is_some_and(|m| m["state"] == wanted.under_way);
    let nothing_to_do = wanted.may_be_done && (wanted.done)(named(&before, &wanted.name));
    let mut asked = false;
    if !begun && !nothing_to_do {
        ask(&speaker, &wanted.body).await?;
        asked = true;
    }
    let mut told = Told::default();
    loop {
        let members = speaker.call(Method::GET, MEMBERS, None).await?;
        let member = named(&members, &wanted.name);
        let pending = !members["asked"].is_null();
        // What is agreed on at once is made when nothing is asked any more.
        let at_once = wanted.under_way.is_empty() && asked && !pending;
        if at_once || (wanted.done)(member) {
            return Ok(members);
        }
        let under_way = member.is_some_and(|m| m["state"] == wanted.under_way);
        if !pending && !under_way {
            // It restarted, or another change came first.
            ask(&speaker, &wanted.body).await?;
            asked = true;
        }
        let waits = match (&members["waits"][&wanted.name], &members["asked"]) {
            (Value::String(words), _) => words.clone(),
            (_, Value::String(words)) => words.clone(),
            _ => "the members to agree".to_owned(),
        };
        told.tell(waits, deadline)?;
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks a region for a change of the members.
async fn ask(speaker: &Member, change: &Value) -> Result<(), CliError> {
    let (status, answer) = speaker.ask(Method::POST, MEMBERS, Some(change)).await?;
    if status.is_success() {
        return Ok(());
    }
    let reason = answer["error"].as_str().map(str::to_owned);
    Err(CliError::Refused {
        region: speaker.name.clone(),
        reason: reason.unwrap_or_else(|| answer.to_string()),
    })
}

/// The member of that name; where a name was given again, the one that stays.
fn named<'a>(members: &'a Value, name: &str) -> Option<&'a Value> {
    let all = members["members"].as_array()?;
    let mut named = all.iter().filter(|m| m["name"] == name);
    let stays = named.clone().find(|m| m["state"] != "removed");
    stays.or_else(|| named.next_back())
}

fn print(members: &Value, as_json: bool) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    if as_json {
        let text = serde_json::to_string_pretty(members).unwrap_or_default();
        return Ok(writeln!(out, "{text}")?);
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    writeln!(
        out,
        "cluster {} (id {}), epoch {}",
        text(&members["cluster"]["name"]),
        text(&members["cluster"]["id"]),
        members["epoch"]
    )?;
    writeln!(
        out,
        "{:<18}{:>3}  {:<9} {:<24}{:<24}admin",
        "region", "id", "state", "replication", "endpoint"
    )?;
    for member in members["members"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "{:<18}{:>3}  {:<9} {:<24}{:<24}{}",
            text(&member["name"]),
            member["id"].as_u64().unwrap_or_default(),
            text(&member["state"]),
            text(&member["replication"]),
            text(&member["endpoint"]),
            text(&member["admin"]),
        )?;
    }
    for (name, words) in members["waits"].as_object().into_iter().flatten() {
        writeln!(out, "{name} waits for {}", text(words))?;
    }
    Ok(())
}

async fn lapse(args: LapseArgs) -> Result<(), CliError> {
    let cluster = Cluster::find(&args.cluster).await?;
    cluster.member(&args.name)?;
    let body = json!({"lapse": {"name": args.name}});
    let mut failure = None;
    for member in cluster.regions.iter().filter(|m| m.name != args.name) {
        match ask(member, &body).await {
            Ok(()) => return wait(member, &args.name).await,
            // That one does not answer says less than why another one refuses.
            Err(error @ CliError::Refused { .. }) => failure = Some(error),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| CliError::Refused {
        region: args.name.clone(),
        reason: "it is the only region".into(),
    }))
}

/// Waits until the region that was asked says that it is so.
async fn wait(member: &Member, name: &str) -> Result<(), CliError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = member.call(Method::GET, "/status", None).await?;
        let members = status.get("members").and_then(Value::as_array);
        let named = |m: &&Value| m.get("name").and_then(Value::as_str) == Some(name);
        let found = members.and_then(|members| members.iter().find(named));
        let state = found.and_then(|m| m.get("state")).and_then(Value::as_str);
        if state == Some("lapsed") {
            let epoch = status.get("epoch").cloned().unwrap_or_default();
            writeln!(std::io::stdout(), "{name} has lapsed (epoch {epoch})")?;
            return Ok(());
        }
        if Instant::now() > deadline {
            let trouble = status.get("members_trouble").and_then(Value::as_str);
            let reason = trouble.unwrap_or("no majority of the regions answers");
            return Err(CliError::Refused {
                region: member.name.clone(),
                reason: format!("{name} has not lapsed: {reason}"),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}
