//! What breaks, and when: the faults a scenario lists, and those a seed draws.

use super::clocks;
use super::plan::{Act, Config, Fault, Kill, QUIET_US, Step, index};
use super::rng::{Chance, Rng};
use super::scenario::{self, Scenario};

/// The classes of fault that a seed may switch on, each in half of the runs.
const CLASSES: [Class; 10] = [
    Class::Cut,
    Class::OneWay,
    Class::Partition,
    Class::Reset,
    Class::Kill,
    Class::KillAndStep,
    Class::Skew,
    Class::Stall,
    Class::Freeze,
    Class::FarSkew,
];

#[derive(Clone, Copy, Debug)]
enum Class {
    Cut,
    OneWay,
    /// Some regions from all others; often one from the rest.
    Partition,
    Reset,
    Kill,
    /// The clock is set, mostly back, while the process is away.
    KillAndStep,
    Skew,
    Stall,
    /// The wall clock stands still.
    Freeze,
    /// The clock is set by hours to a year, and mostly set back after a while. In few runs.
    FarSkew,
}

/// The faults of a scenario's file.
pub fn listed(scenario: &Scenario, config: &Config) -> Vec<Step> {
    let mut steps = Vec::new();
    let position = |name: &String| config.regions.iter().position(|r| r == name).unwrap_or(0);
    for fault in &scenario.faults {
        let at_us = fault.at.forward_us();
        let by_us = fault.by.unwrap_or_default().us;
        if let Some([a, b]) = &fault.cut {
            let (a, b) = (position(a), position(b));
            let back = (!fault.one_way).then_some((b, a));
            let ways = std::iter::once((a, b)).chain(back).collect();
            push_cut(&mut steps, at_us, heal_us(fault), ways, true);
        }
        if let Some(region) = &fault.isolate {
            let ways = between(config, &[position(region)]);
            push_cut(&mut steps, at_us, heal_us(fault), ways, true);
        }
        if let Some([a, b]) = &fault.reset {
            let (a, b) = (position(a), position(b));
            push(&mut steps, at_us, Fault::Reset { a, b });
        }
        if let Some(region) = &fault.kill {
            let kill = Kill {
                region: position(region),
                within_commit: false,
                commit_survives: false,
                restart_after_us: fault.restart_after.map(|s| s.forward_us()),
                step_us: by_us,
            };
            push(&mut steps, at_us, Fault::Kill(kill));
        }
        if let Some(region) = &fault.skew {
            let region = position(region);
            push(&mut steps, at_us, Fault::Skew { region, by_us });
        }
        if let Some(region) = &fault.stall {
            let by_us = fault.by.unwrap_or_default().forward_us();
            push_stall(&mut steps, at_us, heal_us(fault), position(region), by_us);
        }
    }
    steps
}

fn heal_us(fault: &scenario::Fault) -> Option<u64> {
    fault.heal_after.map(|span| span.forward_us())
}

/// The faults of a seed.
pub fn drawn(config: &Config, chance: Chance) -> Vec<Step> {
    let mut steps = Vec::new();
    if config.storm_us <= QUIET_US {
        return steps;
    }
    for (at, class) in CLASSES.into_iter().enumerate() {
        let mut rng = chance.of("class", &[index(at)]);
        let few = matches!(class, Class::FarSkew) && rng.per_mille(700);
        if rng.coin() || few {
            continue;
        }
        // One to four of each class in half a minute.
        let most = 1 + 3 * config.storm_us / 30_000_000;
        for nth in 0..rng.between(1, most) {
            let mut rng = chance.of("fault", &[index(at), nth]);
            let at_us = QUIET_US + rng.below(config.storm_us - QUIET_US);
            draw_one(&mut steps, config, &mut rng, class, at_us);
        }
    }
    steps
}

