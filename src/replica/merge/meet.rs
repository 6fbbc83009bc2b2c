//! What is lost where two states of one item meet.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cell, Mark, State};
use crate::item::{Item, codec};
use crate::replica::mutation::{Rank, RankKind};

/// A write that lost to another something that it wrote: attributes, or all it said of the item.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::replica) struct Loss {
    pub winner: Mark,
    pub loser: Mark,
    /// Whether the winner is in the state that comes in, and the loser in the one that is there.
    pub incoming_wins: bool,
    /// What of it, as codec bytes of the keys and the attributes; `None` = the item is deleted.
    pub winner_image: Option<Vec<u8>>,
    pub loser_image: Option<Vec<u8>>,
}

/// What two writes disagree on.
#[derive(Default)]
struct Contest {
    names: BTreeSet<String>,
    whole: bool,
}

/// Which writes meet in a contest: the winner's and the loser's rank and who has them.
type Pair = (bool, Mark, Mark);

#[derive(Default)]
struct Contests(BTreeMap<(bool, Rank, Rank), (Pair, Contest)>);

impl Contests {
    fn between(&mut self, (incoming_wins, winner, loser): Pair) -> &mut Contest {
        let pair = (incoming_wins, winner, loser);
        let entry = self.0.entry((incoming_wins, winner.rank, loser.rank));
        &mut entry.or_insert_with(|| (pair, Contest::default())).1
    }
}

/// What each of two states loses to the other. Whether their writers knew of each other is another question.
pub(in crate::replica) fn losses(current: &State, incoming: &State) -> Vec<Loss> {
    let mut contests = Contests::default();
    if current.live || incoming.live {
        let names: BTreeSet<&String> = current.cells.keys().chain(incoming.cells.keys()).collect();
        for name in names {
            contest_attribute(name, current, incoming, &mut contests);
        }
    }
    if current.live != incoming.live && current.version.rank != incoming.version.rank {
        let incoming_wins = incoming.version.rank > current.version.rank;
        let (winner, loser) = match incoming_wins {
            true => (incoming, current),
            false => (current, incoming),
        };
        let pair = (
            incoming_wins,
            Mark::of(winner.version),
            Mark::of(loser.version),
        );
        contests.between(pair).whole = true;
    }
    let loss = |((incoming_wins, winner, loser), contest): (Pair, Contest)| {
        let (winning, losing) = match incoming_wins {
            true => (incoming, current),
            false => (current, incoming),
        };
        Loss {
            winner,
            loser,
            incoming_wins,
            winner_image: contest.image(winning),
            loser_image: contest.image(losing),
        }
    };
    contests.0.into_values().map(loss).collect()
}

fn contest_attribute(name: &str, current: &State, incoming: &State, contests: &mut Contests) {
    let (here, there) = (current.cell(name), incoming.cell(name));
    let rank = |cell: &Cell| cell.mark.map(|mark| mark.rank);
    if rank(&here) == rank(&there) {
        return;
    }
    let incoming_wins = rank(&there) > rank(&here);
    let (winner, loser, losing) = match incoming_wins {
        true => (there, here, current),
        false => (here, there, incoming),
    };
    let Some(mark) = winner.mark else { return };
    let mut lose = |lost: Mark| {
        let contest = contests.between((incoming_wins, mark, lost));
        contest.names.insert(name.to_owned());
    };
    // That a put did not have the attribute is no loss.
    let said = loser.value.is_some() || loser.mark != losing.base;
    if let Some(lost) = loser.mark.filter(|_| said) {
        lose(lost);
    }
    for run in loser
        .runs
        .values()
        .filter(|run| !Cell::counts(Some(mark), run))
    {
        lose(run.last);
    }
}

impl Contest {
    /// What a state has of what is contested.
    fn image(&self, state: &State) -> Option<Vec<u8>> {
        let item = state.item().or_else(|| {
            let expired = state.version.rank.kind == RankKind::Expire && !self.whole;
            expired.then(|| state.shown())
        })?;
        if self.whole {
            return Some(codec::encode(&item));
        }
        let contested = |name: &String| self.names.contains(name) || state.keys.contains_key(name);
        let part: Item = item
            .into_iter()
            .filter(|(name, _)| contested(name))
            .collect();
        Some(codec::encode(&part))
    }
}
