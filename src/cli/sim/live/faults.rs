//! What is wrong with links, so that a region that comes back is told again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::simulation::script::Operator;

/// What one region does to the way to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Wrong {
    /// Nothing is sent.
    cut: bool,
    rtt_us: Option<u64>,
}

/// By region and peer.
#[derive(Debug, Default)]
pub struct Faults {
    wrong: BTreeMap<(usize, usize), Wrong>,
}

impl Faults {
    /// Takes an operator's act, and says which ways it is about.
    pub fn take(&mut self, operator: &Operator) -> Vec<(usize, usize)> {
        match operator {
            Operator::Cut(ways) => {
                for way in ways {
                    self.wrong.entry(*way).or_default().cut = true;
                }
                // The other side closes or opens its end with it.
                let back = ways.iter().map(|(from, to)| (*to, *from));
                let back: Vec<_> = back.filter(|way| self.wrong.contains_key(way)).collect();
                [ways.as_slice(), back.as_slice()].concat()
            }
            Operator::Slow { a, b, rtt_us } => {
                let ways = vec![(*a, *b), (*b, *a)];
                for way in &ways {
                    self.wrong.entry(*way).or_default().rtt_us = Some(*rtt_us);
                }
                ways
            }
            Operator::Heal(None) => std::mem::take(&mut self.wrong).into_keys().collect(),
            Operator::Heal(Some((a, b))) => {
                let ways = vec![(*a, *b), (*b, *a)];
                self.wrong.retain(|way, _| !ways.contains(way));
                ways
            }
            Operator::Kill(_) | Operator::Restart(_) | Operator::Skew { .. } => Vec::new(),
        }
    }

    /// The ways from a region with which something is wrong.
    pub fn of(&self, region: usize) -> Vec<(usize, usize)> {
        let ways = self.wrong.keys().copied();
        ways.filter(|(from, _)| *from == region).collect()
    }

    /// What the region at the beginning of a way is to do: a body of POST /fault.
    pub fn body(&self, (from, to): (usize, usize), peer: &str) -> Value {
        let cut = |way| self.wrong.get(&way).is_some_and(|wrong| wrong.cut);
        let mut body = json!({"peer": peer, "reset": true});
        let cut = match (cut((from, to)), cut((to, from))) {
            (true, true) => Some("both"),
            (true, false) => Some("out"),
            (false, _) => None,
        };
        let rtt_us = self.wrong.get(&(from, to)).and_then(|wrong| wrong.rtt_us);
        if let Some(members) = body.as_object_mut() {
            members.extend(cut.map(|cut| ("cut".to_owned(), cut.into())));
            let rtt_ms = rtt_us.map(|us| (us / 1_000).into());
            members.extend(rtt_ms.map(|ms| ("rtt_ms".to_owned(), ms)));
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_link_are_told_what_is_wrong() {
        let mut faults = Faults::default();
        let both = Operator::Cut(vec![(0, 1), (1, 0)]);
        assert!(faults.take(&both).contains(&(1, 0)));
        let wanted = json!({"peer": "b", "reset": true, "cut": "both"});
        assert_eq!(faults.body((0, 1), "b"), wanted);
        assert_eq!(faults.of(1), [(1, 0)]);
        let slow = Operator::Slow {
            a: 0,
            b: 1,
            rtt_us: 30_000,
        };
        faults.take(&slow);
        let wanted = json!({"peer": "b", "reset": true, "cut": "both", "rtt_ms": 30});
        assert_eq!(faults.body((0, 1), "b"), wanted);
        assert_eq!(faults.take(&Operator::Heal(None)), [(0, 1), (1, 0)]);
        assert_eq!(
            faults.body((0, 1), "b"),
            json!({"peer": "b", "reset": true})
        );
        faults.take(&Operator::Cut(vec![(0, 2)]));
        assert_eq!(faults.body((0, 2), "c")["cut"], "out");
    }
}
