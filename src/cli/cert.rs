//! `cert`: the cluster's certificate authority, and what it hands out (replication.md section 18).

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};

use super::CliError;
use crate::config::Topology;
use crate::transport::{DevCa, Facts, Role, Terms, date_time, identity, now_s};

#[derive(Debug, Args)]
pub struct CertArgs {
    #[command(subcommand)]
    command: CertCommand,
}

#[derive(Debug, Subcommand)]
enum CertCommand {
    /// Make a cluster's certificate authority
    Init(InitArgs),
    /// Give a region its certificate: ca.pem, NAME.pem and NAME.key
    Issue(IssueArgs),
    /// Give a region's certificate new dates; the key stays, and no restart is needed
    Renew(RenewArgs),
    /// Say what a certificate is for, and until when
    Show(ShowArgs),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whose").required(true).args(["cluster", "topology"])))]
struct InitArgs {
    /// Folder for ca.pem and ca.key; the key belongs on no region's machine
    #[arg(long)]
    out: PathBuf,
    /// The cluster's id: 32 hexadecimal digits
    #[arg(long)]
    cluster: Option<String>,
    /// Topology file, which has or implies the cluster's id
    #[arg(long)]
    topology: Option<PathBuf>,
    /// For how long the authority is valid
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

#[derive(Debug, Args)]
struct IssueArgs {
    /// Folder of the authority
    #[arg(long)]
    ca: PathBuf,
    /// The region's name, as the topology has it
    #[arg(long)]
    region: String,
    /// member, witness or observer; regions of a topology are members
    #[arg(long, default_value = "member", value_parser = parse_role)]
    role: Role,
    /// Folder for the region's files
    #[arg(long)]
    out: PathBuf,
    /// For how long it is valid
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

#[derive(Debug, Args)]
struct RenewArgs {
    /// Folder of the authority
    #[arg(long)]
    ca: PathBuf,
    /// The region's name
    #[arg(long)]
    region: String,
    /// Folder of the region's files
    #[arg(long)]
    identity: PathBuf,
    /// For how long from now it is valid
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// A certificate, or several in one file
    file: PathBuf,
}

fn parse_role(word: &str) -> Result<Role, String> {
    Role::parse(word).ok_or_else(|| format!("'{word}' is not a role: member, witness or observer"))
}

pub fn run(args: CertArgs) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match args.command {
        CertCommand::Init(args) => init(&mut out, &args),
        CertCommand::Issue(args) => issue(&mut out, &args),
        CertCommand::Renew(args) => renew(&mut out, &args),
        CertCommand::Show(args) => show(&mut out, &args.file),
    }
}

fn init(out: &mut impl Write, args: &InitArgs) -> Result<(), CliError> {
    let cluster = match (&args.topology, &args.cluster) {
        (Some(file), _) => Topology::load(file)?.cluster_id,
        (None, id) => parse_cluster(id.as_deref().unwrap_or_default())?,
    };
    let ca = DevCa::init(&args.out, &cluster, args.days)?;
    let folder = args.out.display();
    writeln!(out, "authority of cluster {} in {folder}", ca.cluster_hex())?;
    writeln!(out, "  {folder}/ca.pem  for every region")?;
    writeln!(
        out,
        "  {folder}/ca.key  secret: whoever has it can be any region"
    )?;
    Ok(())
}

fn parse_cluster(id: &str) -> Result<[u8; 16], CliError> {
    let digits = id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit());
    let parsed = u128::from_str_radix(id, 16).ok().filter(|_| digits);
    let unusable = || CliError::ClusterId { id: id.to_owned() };
    Ok(parsed.ok_or_else(unusable)?.to_be_bytes())
}

fn issue(out: &mut impl Write, args: &IssueArgs) -> Result<(), CliError> {
    let ca = DevCa::open(&args.ca)?;
    let terms = Terms::days(args.role, args.days);
    let path = ca.hand_out(&args.out, &args.region, terms)?;
    outlives(&ca, args.days);
    show(out, &path)
}

fn renew(out: &mut impl Write, args: &RenewArgs) -> Result<(), CliError> {
    let ca = DevCa::open(&args.ca)?;
    let path = ca.renew(&args.identity, &args.region, args.days)?;
    outlives(&ca, args.days);
    show(out, &path)
}

/// Warns of a certificate that is worth less than its dates say.
fn outlives(ca: &DevCa, days: u32) {
    let left = ca.facts().map(|facts| facts.days_left(now_s()));
    if let Some(left) = left.filter(|left| *left < i64::from(days)) {
        eprintln!("warning: the authority itself expires in {left} days");
    }
}

fn show(out: &mut impl Write, file: &Path) -> Result<(), CliError> {
    for facts in identity::show(file)? {
        print(out, &facts)?;
    }
    Ok(())
}

fn print(out: &mut impl Write, facts: &Facts) -> Result<(), CliError> {
    let left = facts.days_left(now_s());
    let left = match left {
        0.. => format!("{left} days left"),
        _ => "EXPIRED".to_owned(),
    };
    let kind = if facts.authority {
        "authority"
    } else {
        "certificate"
    };
    writeln!(out, "{kind} {}", facts.subject)?;
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    if !facts.authority {
        let role = facts.role.map_or("-", Role::name);
        writeln!(out, "  region       {}", shown(&facts.region))?;
        writeln!(out, "  cluster      {}", shown(&facts.cluster))?;
        writeln!(out, "  role         {role}")?;
        writeln!(out, "  names        {}", facts.dns_names.join(", "))?;
        writeln!(out, "  issued by    {}", facts.issuer)?;
    }
    writeln!(out, "  valid from   {}", date_time(facts.not_before_s))?;
    writeln!(
        out,
        "  valid until  {}  ({left})",
        date_time(facts.not_after_s)
    )?;
    writeln!(out, "  sha256       {}", facts.fingerprint)?;
    Ok(())
}
