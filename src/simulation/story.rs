//! A plan in words, for a person who wants to know what went wrong.

use super::operators::Command;
use super::plan::{Act, Fault, Kill, OperationKind, Plan, Step};
use super::report::RunReport;
use super::shrink::class_of;

/// Steps that are told one by one; of longer plans only the faults are.
const TOLD_MAX: usize = 40;

/// Who is there, what happens, and what must not.
pub fn tell(plan: &Plan, report: &RunReport) -> String {
    let names = &plan.config.regions;
    let mut text = format!("{} regions: {}.", names.len(), names.join(", "));
    let clocks = names.iter().zip(&plan.config.clocks);
    for (name, clock) in clocks.filter(|(_, clock)| clock.offset_us != 0) {
        let ahead = if clock.offset_us > 0 {
            "ahead"
        } else {
            "behind"
        };
        let by = span(clock.offset_us.unsigned_abs());
        text.push_str(&format!(" The clock of {name} is {by} {ahead}."));
    }
    if !plan.config.whims.is_empty() {
        let whims = plan.config.whims.join(", ");
        text.push_str(&format!(" Regions have whims: {whims}."));
    }
    let brief = plan.steps.len() > TOLD_MAX;
    let told = plan.steps.iter();
    let told = told.filter(|step| !brief || matches!(step.act, Act::Break(_)));
    for step in told.take(TOLD_MAX) {
        text.push_str(&format!(
            " At {} {}.",
            span(step.at_us),
            sentence(step, names)
        ));
    }
    if brief {
        text.push_str(&format!(" ({} steps in all.)", plan.steps.len()));
    }
    if report.violations.is_empty() {
        text.push_str(" Every oracle holds.");
    }
    for violation in report.violations.iter().take(1) {
        let calm = violation.at_us >= plan.config.storm_us;
        let when = if calm { ", when all is healed," } else { "" };
        text.push_str(&format!(
            " Then, at {}{when} {} is broken: {}.",
            span(violation.at_us),
            violation.oracle,
            violation.explanation.trim_end_matches('.')
        ));
    }
    text
}

/// A time in the largest unit that shows it.
pub fn span(us: u64) -> String {
    let (unit_us, unit) = match us {
        1_000_000.. => (1_000_000, "s"),
        1_000.. => (1_000, "ms"),
        _ => return format!("{us} us"),
    };
    let (whole, rest) = (us / unit_us, us % unit_us * (1_000_000 / unit_us));
    let fraction = format!("{rest:06}");
    match fraction.trim_end_matches('0') {
        "" => format!("{whole} {unit}"),
        digits => format!("{whole}.{digits} {unit}"),
    }
}

fn sentence(step: &Step, names: &[String]) -> String {
    let name = |region: usize| names.get(region).map_or("?", String::as_str);
    match &step.act {
        Act::Ask(operation) => {
            let what = ask(&operation.kind);
            let region = name(operation.region);
            format!("client {} {what} in {region}", operation.client)
        }
        Act::Break(fault) => breaks(fault, names, &class_of(step)),
        #[allow(
            unreachable_patterns,
            reason = "steps that are neither are told by their names"
        )]
        Act::Operate(Command::Add { region }) => format!("{} is added", name(*region)),
        Act::Operate(Command::Remove { region }) => format!("{} is removed", name(*region)),
        Act::Operate(Command::Give { region }) => {
            format!("the table is given a replica in {}", name(*region))
        }
        Act::Operate(Command::Take { region }) => {
            format!("the replica in {} is removed", name(*region))
        }
        Act::Expiry(on) => {
            let what = if *on { "enabled" } else { "disabled" };
            format!("Time To Live is {what}")
        }
        #[allow(
            unreachable_patterns,
            reason = "kinds of step that are added are told by their names"
        )]
        _ => class_of(step).replace('_', " "),
    }
}

fn ask(kind: &OperationKind) -> String {
    match kind {
        OperationKind::Put { key, .. } => format!("puts r{key}"),
        OperationKind::PutIfAbsent { key } => format!("puts r{key} unless it is there"),
        OperationKind::Update { key, .. } => format!("updates r{key}"),
        OperationKind::Delete { key } => format!("deletes r{key}"),
        OperationKind::Read { key } => format!("reads r{key}"),
        OperationKind::PutExpiring { key, second } => {
            format!("puts e{key}, which expires at {second} s,")
        }
        OperationKind::Refresh { key, second } => {
            format!("puts the expiry of e{key} off to {second} s")
        }
        OperationKind::Transaction { cohort, .. } => format!("writes all of cohort {cohort}"),
        OperationKind::ReadCohort { cohort } => format!("reads all of cohort {cohort}"),
        OperationKind::CreateIndex => "creates the second index".into(),
        OperationKind::DeleteIndex => "deletes the second index".into(),
        OperationKind::Merge { key, act } => format!("merges into m{key}: {act:?}"),
    }
}

