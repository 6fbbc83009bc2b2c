//! `execute`: evaluates a request against what is stored, and makes it a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::catalog::{Merging, TableDef};
use super::error::{ApiError, CancellationReason};
use super::keys::{self, meta};
use super::merge::edit::Edit;
use super::mutation::{Change, GroupId, ItemKey, Mutation};
use super::record::Record;
use super::request::{ItemOutcome, ItemWrite, WriteAction, WriteRequest, WriteResponse};
use super::{ExecuteError, Replica, collection, index, members, read};
use crate::clock::{Now, Stamp};
use crate::expression::Update;
use crate::item::{Item, KeyError, codec, size};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// How long a transaction's token is remembered, microseconds (api.md section 3).
const TOKEN_LIFE_US: u64 = 600_000_000;

/// Of an UpdateExpression that copies a value of the wrong type into an index key (values-and-keys.md section 3).
const COPIED_INDEX_TYPE: &str =
    "The update expression attempted to update the secondary index key to unsupported type";

/// What values-and-keys.md section 5 says of items over 400 KB.
const PUT_TOO_LARGE: &str = "Item size has exceeded the maximum allowed size";
const UPDATE_TOO_LARGE: &str = "Item size to update has exceeded the maximum allowed size";

/// A write that has passed its condition and is ready to be made.
pub(super) struct Plan {
    pub(super) def: Arc<TableDef>,
    pub(super) key: ItemKey,
    /// What to store; the outer `None` = nothing changes.
    pub(super) image: Option<Option<Vec<u8>>>,
    /// How an update of a table that merges comes to it.
    pub(super) edit: Option<Edit>,
    pub(super) outcome: ItemOutcome,
}

impl Replica {
    pub(super) fn execute(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        request: WriteRequest,
    ) -> Result<WriteResponse, ExecuteError> {
        match request {
            WriteRequest::Item(write) => {
                let plan = self.plan(txn.as_read(), &write)?;
                let mut outcomes = self.make(txn, now, vec![plan])?;
                Ok(WriteResponse::Item(Box::new(
                    outcomes.pop().unwrap_or_default(),
                )))
            }
            WriteRequest::Batch(writes) => {
                let plans = writes
                    .iter()
                    .map(|w| self.plan(txn.as_read(), w))
                    .collect::<Result<Vec<_>, _>>()?;
                if has_duplicates(&plans) {
                    return Err(ApiError::validation(
                        "Provided list of item keys contains duplicates",
                    )
                    .into());
                }
                Ok(WriteResponse::Items(self.make(txn, now, plans)?))
            }
            WriteRequest::Transaction { writes, token } => self.transact(txn, now, &writes, token),
            WriteRequest::CreateTable { def, local } => self.create_table(txn, now, *def, *local),
            WriteRequest::UpdateTable { table, change } => {
                self.update_table(txn, now, &table, change)
            }
            WriteRequest::DeleteTable { table } => self.delete_table(txn, now, &table),
            WriteRequest::RestoreConflict { id, force } => self.restore(txn, now, id, force),
        }
    }

