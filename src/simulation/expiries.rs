//! What clients do to items that expire.

use super::plan::{Act, Config, Operation, OperationKind, QUIET_US, Step, index};
use super::rng::Chance;

/// Items that are about to expire, and what another region makes of each when the time has nearly come: most
/// are put off, at an instant close to their expiry. Ids follow those of the other `operations`.
pub fn steps(config: &Config, chance: Chance, operations: usize) -> Vec<Step> {
    if config.expiring == 0 {
        return Vec::new();
    }
    let mut rng = chance.of("expiries", &[]);
    let enabled_us = rng.pick(&[QUIET_US / 2, QUIET_US, 4 * QUIET_US]);
    let mut steps = vec![Step {
        at_us: enabled_us,
        act: Act::Expiry(true),
    }];
    if rng.per_mille(300) {
        for (at_us, on) in [
            (config.storm_us / 2, false),
            (config.storm_us / 4 * 3, true),
        ] {
            steps.push(Step {
                at_us,
                act: Act::Expiry(on),
            });
        }
    }
    let span_us = config.storm_us.saturating_sub(QUIET_US);
    let count = 2 * span_us / 1_000_000;
    for pair in 0..count {
        let mut rng = chance.of("expiry", &[pair]);
        let key = u32::try_from(rng.below(u64::from(config.expiring))).unwrap_or(0);
        let put_us = QUIET_US + rng.below(span_us);
        let second = put_us / 1_000_000 + rng.between(1, 4);
        let late_us = rng.between(0, 2_500_000);
        let refresh_us = (second * 1_000_000 + late_us).saturating_sub(1_000_000);
        let later = second + rng.between(1, 600);
        let id = index(operations) + 2 * pair;
        let mut ask = |at_us: u64, id: u64, kind: OperationKind| {
            let region = rng.index(config.regions.len());
            let operation = Operation {
                id: id + 1,
                client: index(region) * config.clients_per_region,
                region,
                way: None,
                bytes: 0,
                kind,
            };
            steps.push(Step {
                at_us,
                act: Act::Ask(operation),
            });
        };
        ask(put_us, id, OperationKind::PutExpiring { key, second });
        if pair % 4 != 0 {
            let second = later;
            ask(refresh_us, id + 1, OperationKind::Refresh { key, second });
        }
    }
    steps
}
