//! Random faults, then calm.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Fault {
    Write(u16, usize, usize),
    Cut(u16, u16),
    CutLane(Option<Lane>),
    Heal,
    Link(u16, u16, bool),
    Doubling(bool),
    Delay(u64),
    Applies(u16, bool),
    FailNext(u16),
    Restart(u16),
    Run(u64),
}

fn fault() -> impl Strategy<Value = Fault> {
    let pair = || (0u16..3, 1u16..3).prop_map(|(a, d)| (a, (a + d) % 3));
    prop_oneof![
        4 => (0u16..3, 1usize..40, 1usize..20_000).prop_map(|(at, n, size)| Fault::Write(at, n, size)),
        2 => pair().prop_map(|(a, b)| Fault::Cut(a, b)),
        1 => prop_oneof![Just(None), Just(Some(Lane::Log)), Just(Some(Lane::Control))].prop_map(Fault::CutLane),
        1 => Just(Fault::Heal),
        2 => (pair(), any::<bool>()).prop_map(|((a, b), up)| Fault::Link(a, b, up)),
        1 => any::<bool>().prop_map(Fault::Doubling),
        1 => (1u64..400).prop_map(Fault::Delay),
        1 => (0u16..3, any::<bool>()).prop_map(|(at, on)| Fault::Applies(at, on)),
        1 => (0u16..3).prop_map(Fault::FailNext),
        1 => (0u16..3).prop_map(Fault::Restart),
        5 => (10u64..3_000).prop_map(Fault::Run),
    ]
}

fn inflict(world: &mut World, fault: Fault) {
    match fault {
        Fault::Write(at, count, size) => world.write(at, count, size),
        Fault::Cut(a, b) => world.cut.push((a, b)),
        Fault::CutLane(lane) => world.cut_lane = lane,
        Fault::Heal => world.cut.clear(),
        Fault::Link(a, b, up) => world.link(a, b, up),
        Fault::Doubling(on) => world.doubling = on,
        Fault::Delay(ms) => world.delay_us = ms * 1_000,
        Fault::Applies(at, on) => world.nodes[usize::from(at)].applies = on,
        Fault::FailNext(at) => world.nodes[usize::from(at)].fail_next = true,
        Fault::Restart(at) => world.restart(at),
        Fault::Run(ms) => world.run_ms(ms),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// After any storm of faults all regions hold the same within seconds of calm, no session is
    /// refused, and (asserted within) I3 and I4 hold throughout. A ring or a single chain of links is
    /// calm enough.
    #[test]
    fn any_storm_ends_in_convergence(faults in prop::collection::vec(fault(), 1..40), chain in any::<bool>()) {
        let mut world = World::connected(3);
        for fault in faults {
            inflict(&mut world, fault);
        }
        world.cut.clear();
        world.cut_lane = None;
        world.doubling = false;
        world.delay_us = DELAY_US;
        for at in 0..3 {
            let node = &mut world.nodes[usize::from(at)];
            (node.applies, node.fail_next) = (true, false);
            world.settle(at, true);
        }
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            if !world.status(a, b).connected || !world.status(b, a).connected {
                world.link(a, b, true);
            }
        }
        if chain {
            world.link(0, 2, false);
        }
        let mut ms = 0;
        while !world.converged() && ms < 30_000 {
            world.run_ms(500);
            ms += 500;
        }
        prop_assert!(world.converged(), "no convergence: {:?}", (0..3).map(|at| world.frontier(at)).collect::<Vec<_>>());
        prop_assert_eq!(&world.disconnects, &vec![]);
    }
}
