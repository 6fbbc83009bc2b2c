//! The three operations that run PartiQL statements (expressions.md section 10, api.md section 3).
//!
//! Nothing here has an engine of its own: a SELECT is pages of Query or Scan, a write is the request that
//! PutItem, UpdateItem or DeleteItem would send, a transaction is that of TransactWriteItems.

pub(crate) mod batch_execute_statement;
pub(crate) mod execute_statement;
pub(crate) mod execute_transaction;

mod reads;
mod statement;
mod token;
mod writes;
