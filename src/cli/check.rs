//! `check`: verifies the data folder of a stopped region.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use crate::region;
use crate::replica::check;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Data folder of one region
    #[arg(long)]
    data: PathBuf,
}

pub fn run(args: CheckArgs) -> Result<(), CliError> {
    let (store, name, id) = region::open_stopped(&args.data)?;
    let txn = store.begin_read().map_err(region::RegionError::from)?;
    let findings = check::check(&*txn, id).map_err(region::RegionError::from)?;
    for problem in &findings.problems {
        println!("{problem}");
    }
    println!(
        "{}: {} tables, {} items, {} commits, {} conflicts, {} changes, {} findings",
        name,
        findings.tables,
        findings.items,
        findings.commits,
        findings.conflicts,
        findings.changes,
        findings.problems.len()
    );
    match findings.problems.len() {
        0 => Ok(()),
        count => Err(CliError::Unsound(count)),
    }
}
