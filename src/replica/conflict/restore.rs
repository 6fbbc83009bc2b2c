//! Writing a loser back: an ordinary new write of this region, under the condition that nothing has
//! replaced the version it lost to. The same commit says which conflict that settles, so that every region
//! that knows of it marks it.

use super::{Conflict, ConflictId, get};
use crate::clock::Now;
use crate::expression::{Path, SetOperand, SetValue, Update};
use crate::item::{Item, codec};
use crate::replica::catalog::{Merging, TableDef};
use crate::replica::execute::Plan;
use crate::replica::mutation::{Change, Mutation};
use crate::replica::request::{ItemWrite, WriteAction, WriteResponse};
use crate::replica::{ApiError, ExecuteError, Replica, merge, read};
use crate::store::{ReadTxn, StoreError, WriteTxn};

impl Replica {
    /// Restores the loser of a conflict. With `force`, whatever is there now.
    pub(in crate::replica) fn restore(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        id: ConflictId,
        force: bool,
    ) -> Result<WriteResponse, ExecuteError> {
        let Some(kept) = get(txn.as_read(), id)? else {
            let message = format!("Conflict {id} is not kept in this region");
            return Err(ApiError::ResourceNotFound(message).into());
        };
        let conflict = kept.conflict;
        let def = self.table(txn.as_read(), &conflict.table)?;
        let write = ItemWrite {
            table: def.name.clone(),
            action: action(&def, &conflict)?,
            condition: None,
            return_old_on_failure: false,
        };
        let plan = self.plan(txn.as_read(), &write)?;
        if !force && !is_still_there(txn.as_read(), &conflict, &plan)? {
            let item = plan.outcome.old;
            return Err(ApiError::ConditionalCheckFailed { item }.into());
        }
        let issued = self.hlc.tick(now);
        let mut changes = vec![Change::Restored { conflict: id }];
        changes.extend(self.change_of(txn, now, &plan, issued)?);
        let mutation = |change| Mutation {
            version: None,
            change,
        };
        let mutations = changes.into_iter().map(mutation).collect();
        self.commit_local(txn, now, plan.def.group, mutations, issued)?;
        Ok(WriteResponse::Item(Box::new(plan.outcome)))
    }
}

/// The write that makes the loser.
fn action(def: &TableDef, conflict: &Conflict) -> Result<WriteAction, ExecuteError> {
    let Some(image) = &conflict.loser_image else {
        return Ok(WriteAction::Delete {
            key: key(def, conflict)?,
        });
    };
    let mut item = codec::decode(image).map_err(read::damaged)?;
    if def.merging == Merging::Items {
        return Ok(WriteAction::Put { item });
    }
    // Only what was lost is in the image: what else is there stays.
    let key = key(def, conflict)?;
    item.retain(|name, _| !key.contains_key(name));
    let assign = |(root, value)| {
        let steps = Vec::new();
        let value = SetValue::Operand(SetOperand::Value(value));
        (Path { root, steps }, value)
    };
    let update = Update {
        set: item.into_iter().map(assign).collect(),
        ..Update::default()
    };
    Ok(WriteAction::Update { key, update })
}

/// The key attributes of the item that the conflict is about. A table made anew may have other ones.
fn key(def: &TableDef, conflict: &Conflict) -> Result<Item, ApiError> {
    def.keys
        .key_item(&conflict.key.partition, &conflict.key.sort)
        .ok_or_else(|| {
            ApiError::validation("The key of the conflict does not fit its table's schema")
        })
}

/// Whether the item still is the version that won. Of a table that lost its name to another: whether that
/// one has nothing at the key.
fn is_still_there(txn: &dyn ReadTxn, conflict: &Conflict, plan: &Plan) -> Result<bool, StoreError> {
    if let Some(edit) = plan.edit.as_ref().filter(|_| plan.def.uid == conflict.uid) {
        return merge::is_still_as(txn, &plan.def, &plan.key, edit, conflict.winner.rank);
    }
    let current = read::version(txn, &plan.def, &plan.key)?;
    if plan.def.uid != conflict.uid {
        return Ok(current.is_none_or(|(_, image)| image.is_none()));
    }
    Ok(match current {
        Some((version, _)) => version.rank == conflict.winner.rank,
        // The tombstone that won may have been collected since.
        None => conflict.winner_image.is_none(),
    })
}
