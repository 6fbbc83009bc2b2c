//! Bad disks, and O12: anti-entropy finds what they did, and nothing else.

use super::plan::{Config, Damage};
use super::report::OracleId;
use super::rng::Chance;
use super::world::{Trouble, World};
use crate::replica::buckets;

/// Within which damage must be found and put right: two rounds, and what asking takes.
const FOUND_US: u64 = 20_000_000;

/// Three of ten worlds have one, unless items expire there: what happens to an item after the damage would
/// be done to the wrong one.
pub fn drawn(config: &Config, chance: Chance) -> Option<Damage> {
    let mut rng = chance.of("damage", &[]);
    let damage = Damage {
        region: rng.index(config.regions.len()),
        nth: rng.index(1_000),
        flip: rng.coin(),
    };
    (config.expiring == 0 && rng.per_mille(300)).then_some(damage)
}

impl World<'_> {
    /// Once all is equal the disk does its worst. True when there is nothing (more) to wait for.
    pub(super) fn survives_damage(&mut self) -> Result<bool, Trouble> {
        if let Some(damage) = self.plan.config.damage.take() {
            let done = self.regions[damage.region].damage(damage)?;
            self.trace(Some(damage.region), || format!("{damage:?}: {done}"));
            self.damaged = done.then_some((damage.region, self.now_us));
        }
        if let Some((region, at_us)) = self.damaged {
            if self.repaired(region)? == 0 {
                let (late, name) = (
                    self.now_us - at_us > FOUND_US,
                    self.regions[region].name.clone(),
                );
                if late {
                    self.oracles.report(
                        OracleId::Backstop,
                        format!("{name} has not found what its disk did"),
                    );
                }
                return Ok(false);
            }
            self.repairs += 1;
            self.damaged = None;
        }
        Ok(true)
    }

    /// Whether the region's items are damaged at present.
    pub(super) fn is_damaged(&self, region: usize) -> Result<bool, Trouble> {
        let damaged = self.damaged.is_some_and(|(damaged, _)| damaged == region);
        Ok(damaged && self.repaired(region)? == 0)
    }

    fn repaired(&self, region: usize) -> Result<u64, Trouble> {
        let txn = self.regions[region].snapshot()?;
        Ok(buckets::repairs(&*txn)?.repaired)
    }

    /// O12, in the end.
    pub(super) fn check_repairs(&mut self) -> Result<(), Trouble> {
        let mut repaired = 0;
        let mut rest = 0;
        for region in &self.regions {
            let found = buckets::repairs(&*region.snapshot()?)?;
            repaired += found.repaired;
            rest += found.reported + found.suspects as u64;
        }
        let wanted = self.repairs;
        self.oracles.check(
            OracleId::Backstop,
            repaired == wanted && rest == 0,
            |_| format!("{repaired} items were repaired where disks damaged {wanted}, and {rest} things reported"),
        );
        Ok(())
    }
}

impl super::host::Region {
    /// What a bad disk does. False when there is nothing to damage.
    fn damage(&mut self, damage: Damage) -> Result<bool, Trouble> {
        self.on_disk(|txn, region| {
            let Some(def) =
                crate::replica::read::table(txn.as_read(), region, super::workload::TABLE)?
            else {
                return Ok(false);
            };
            buckets::damage(txn, def.uid, damage.nth, damage.flip)
        })
        .map_err(Trouble::from)
    }
}
