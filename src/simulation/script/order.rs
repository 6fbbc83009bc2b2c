//! What steps undo must have been done before: a link that is healed was cut, a region that is started was dead.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Read, flaw, line_of};
use super::{Act, Operator, Step};

/// Checks steps in the order of their times, each with where its time is written.
pub fn check(steps: &[(usize, Step)], regions: &[String], text: &str) -> Read<()> {
    let mut links: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut dead: BTreeMap<usize, usize> = BTreeMap::new();
    let name = |region: &usize| regions.get(*region).map_or("?", String::as_str);
    let pair = |a: usize, b: usize| (a.min(b), a.max(b));
    for (at, step) in steps {
        let Act::Operate(operator) = &step.act else {
            continue;
        };
        match operator {
            Operator::Cut(ways) => links.extend(ways.iter().map(|(a, b)| pair(*a, *b))),
            Operator::Slow { a, b, .. } => {
                links.insert(pair(*a, *b));
            }
            Operator::Heal(None) => links.clear(),
            Operator::Heal(Some((a, b))) => {
                if !links.remove(&pair(*a, *b)) {
                    let (a, b) = (name(a), name(b));
                    let reason = format!("nothing is wrong between {a} and {b} by then");
                    return flaw(
                        *at,
                        reason + "\n  hint: is its time before that of the cut?",
                    );
                }
            }
            Operator::Kill(region) => {
                if let Some(before) = dead.insert(*region, *at) {
                    let (name, line) = (name(region), line_of(text, before));
                    return flaw(*at, format!("{name} is dead already, since line {line}"));
                }
            }
            Operator::Restart(region) => {
                if dead.remove(region).is_none() {
                    let reason = format!("{} is alive by then", name(region));
                    return flaw(
                        *at,
                        reason + "\n  hint: is its time before that of the kill?",
                    );
                }
            }
            Operator::Skew { .. } => {}
        }
    }
    Ok(())
}
