//! What must hold of the rows of a table that merges, for `check`: they can be read, and say the same.

use super::State;
use crate::replica::catalog::{Merging, TableDef};
use crate::replica::record::Record;
use crate::replica::{keys, read};
use crate::store::{Db, ReadTxn, StoreError};

/// How many rows of a table hold marks that cannot be read, or that make another item than theirs.
pub(in crate::replica) fn wrong(txn: &dyn ReadTxn, def: &TableDef) -> Result<usize, StoreError> {
    if def.merging == Merging::Items {
        return Ok(0);
    }
    let names: Vec<String> = def.keys.names().map(str::to_owned).collect();
    let mut wrong = 0;
    for row in read::rows(txn, Db::Items, &keys::table_prefix(def.uid), usize::MAX)? {
        let stored = txn.get(Db::Items, &row)?.unwrap_or_default();
        let holds = Record::decode(stored).and_then(|record| {
            let form = State::read(&record, &names)?.form()?;
            let (image, marks) = (form.image.as_deref(), form.marks.as_deref());
            Ok((image, marks) == (record.image, record.marks))
        });
        wrong += usize::from(!holds.unwrap_or(false));
    }
    Ok(wrong)
}