    /// All or nothing: every condition is evaluated on the state before, and every failure reported.
    fn transact(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        writes: &[ItemWrite],
        token: Option<(String, u64)>,
    ) -> Result<WriteResponse, ExecuteError> {
        if let Some((token, digest)) = &token
            && let Some(sizes) = replayed(txn.as_read(), now, token, *digest)?
        {
            return Ok(WriteResponse::Replayed(sizes));
        }
        self.refuse_duplicates(txn.as_read(), writes)?;
        let mut plans = Vec::with_capacity(writes.len());
        let mut reasons = Vec::with_capacity(writes.len());
        let mut invalid = false;
        for write in writes {
            if invalid {
                reasons.push(CancellationReason::default());
                continue;
            }
            match self.plan(txn.as_read(), write) {
                Ok(plan) => {
                    plans.push(plan);
                    reasons.push(CancellationReason::default());
                }
                Err(ExecuteError::Api(ApiError::ConditionalCheckFailed { item })) => {
                    let message = ApiError::ConditionalCheckFailed { item: None }.to_string();
                    reasons.push(reason("ConditionalCheckFailed", Some(message), item));
                }
                Err(ExecuteError::Api(error @ ApiError::ItemCollectionSizeLimitExceeded)) => {
                    let message = Some(error.to_string());
                    reasons.push(reason("ItemCollectionSizeLimitExceeded", message, None));
                }
                Err(ExecuteError::Api(ApiError::Validation(message))) => {
                    invalid = true;
                    reasons.push(reason("ValidationError", Some(message), None));
                }
                Err(other) => return Err(other),
            }
        }
        if reasons.iter().any(|r| r.code != "None") {
            return Err(ApiError::TransactionCanceled { reasons }.into());
        }
        let outcomes = self.make(txn, now, plans)?;
        if let Some((token, digest)) = token {
            remember(txn, now, &token, digest, &outcomes)?;
        }
        Ok(WriteResponse::Items(outcomes))
    }

    fn refuse_duplicates(
        &mut self,
        txn: &dyn ReadTxn,
        writes: &[ItemWrite],
    ) -> Result<(), ExecuteError> {
        let mut seen = BTreeSet::new();
        for write in writes {
            let def = self.table(txn, &write.table)?;
            if let Ok(key) = def.keys.bytes(key_of(&write.action))
                && !seen.insert((def.uid, ItemKey::from(key)))
            {
                let message = "Transaction request cannot include multiple operations on one item";
                return Err(ApiError::validation(message).into());
            }
        }
        Ok(())
    }

    /// The table of that name, if it has a replica here.
    pub(super) fn table(
        &mut self,
        txn: &dyn ReadTxn,
        name: &str,
    ) -> Result<Arc<TableDef>, ExecuteError> {
        if let Some(def) = self.names.get(name) {
            return Ok(def.clone());
        }
        let Some(def) = read::table(txn, self.config.region, name)? else {
            return Err(ApiError::resource_not_found().into());
        };
        if members::is_joining(txn, &def, self.config.region)? {
            return Err(ApiError::resource_not_found().into());
        }
        let def = Arc::new(def);
        self.names.insert(name.to_owned(), def.clone());
        Ok(def)
    }

    /// Reads the item, evaluates the condition, and says what would change.
    pub(super) fn plan(
        &mut self,
        txn: &dyn ReadTxn,
        write: &ItemWrite,
    ) -> Result<Plan, ExecuteError> {
        let def = self.table(txn, &write.table)?;
        let key: ItemKey = match &write.action {
            WriteAction::Put { item } => def.keys.admit_item(item)?.into(),
            WriteAction::Update { key, update } => {
                let bytes = def.keys.admit_key(key)?;
                refuse_key_updates(&def, update)?;
                bytes.into()
            }
            WriteAction::Delete { key } | WriteAction::Check { key } => {
                def.keys.admit_key(key)?.into()
            }
        };
        if let WriteAction::Put { item } = &write.action {
            index::admit(&def, &key, item)?;
            if index::size_with_local_entries(&def, item) > size::ITEM_SIZE_MAX {
                return Err(ApiError::validation(PUT_TOO_LARGE).into());
            }
        }
        let old = current(txn, &def, &key)?;
        if let Some(condition) = &write.condition {
            let empty = Item::new();
            if !condition.matches(old.as_ref().unwrap_or(&empty)) {
                let item = old.filter(|_| write.return_old_on_failure);
                return Err(ApiError::ConditionalCheckFailed { item }.into());
            }
        }
        let (new, touched, changes) = match &write.action {
            WriteAction::Put { item } => (Some(item.clone()), Vec::new(), true),
            WriteAction::Delete { .. } => (None, Vec::new(), old.is_some()),
            WriteAction::Check { .. } => (old.clone(), Vec::new(), false),
            WriteAction::Update {
                key: key_item,
                update,
            } => updated(&def, &key, old.as_ref(), key_item, update)?,
        };
        let limit = self.config.limits.collection_bytes;
        let (before, after) = (old.as_ref(), new.as_ref());
        collection::admit(txn, &def, &key.partition, before, after, limit)?;
        let index_units = index::write_units(&def, old.as_ref(), new.as_ref());
        let image = changes.then(|| new.as_ref().map(codec::encode));
        let edit = match (&write.action, &new, def.merging) {
            (WriteAction::Update { update, .. }, Some(new), Merging::Attributes) => {
                Some(Edit::of(update, def.keys.key_of(new), new))
            }
            _ => None,
        };
        Ok(Plan {
            def,
            key,
            image,
            edit,
            outcome: ItemOutcome {
                old,
                new,
                touched,
                index_units,
                collection_bytes: 0,
            },
        })
    }

