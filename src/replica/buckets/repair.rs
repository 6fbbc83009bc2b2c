//! What a peer has where the two differ: put back if the disk lost it, merged if it was lost on the way.

use super::{Offer, Offered, add, as_sum, bucket_of};
use crate::clock::{Hlc, Now, Stamp};
use crate::item::codec;
use crate::replica::catalog::{Merging, TableDef};
use crate::replica::keys::{self, meta};
use crate::replica::record::Record;
use crate::replica::{Replica, TableState, merge};
use crate::store::{Db, StoreError, WriteTxn};

impl Replica {
    /// A peer's items of a bucket that differs, or is suspect here.
    ///
    /// An offered version was lost here when this region has applied the commit that made it and has nothing
    /// as great: that is the whole test, so what is merely on its way is never taken for lost. (What comes with a
    /// table that is new here is no exception: nothing is merged before the table is settled, and what the disk has
    /// lost is known by its sum.)
    pub(in crate::replica) fn repair(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        offer: &Offer,
    ) -> Result<(), StoreError> {
        let uid = offer.table;
        let TableState::Live(def) = self.table_by_uid(txn.as_read(), uid)? else {
            return Ok(());
        };
        if !def.group.contains(self.config.region) {
            return Ok(());
        }
        self.buckets.save(txn)?;
        // What the disk has lost of late was not lost on the way: it is in the sum already.
        let counted = self.is_counted(txn, now, (uid, offer.bucket))?;
        let mut offered = Vec::new();
        for item in &offer.items {
            if self.is_lost(offer, item)? {
                offered.push(item.clone());
            }
        }
        let suspect = txn.get(Db::Meta, &meta::suspect(uid, offer.bucket))?;
        match suspect.map(as_sum) {
            Some(off) => self.put_back(txn, offer, &offered, off),
            None if counted => self.merge(txn, now, &def, (&offered, offer.asked_us)),
            None => Ok(()),
        }
    }

    /// Whether the commits that made an offered version are applied here; and it is one that can be.
    fn is_lost(&self, offer: &Offer, item: &Offered) -> Result<bool, StoreError> {
        let sane = Hlc::admit(item.version.rank.stamp).is_ok()
            && Hlc::admit(item.version.issued).is_ok()
            && bucket_of(&keys::item_row(offer.table, &item.key)) == offer.bucket
            && (item.image.as_deref()).is_none_or(|image| codec::decode(image).is_ok());
        Ok(sane && self.has_all_of(item.version, item.marks.as_deref())?)
    }

    /// Puts back what the disk has changed, if that is what the bucket is `off` its sum by: then everything
    /// derived from it is right as it is.
    fn put_back(
        &mut self,
        txn: &mut dyn WriteTxn,
        offer: &Offer,
        offered: &[Offered],
        off: u128,
    ) -> Result<(), StoreError> {
        let (uid, bucket, hash) = (offer.table, offer.bucket, self.buckets.hash);
        let (mut gain, mut put) = (0u128, Vec::new());
        for item in offered.iter().filter(|item| item.image.is_some()) {
            let row = keys::item_row(uid, &item.key);
            let stored = txn.get(Db::Items, &row)?;
            let here = stored.and_then(|stored| Record::decode(stored).ok());
            if here.is_some_and(|here| here.version.rank > item.version.rank) {
                continue;
            }
            let has = stored.map_or(0, |stored| hash.weigh_stored(&row, stored));
            let wanted = hash.weigh(&row, item.version, item.image.as_deref());
            if has != wanted {
                gain = gain.wrapping_sub(has).wrapping_add(wanted);
                put.push((row, record(item).encode(), has, wanted));
            }
        }
        if gain != off {
            return Ok(());
        }
        for (row, record, has, wanted) in &put {
            txn.put(Db::Items, row, record)?;
            self.buckets.scrub.change(row, *has, *wanted);
        }
        txn.delete(Db::Meta, &meta::suspect(uid, bucket))?;
        crate::mark!("item repaired");
        add(txn, meta::REPAIRS, put.len() as u64)
    }

    /// Merges what was lost by rank, through the one door.
    fn merge(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        def: &TableDef,
        (offered, asked_us): (&[Offered], u64),
    ) -> Result<(), StoreError> {
        if !self.is_settled(txn.as_read(), def)? {
            return Ok(());
        }
        let floor = self.tombstone_floor(txn.as_read(), now, def.uid, Stamp::MIN)?;
        for item in offered {
            let row = keys::item_row(def.uid, &item.key);
            let here = txn.get(Db::Items, &row)?.map(Record::decode).transpose()?;
            match here {
                // Of a table that merges, one version may be more in one region than in another.
                Some(here)
                    if here.version.rank == item.version.rank && def.merging != Merging::Items =>
                {
                    let adds = merge::form::adds(&here, &item.incoming(def.uid), def)?;
                    let dot = item.version.dot;
                    if !adds || !(self.buckets).is_missed_still(row, dot, asked_us, now) {
                        continue;
                    }
                }
                Some(here) if here.version.rank >= item.version.rank => continue,
                // A deletion that was collected here.
                None if item.image.is_none() => continue,
                None if item.version.issued <= floor => {
                    if (self.buckets).is_missed_still(row, item.version.dot, asked_us, now) {
                        add(txn, meta::REPAIRS_REPORTED, 1)?;
                    }
                    continue;
                }
                _ => {}
            }
            let version = item.version;
            let carrier = (version.dot, version.issued);
            self.apply_item(txn, now, carrier, &item.incoming(def.uid))?;
            crate::mark!("item repaired");
            add(txn, meta::REPAIRS, 1)?;
        }
        Ok(())
    }
}

fn record(item: &Offered) -> Record<'_> {
    Record {
        version: item.version,
        partition: &item.key.partition,
        image: item.image.as_deref(),
        marks: item.marks.as_deref(),
    }
}