fn draw_one(steps: &mut Vec<Step>, config: &Config, rng: &mut Rng, class: Class, at_us: u64) {
    let count = config.regions.len();
    let a = rng.index(count);
    let b = (a + 1 + rng.index(count - 1)) % count;
    let longest_us = rng.pick(&[500_000, 3_000_000, 15_000_000]);
    let long_us = rng.between(10_000, longest_us);
    let length_us = Some(long_us);
    let fatal = rng.coin();
    match class {
        Class::Cut => push_cut(steps, at_us, length_us, vec![(a, b), (b, a)], true),
        Class::OneWay => push_cut(steps, at_us, length_us, vec![(a, b)], fatal),
        Class::Partition => {
            let side: Vec<usize> = (0..count)
                .filter(|r| *r == a || (*r != b && rng.per_mille(300)))
                .collect();
            push_cut(steps, at_us, length_us, between(config, &side), true);
        }
        Class::Reset => push(steps, at_us, Fault::Reset { a, b }),
        Class::Kill => push(steps, at_us, Fault::Kill(kill(rng, a, 0))),
        Class::KillAndStep => {
            let size_us = rng.pick(&[100_000, 4_000_000, 60_000_000]);
            let by_us = rng.around(size_us);
            let by_us = if rng.per_mille(700) {
                -by_us.abs()
            } else {
                by_us
            };
            let mut kill = kill(rng, a, by_us);
            if let Some(after_us) = kill.restart_after_us.filter(|_| rng.coin()) {
                // The clock is set just after the restart, before anything was stamped.
                (kill.step_us, kill.within_commit) = (0, false);
                push(
                    steps,
                    at_us + after_us + 1,
                    Fault::Skew { region: a, by_us },
                );
            }
            push(steps, at_us, Fault::Kill(kill));
        }
        Class::Skew => {
            let size_us = rng.pick(&[10_000, 1_000_000, 20_000_000]);
            let by_us = rng.around(size_us);
            push(steps, at_us, Fault::Skew { region: a, by_us });
        }
        Class::Freeze => {
            let (region, us) = (a, long_us);
            let freeze = |frozen| Fault::Freeze { region, frozen };
            push(steps, at_us, freeze(true));
            push(steps, at_us + us, freeze(false));
        }
        Class::FarSkew => {
            let size_us = clocks::far_us(rng.below(3));
            let by_us = rng.around(size_us);
            push(steps, at_us, Fault::Skew { region: a, by_us });
            if rng.per_mille(800) {
                let (back_us, by_us) = (at_us + long_us, -by_us);
                push(steps, back_us, Fault::Skew { region: a, by_us });
            }
        }
        Class::Stall => {
            let by_us = rng.between(50_000, 2_000_000);
            push_stall(steps, at_us, length_us, a, by_us);
        }
    }
}

fn kill(rng: &mut Rng, region: usize, step_us: i64) -> Kill {
    let longest_us = rng.pick(&[50_000, 2_000_000, 10_000_000]);
    Kill {
        region,
        within_commit: rng.per_mille(600),
        commit_survives: rng.coin(),
        restart_after_us: (!rng.per_mille(100)).then(|| rng.between(1_000, longest_us)),
        step_us,
    }
}

/// Both directions between `side` and everyone else.
fn between(config: &Config, side: &[usize]) -> Vec<(usize, usize)> {
    let others = (0..config.regions.len()).filter(|r| !side.contains(r));
    others
        .flat_map(|b| side.iter().flat_map(move |a| [(*a, b), (b, *a)]))
        .collect()
}

fn push(steps: &mut Vec<Step>, at_us: u64, fault: Fault) {
    steps.push(Step {
        at_us,
        act: Act::Break(fault),
    });
}

fn push_cut(
    steps: &mut Vec<Step>,
    at_us: u64,
    after_us: Option<u64>,
    ways: Vec<(usize, usize)>,
    fatal: bool,
) {
    if let Some(after_us) = after_us {
        push(steps, at_us + after_us, Fault::Heal { ways: ways.clone() });
    }
    push(steps, at_us, Fault::Cut { ways, fatal });
}

fn push_stall(steps: &mut Vec<Step>, at_us: u64, after_us: Option<u64>, region: usize, by_us: u64) {
    push(steps, at_us, Fault::Stall { region, by_us });
    if let Some(after_us) = after_us {
        push(steps, at_us + after_us, Fault::Stall { region, by_us: 0 });
    }
}