    /// Makes planned writes: one commit for each group they touch, under one stamp.
    fn make(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        plans: Vec<Plan>,
    ) -> Result<Vec<ItemOutcome>, StoreError> {
        let mut groups: BTreeMap<GroupId, Vec<Mutation>> = BTreeMap::new();
        let writes = plans.iter().any(|plan| plan.image.is_some());
        let issued = writes.then(|| self.hlc.tick(now));
        let mut outcomes = Vec::with_capacity(plans.len());
        let mut collections = Vec::with_capacity(plans.len());
        for plan in plans {
            collections.push(
                collection::has_collections(&plan.def)
                    .then(|| (plan.def.uid, plan.key.partition.clone())),
            );
            if let Some(issued) = issued
                && let Some(change) = self.change_of(txn, now, &plan, issued)?
            {
                groups.entry(plan.def.group).or_default().push(Mutation {
                    version: None,
                    change,
                });
            }
            outcomes.push(plan.outcome);
        }
        if let Some(issued) = issued {
            for (group, mutations) in groups {
                self.commit_local(txn, now, group, mutations, issued)?;
            }
        }
        for (outcome, collection) in outcomes.iter_mut().zip(collections) {
            if let Some((uid, partition)) = collection {
                outcome.collection_bytes = collection::size_of(txn.as_read(), uid, &partition)?;
            }
        }
        Ok(outcomes)
    }
}

impl Replica {
    /// What a planned write changes, as part of the commit that this region makes next in the table's group.
    pub(super) fn change_of(
        &mut self,
        txn: &mut dyn WriteTxn,
        now: Now,
        plan: &Plan,
        issued: Stamp,
    ) -> Result<Option<Change>, StoreError> {
        let Some(image) = &plan.image else {
            return Ok(None);
        };
        if let Some(edit) = &plan.edit {
            return self.merged_change(txn, now, plan, edit, issued).map(Some);
        }
        Ok(Some(Change::Item {
            table: plan.def.uid,
            key: plan.key.clone(),
            image: image.clone(),
        }))
    }
}

fn reason(code: &'static str, message: Option<String>, item: Option<Item>) -> CancellationReason {
    CancellationReason {
        code,
        message,
        item,
    }
}

fn has_duplicates(plans: &[Plan]) -> bool {
    let mut seen = BTreeSet::new();
    plans
        .iter()
        .any(|plan| !seen.insert((plan.def.uid, &plan.key)))
}

fn key_of(action: &WriteAction) -> &Item {
    match action {
        WriteAction::Put { item } => item,
        WriteAction::Update { key, .. }
        | WriteAction::Delete { key }
        | WriteAction::Check { key } => key,
    }
}

fn current(txn: &dyn ReadTxn, def: &TableDef, key: &ItemKey) -> Result<Option<Item>, StoreError> {
    let Some(stored) = txn.get(Db::Items, &keys::item_row(def.uid, key))? else {
        return Ok(None);
    };
    Record::decode(stored)?
        .image
        .map(codec::decode)
        .transpose()
        .map_err(read::damaged)
}

