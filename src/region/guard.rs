//! Whose store this is: written once, checked at every start.
//!
//! A store started under another region's name would issue that region's stamps and sequence numbers a
//! second time (I1), and one of another cluster would mix two histories.

use super::RegionError;
use crate::clock::RegionId;
use crate::replica::buckets::CLUSTER_KEY;
use crate::store::{Db, ReadTxn, Store};

const REGION_KEY: &[u8] = b"g/region";

/// Makes `store` this region's when it is new, and refuses it when it is another's.
pub(super) fn admit(
    store: &dyn Store,
    cluster_id: &[u8; 16],
    region: &str,
    id: u16,
) -> Result<(), RegionError> {
    let owner = format!("{region} (id {id})");
    let mut txn = store.begin_write()?;
    let cluster = txn.get(Db::Meta, CLUSTER_KEY)?.map(<[u8]>::to_vec);
    let found = txn.get(Db::Meta, REGION_KEY)?.map(<[u8]>::to_vec);
    match (cluster, found) {
        (None, None) => {
            txn.put(Db::Meta, CLUSTER_KEY, cluster_id)?;
            txn.put(Db::Meta, REGION_KEY, owner.as_bytes())?;
            txn.commit()?;
            Ok(())
        }
        (Some(cluster), Some(found)) => {
            let cluster: [u8; 16] = cluster
                .try_into()
                .map_err(|_length| RegionError::Guard("the cluster id".to_string()))?;
            if cluster != *cluster_id {
                return Err(RegionError::OtherCluster {
                    found: hex(cluster),
                    expected: hex(*cluster_id),
                });
            }
            if found != owner.as_bytes() {
                return Err(RegionError::OtherRegion {
                    found: String::from_utf8_lossy(&found).into_owned(),
                    expected: owner,
                });
            }
            Ok(())
        }
        _ => Err(RegionError::Guard("one half is missing".to_string())),
    }
}

/// Whose store this is: its region's name and id.
pub(super) fn owner(txn: &dyn ReadTxn) -> Result<(String, RegionId), RegionError> {
    let found = txn.get(Db::Meta, REGION_KEY)?.unwrap_or_default();
    let parsed = std::str::from_utf8(found).ok().and_then(|text| {
        let (name, id) = text.strip_suffix(')')?.split_once(" (id ")?;
        Some((name.to_string(), RegionId(id.parse().ok()?)))
    });
    parsed.ok_or_else(|| RegionError::Guard("the region".to_string()))
}

fn hex(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::mem::MemStore;

    #[test]
    fn a_store_is_refused_to_others() {
        let store = MemStore::new();
        admit(&store, &[1; 16], "us-east-1", 0).expect("a new store");
        admit(&store, &[1; 16], "us-east-1", 0).expect("its own store");
        let other = admit(&store, &[2; 16], "us-east-1", 0).expect_err("another cluster");
        assert!(
            other.to_string().contains("belongs to cluster 0101"),
            "{other}"
        );
        let renamed = admit(&store, &[1; 16], "eu-west-1", 0).expect_err("another name");
        assert!(
            renamed
                .to_string()
                .contains("us-east-1 (id 0), not eu-west-1"),
            "{renamed}"
        );
        admit(&store, &[1; 16], "us-east-1", 3).expect_err("another id");
    }
}