/// A fault as a sentence; `class` is the name of one that has none yet.
pub fn breaks(fault: &Fault, names: &[String], class: &str) -> String {
    let name = |region: usize| names.get(region).map_or("?", String::as_str);
    let links = |ways: &[(usize, usize)]| {
        let arrow = |(a, b): &(usize, usize)| {
            let both = ways.contains(&(*b, *a));
            match both {
                true if a > b => None,
                true => Some(format!("{} and {}", name(*a), name(*b))),
                false => Some(format!("{} to {}", name(*a), name(*b))),
            }
        };
        ways.iter().filter_map(arrow).collect::<Vec<_>>().join(", ")
    };
    match fault {
        Fault::Cut { ways, .. } => format!("nothing passes any more: {}", links(ways)),
        Fault::Heal { ways } => format!("the cut is healed: {}", links(ways)),
        Fault::Reset { a, b } => {
            format!("the connection of {} and {} breaks", name(*a), name(*b))
        }
        Fault::Kill(kill) => dies(kill, name(kill.region)),
        Fault::Skew { region, by_us } => format!(
            "the clock of {} is set {} by {}",
            name(*region),
            if *by_us < 0 { "back" } else { "forward" },
            span(by_us.unsigned_abs())
        ),
        Fault::Stall { region, by_us: 0 } => format!("the disk of {} is well again", name(*region)),
        Fault::Stall { region, by_us } => {
            format!(
                "each sync in {} takes {} longer",
                name(*region),
                span(*by_us)
            )
        }
        Fault::Clog {
            ways,
            bulky,
            for_us,
        } => format!(
            "for {} {} held up: {}",
            span(*for_us),
            if *bulky {
                "commits and copies are"
            } else {
                "everything is"
            },
            links(ways)
        ),
        Fault::Reroute {
            ways,
            longer_us: 0,
            bytes_per_second: 0,
        } => format!("the way is as it was: {}", links(ways)),
        Fault::Reroute {
            ways,
            longer_us,
            bytes_per_second: 0,
        } => format!("the way is {} longer: {}", span(*longer_us), links(ways)),
        Fault::Reroute {
            ways,
            longer_us,
            bytes_per_second,
        } => format!(
            "the way is {} longer and carries {bytes_per_second} bytes a second: {}",
            span(*longer_us),
            links(ways)
        ),
        Fault::Full { region, full: true } => format!("the disk of {} is full", name(*region)),
        Fault::Full {
            region,
            full: false,
        } => format!("the disk of {} has room again", name(*region)),
        #[allow(
            unreachable_patterns,
            reason = "kinds of fault that are added are told by their names"
        )]
        _ => format!("fault: {class}"),
    }
}

fn dies(kill: &Kill, name: &str) -> String {
    let mut text = match (kill.within_commit, kill.commit_survives) {
        (true, true) => format!("{name} is to die in its next commit, which reaches the disk"),
        (true, false) => format!("{name} is to die in its next commit, which is lost"),
        (false, _) => format!("{name} dies"),
    };
    match kill.restart_after_us {
        Some(us) => text.push_str(&format!(" and starts again {} later", span(us))),
        None => text.push_str(" and stays away until the end"),
    }
    if kill.step_us != 0 {
        let by = span(kill.step_us.unsigned_abs());
        let way = if kill.step_us < 0 { "back" } else { "forward" };
        text.push_str(&format!(" with its clock set {way} by {by}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short_and_exact() {
        assert_eq!(span(7), "7 us");
        assert_eq!(span(1_500), "1.5 ms");
        assert_eq!(span(2_000_000), "2 s");
        assert_eq!(span(12_000_345), "12.000345 s");
    }

    #[test]
    fn a_cut_of_both_directions_is_told_once() {
        let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let cut = Fault::Cut {
            ways: vec![(0, 1), (1, 0), (2, 0)],
            fatal: true,
        };
        assert_eq!(
            breaks(&cut, &names, "cut"),
            "nothing passes any more: a and b, c to a"
        );
    }
}