fn refuse_key_updates(def: &TableDef, update: &Update) -> Result<(), ApiError> {
    match update
        .targets()
        .find(|path| def.keys.names().any(|name| name == path.root))
    {
        None => Ok(()),
        Some(path) => Err(ApiError::Validation(format!(
            "One or more parameter values were invalid: Cannot update attribute {}. This attribute is part of the key",
            path.root
        ))),
    }
}

type Updated = (Option<Item>, Vec<crate::expression::Path>, bool);

/// Applies an update to an item or to its absence.
fn updated(
    def: &TableDef,
    base: &ItemKey,
    old: Option<&Item>,
    key: &Item,
    update: &Update,
) -> Result<Updated, ExecuteError> {
    let empty = Item::new();
    let (new, touched) = update.apply(old.unwrap_or(&empty), key)?;
    if old.is_none() && !update.creates_item() {
        return Ok((None, touched, false));
    }
    index::admit(def, base, &new).map_err(|error| match error {
        // `api` refused what the request alone tells: this type came out of the item.
        KeyError::IndexTypeMismatch { .. } if !update.legacy => {
            ApiError::validation(COPIED_INDEX_TYPE)
        }
        other => ApiError::validation(other.to_string()),
    })?;
    // Measured of UpdateItem: the keys do not count, what the actions are charged does, and the item must fit.
    let charged = size::item_size(&new).saturating_sub(size::item_size(&def.keys.key_of(&new)))
        + update.surcharge();
    if charged.max(index::size_with_local_entries(def, &new)) > size::ITEM_SIZE_MAX {
        return Err(ApiError::validation(UPDATE_TOO_LARGE).into());
    }
    Ok((Some(new), touched, true))
}

/// What a transaction of this token found and left, if it was used with the same parameters within its life.
fn replayed(
    txn: &dyn ReadTxn,
    now: Now,
    token: &str,
    digest: u64,
) -> Result<Option<Vec<usize>>, ExecuteError> {
    let Some(stored) = txn.get(Db::Meta, &meta::token(token))? else {
        return Ok(None);
    };
    let (expires_us, stored_digest, sizes) = parse_token(stored)?;
    if expires_us <= now.wall_us {
        return Ok(None);
    }
    if stored_digest != digest {
        return Err(ApiError::IdempotentParameterMismatch(
            "The request uses the same client token as a previous, but non-identical request. \
             Do not reuse a client token with different requests, unless the requests are identical"
                .into(),
        )
        .into());
    }
    Ok(Some(sizes))
}

fn parse_token(stored: &[u8]) -> Result<(u64, u64, Vec<usize>), StoreError> {
    let damaged = || StoreError::Damaged("a transaction's token cannot be read".into());
    let (head, sizes) = stored.split_at_checked(16).ok_or_else(damaged)?;
    let (expires_us, digest) = head.split_at(8);
    let word = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes);
    let (Ok(expires_us), Ok(digest)) = (word(expires_us), word(digest)) else {
        return Err(damaged());
    };
    let mut parsed = Vec::with_capacity(sizes.len() / 4);
    for size in sizes.chunks(4) {
        let size = size.try_into().map(u32::from_be_bytes);
        let size = size.ok().and_then(|size| usize::try_from(size).ok());
        parsed.push(size.ok_or_else(damaged)?);
    }
    Ok((expires_us, digest, parsed))
}

/// Remembers a token for its life, and what a replay is charged by; `chores` forgets it after.
fn remember(
    txn: &mut dyn WriteTxn,
    now: Now,
    token: &str,
    digest: u64,
    outcomes: &[ItemOutcome],
) -> Result<(), StoreError> {
    let expires_us = now.wall_us.saturating_add(TOKEN_LIFE_US);
    let mut value = [expires_us.to_be_bytes(), digest.to_be_bytes()].concat();
    for outcome in outcomes {
        // An item is at most 400 KB.
        let size = u32::try_from(outcome.size()).unwrap_or(u32::MAX);
        value.extend_from_slice(&size.to_be_bytes());
    }
    txn.put(Db::Meta, &meta::token(token), &value)?;
    txn.put(Db::Meta, &meta::token_expiry(expires_us, token), &[])
}
