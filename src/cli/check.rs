//! `check`: verifies the data folder of a stopped region.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use crate::region;
use crate::replica::check;
use crate::store::{LmdbOptions, LmdbStore, Store};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Data folder of one region
    #[arg(long)]
    data: PathBuf,
}

pub fn run(args: CheckArgs) -> Result<(), CliError> {
    if !args.data.join("data.mdb").is_file() {
        return Err(CliError::NoStore { path: args.data.display().to_string() });
    }
    let store = LmdbStore::open(&args.data, LmdbOptions::default()).map_err(region::RegionError::from)?;
    let txn = store.begin_read().map_err(region::RegionError::from)?;
    let owner = region::owner(&*txn)?;
    let findings = check::check(&*txn, owner.id).map_err(region::RegionError::from)?;
    for problem in &findings.problems {
        println!("{problem}");
    }
    println!(
        "{}: {} tables, {} items, {} commits, {} conflicts, {} findings",
        owner.name,
        findings.tables,
        findings.items,
        findings.commits,
        findings.conflicts,
        findings.problems.len()
    );
    match findings.problems.len() {
        0 => Ok(()),
        count => Err(CliError::Unsound(count)),
    }
}
