//! Statements. What they say of items is in the trees of [`crate::expression`]; parameters are already in
//! their places.

use crate::expression::{Condition, Path, Update};
use crate::item::Item;

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    Select(Select),
    Insert(Insert),
    Update(UpdateStatement),
    Delete(Delete),
    /// `EXISTS(SELECT ...)`: a condition check, in transactions only.
    Exists(Select),
}

impl Statement {
    /// Whether the statement only reads. EXISTS stands with the writes that it guards.
    pub fn reads(&self) -> bool {
        matches!(self, Statement::Select(_))
    }

    /// The table that the statement is about.
    pub fn table(&self) -> &str {
        match self {
            Statement::Select(select) | Statement::Exists(select) => &select.table,
            Statement::Insert(insert) => &insert.table,
            Statement::Update(update) => &update.table,
            Statement::Delete(delete) => &delete.table,
        }
    }
}

/// `SELECT ... FROM "table"."index" WHERE ... ORDER BY ...`
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    pub table: String,
    pub index: Option<String>,
    /// `None` is `*`.
    pub columns: Option<Vec<Column>>,
    pub filter: Option<Condition>,
    pub order: Vec<Order>,
}

/// A path of the select clause and the name under which its value is returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub path: Path,
    pub name: String,
}

/// One key of ORDER BY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub attribute: String,
    pub descending: bool,
}

/// `INSERT INTO table VALUE {...}`
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    pub table: String,
    pub item: Item,
}

/// `UPDATE table SET ... REMOVE ... WHERE ... RETURNING ...`, or the same with FROM first.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateStatement {
    pub table: String,
    pub update: Update,
    pub filter: Option<Condition>,
    pub returning: Option<Returning>,
}

/// `DELETE FROM table WHERE ... RETURNING ALL OLD *`
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    pub table: String,
    pub filter: Option<Condition>,
    pub returning: Option<Returning>,
}

/// What a write returns of its item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returning {
    AllOld,
    AllNew,
    ModifiedOld,
    ModifiedNew,
}

impl Returning {
    /// As written, without the star.
    pub fn name(self) -> &'static str {
        match self {
            Returning::AllOld => "ALL OLD",
            Returning::AllNew => "ALL NEW",
            Returning::ModifiedOld => "MODIFIED OLD",
            Returning::ModifiedNew => "MODIFIED NEW",
        }
    }
}
