//! What breaks, and when: the faults a scenario lists, and those a seed draws.

use super::clocks;
use super::plan::{Act, Config, Disk, Fault, Kill, QUIET_US, Step, index};
use super::rng::{Chance, Rng};
use super::scenario::{self, Scenario};

/// The classes of fault that a seed may switch on, each in half of the runs.
const CLASSES: [Class; 17] = [
    Class::Cut,
    Class::OneWay,
    Class::Partition,
    Class::Reset,
    Class::Kill,
    Class::KillAndStep,
    Class::Skew,
    Class::Stall,
    Class::Disk,
    Class::Freeze,
    Class::FarSkew,
    Class::Flap,
    Class::Swizzle,
    Class::Gray,
    Class::Reroute,
    Class::Full,
    Class::DeadMember,
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
    /// The disk of one region, the same one throughout, is lost or put back as it was.
    Disk,
    /// The wall clock stands still.
    Freeze,
    /// The clock is set by hours to a year, and mostly set back after a while. In few runs.
    FarSkew,
    /// A link comes and goes.
    Flap,
    /// Links are clogged one after the other and come free in another order (FoundationDB's swizzle-clog).
    Swizzle,
    /// Heartbeats pass, commits do not.
    Gray,
    /// A way gets longer, sometimes so narrow that it drips.
    Reroute,
    /// A disk is full for a while.
    Full,
    /// A region is dead, or cut off from all, for longer than the others wait for it. Only where that is short.
    DeadMember,
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
                disk: Disk::Kept,
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
    let count = config.regions.len();
    for (at, class) in CLASSES.into_iter().enumerate() {
        let mut rng = chance.of("class", &[index(at)]);
        let few = matches!(class, Class::FarSkew) && rng.per_mille(700);
        let off = rng.coin() || few;
        let off = match (class, config.disks) {
            (Class::Disk, Some(on)) => !on,
            (Class::DeadMember, _) => config.dead_after_us == 0 || count < 3,
            _ => off,
        };
        if off {
            continue;
        }
        // One to four of each class in half a minute.
        let most = 1 + 3 * config.storm_us / 30_000_000;
        for nth in 0..rng.between(1, most) {
            let mut rng = chance.of("fault", &[index(at), nth]);
            let at_us = QUIET_US + rng.below(config.storm_us - QUIET_US);
            if matches!(class, Class::Disk) {
                let victim = chance.of("victim", &[]).index(config.regions.len());
                draw_disk(&mut steps, &mut rng, victim, at_us);
                continue;
            }
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
        // Drawn for one region only, so that all is never lost.
        Class::Disk => {}
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
        Class::Flap => {
            let mut from_us = at_us;
            for _ in 0..rng.between(2, 8) {
                let off_us = rng.between(10_000, 1_500_000);
                push_cut(steps, from_us, Some(off_us), vec![(a, b), (b, a)], fatal);
                from_us += off_us + rng.between(10_000, 1_500_000);
            }
        }
        Class::Swizzle | Class::Gray | Class::Reroute => {
            draw_way(steps, config, rng, class, at_us);
        }
        Class::DeadMember => {
            let away_us = config.dead_after_us + rng.between(1_000_000, 8_000_000);
            if rng.coin() {
                let mut kill = kill(rng, a, 0);
                kill.restart_after_us = Some(away_us);
                push(steps, at_us, Fault::Kill(kill));
            } else {
                push_cut(steps, at_us, Some(away_us), between(config, &[a]), true);
            }
        }
        Class::Full => {
            let full = |full| Fault::Full { region: a, full };
            push(steps, at_us, full(true));
            push(steps, at_us + long_us, full(false));
        }
    }
}

/// What links do without losing anything. Over before the calm.
fn draw_way(steps: &mut Vec<Step>, config: &Config, rng: &mut Rng, class: Class, at_us: u64) {
    let count = config.regions.len();
    let left_us = config.storm_us.saturating_sub(at_us);
    let mut way = || {
        let a = rng.index(count);
        (a, (a + 1 + rng.index(count - 1)) % count)
    };
    let (first, others) = (way(), [way(), way(), way()]);
    match class {
        Class::Swizzle => {
            let clogged = 1 + rng.index(others.len() + 1);
            let mut from_us = at_us;
            for way in [first].into_iter().chain(others).take(clogged) {
                let for_us = rng.between(10_000, 4_000_000);
                let for_us = for_us.min(config.storm_us.saturating_sub(from_us));
                push_clog(steps, from_us, for_us, way, false);
                from_us += rng.below(500_000);
            }
        }
        Class::Gray => {
            let for_us = rng.between(100_000, 15_000_000).min(left_us);
            push_clog(steps, at_us, for_us, first, true);
        }
        _ => {
            let ways = if rng.coin() {
                vec![first]
            } else {
                vec![first, (first.1, first.0)]
            };
            let longer_us = rng.pick(&[1_000, 40_000, 400_000]);
            let bytes_per_second = rng.pick(&[0, 0, 20_000, 1_000]);
            let back_us = at_us + rng.between(100_000, 10_000_000);
            let detour = |longer_us, bytes_per_second| Fault::Reroute {
                ways: ways.clone(),
                longer_us,
                bytes_per_second,
            };
            push(steps, at_us, detour(longer_us, bytes_per_second));
            push(steps, back_us, detour(0, 0));
        }
    }
}

fn draw_disk(steps: &mut Vec<Step>, rng: &mut Rng, region: usize, at_us: u64) {
    let copied_us = at_us
        .saturating_sub(rng.between(1, 10_000_000))
        .max(QUIET_US);
    push(steps, copied_us, Fault::BackUp { region });
    let disk = rng.pick(&[Disk::Lost, Disk::PutBack]);
    let within_commit = false;
    let kill = Kill {
        disk,
        within_commit,
        ..kill(rng, region, 0)
    };
    push(steps, at_us, Fault::Kill(kill));
}

fn kill(rng: &mut Rng, region: usize, step_us: i64) -> Kill {
    let longest_us = rng.pick(&[50_000, 2_000_000, 10_000_000]);
    Kill {
        region,
        within_commit: rng.per_mille(600),
        commit_survives: rng.coin(),
        disk: Disk::Kept,
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

fn push_clog(steps: &mut Vec<Step>, at_us: u64, for_us: u64, way: (usize, usize), bulky: bool) {
    let clog = Fault::Clog {
        ways: vec![way],
        bulky,
        for_us,
    };
    push(steps, at_us, clog);
}

fn push_stall(steps: &mut Vec<Step>, at_us: u64, after_us: Option<u64>, region: usize, by_us: u64) {
    push(steps, at_us, Fault::Stall { region, by_us });
    if let Some(after_us) = after_us {
        push(steps, at_us + after_us, Fault::Stall { region, by_us: 0 });
    }
}
