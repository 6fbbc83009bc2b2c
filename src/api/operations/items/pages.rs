//! What Query and Scan share: Select, the page, fetching from the table, the answer
//! (api.md section 3, errors-and-validation.md section 5).

use super::body::{Body, write_list};
use crate::api::capacity::{Consumed, Direction, Report, read_units};
use crate::api::params::{self, Checked, ProjectionParams, Substitutes};
use crate::api::projection::{Projection, needs_table};
use crate::api::{Backend, Constraints, Fields, enums, throttle};
use crate::expression::Condition;
use crate::item::{Item, size::item_size};
use crate::replica::catalog::{IndexDef, IndexKind, Projection as Projected, TableDef};
use crate::replica::request::{Page, PageRequest};
use crate::replica::{ApiError, read};
use crate::store::ReadTxn;

/// Names have 3 to 255 characters.
const INDEX_NAME: (usize, usize) = (3, 255);

/// The `Select` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Select {
    AllAttributes,
    AllProjected,
    Specific,
    Count,
}

/// Which of the two operations words its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Query,
    Scan,
}

/// The members that Query and Scan have in common.
pub(crate) struct PageParams {
    pub(crate) name: Option<String>,
    pub(crate) index: Option<String>,
    pub(crate) select: Option<String>,
    pub(crate) limit: Option<i64>,
    pub(crate) consistent: bool,
    pub(crate) start: Option<Checked<Item>>,
    pub(crate) filter: Option<String>,
    pub(crate) operator: Option<String>,
    pub(crate) projection: ProjectionParams,
    pub(crate) substitutes: Substitutes,
    pub(crate) report: Option<String>,
}

impl PageParams {
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(PageParams {
            name: fields.string("TableName")?,
            index: fields.string("IndexName")?,
            select: fields.string("Select")?,
            limit: fields.integer("Limit")?,
            consistent: fields.boolean("ConsistentRead")?.unwrap_or(false),
            start: params::item_member(fields, "ExclusiveStartKey")?,
            filter: fields.string("FilterExpression")?,
            operator: fields.string("ConditionalOperator")?,
            projection: ProjectionParams::take(fields)?,
            substitutes: Substitutes::take(fields)?,
            report: fields.string("ReturnConsumedCapacity")?,
        })
    }

    pub(crate) fn constrain(&self, constraints: &mut Constraints) {
        constraints.one_of("select", self.select.as_deref(), enums::SELECT);
        if let Some(index) = &self.index {
            constraints.name_pattern("indexName", index);
            constraints.length("indexName", index, INDEX_NAME.0, INDEX_NAME.1);
        }
        params::constrain_report(self.report.as_deref(), constraints);
        let operator = self.operator.as_deref();
        constraints.one_of("conditionalOperator", operator, enums::CONDITIONAL_OPERATOR);
        self.projection.constrain("attributesToGet", constraints);
    }

    pub(crate) fn select(&self) -> Option<Select> {
        match self.select.as_deref() {
            Some("ALL_ATTRIBUTES") => Some(Select::AllAttributes),
            Some("ALL_PROJECTED_ATTRIBUTES") => Some(Select::AllProjected),
            Some("SPECIFIC_ATTRIBUTES") => Some(Select::Specific),
            Some("COUNT") => Some(Select::Count),
            _ => None,
        }
    }

    /// `Limit` after its constraint has been checked.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
            .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// The rules of Select that need no table.
    pub(crate) fn admit_select(&self, reader: Reader) -> Result<(), ApiError> {
        let refuse = |message: String| Err(ApiError::Validation(message));
        match self.select() {
            Some(Select::Specific) if !self.projection.given() => {
                let message = "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES";
                refuse(match reader {
                    Reader::Query => format!("1 validation error detected: {message}"),
                    Reader::Scan => message.into(),
                })
            }
            Some(Select::AllProjected) if self.index.is_none() => refuse(
                "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName".into(),
            ),
            None | Some(Select::Specific) => Ok(()),
            Some(_) if !self.projection.given() => Ok(()),
            Some(_) => {
                let parameter = match self.projection.attributes {
                    Some(_) => "AttributesToGet",
                    None => "ProjectionExpression",
                };
                refuse(format!(
                    "Cannot specify the {parameter} when choosing to get {}",
                    self.select.as_deref().unwrap_or_default()
                ))
            }
        }
    }
}

/// A read, admitted but for its table.
pub(crate) struct PageRead {
    pub(crate) request: PageRequest,
    pub(crate) select: Option<Select>,
    pub(crate) projection: Projection,
    pub(crate) consistent: bool,
    pub(crate) report: Report,
}

impl PageRead {
    /// The index that is read, which must be there and, when global, is never read consistently.
    pub(crate) fn index<'t>(&self, table: &'t TableDef) -> Result<Option<&'t IndexDef>, ApiError> {
        let Some(name) = &self.request.index else {
            return Ok(None);
        };
        let index = table.index(name).ok_or_else(|| {
            ApiError::validation(format!(
                "The table does not have the specified index: {name}"
            ))
        })?;
        if self.consistent && index.kind == IndexKind::Global {
            return Err(ApiError::validation(
                "Consistent reads are not supported on global secondary indexes",
            ));
        }
        Ok(Some(index))
    }

    /// ALL_ATTRIBUTES of a global index needs them all to be projected.
    pub(crate) fn admit_all_attributes(&self, index: Option<&IndexDef>) -> Result<(), ApiError> {
        let lacking = |index: &&IndexDef| {
            index.kind == IndexKind::Global && index.projection != Projected::All
        };
        match index.filter(lacking) {
            Some(index) if self.select == Some(Select::AllAttributes) => {
                Err(params::invalid_parameter(format!(
                    "Select type ALL_ATTRIBUTES is not supported for global secondary index {} because its \
                     projection type is not ALL",
                    index.name
                )))
            }
            _ => Ok(()),
        }
    }

    /// Whether entries of the index must be completed from the table.
    fn fetches(&self, table: &TableDef, index: &IndexDef) -> Result<bool, ApiError> {
        if self.select != Some(Select::AllAttributes) {
            return needs_table(&self.projection, table, index);
        }
        Ok(index.projection != Projected::All)
    }

    /// Reads the page and writes the answer.
    pub(crate) fn answer(
        mut self,
        backend: &dyn Backend,
        txn: &dyn ReadTxn,
        table: &TableDef,
        index: Option<&IndexDef>,
    ) -> Result<Vec<u8>, ApiError> {
        let mut consumed = Consumed::new(&table.name);
        let page = self.collect(backend, txn, table, index, &mut consumed)?;
        Ok(self.write(&page, &consumed))
    }

    /// Reads the page: the items that pass the filter, completed from the table where that is asked.
    pub(crate) fn collect(
        &mut self,
        backend: &dyn Backend,
        txn: &dyn ReadTxn,
        table: &TableDef,
        index: Option<&IndexDef>,
        consumed: &mut Consumed,
    ) -> Result<Page, ApiError> {
        let fetches = match index {
            Some(index) => self.fetches(table, index)?,
            None => false,
        };
        // A filter sees what is returned, so it waits until the items are complete.
        let filter = if fetches {
            self.request.filter.take()
        } else {
            None
        };
        let sure = read_units(0, self.consistent);
        let held = throttle::admit_read(backend, table, index, sure)?;
        let mut used = Consumed::new(&table.name);
        let mut page = read::page(txn, table, &self.request)?;
        let units = read_units(page.scanned_bytes, self.consistent);
        match index {
            Some(index) => used.add_index(&index.name, index.kind, units),
            None => used.add_table(units),
        }
        if fetches {
            complete(txn, table, &mut page, self.consistent, &mut used)?;
            if let Some(filter) = &filter {
                page.items.retain(|item| Condition::matches(filter, item));
            }
            self.request.filter = filter;
        }
        throttle::settle(backend, table, &held, &used, Direction::Read);
        consumed.add(&used);
        Ok(page)
    }

    fn write(&self, page: &Page, consumed: &Consumed) -> Vec<u8> {
        let mut body = Body::new();
        if self.select != Some(Select::Count) {
            let out = body.member("Items");
            write_list(out, &page.items, |out, item| {
                self.projection.write(item, out)
            });
        }
        body.count("Count", page.items.len());
        body.count("ScannedCount", page.scanned);
        if let Some(key) = &page.last_key {
            body.item("LastEvaluatedKey", key);
        }
        body.capacity(self.report, consumed);
        body.finish()
    }
}

/// Replaces entries of a local index by their items; each costs a read of the table.
fn complete(
    txn: &dyn ReadTxn,
    table: &TableDef,
    page: &mut Page,
    consistent: bool,
    consumed: &mut Consumed,
) -> Result<(), ApiError> {
    for entry in &mut page.items {
        let key = table.keys.key_of(entry);
        // Index and items are one transaction: an entry without its item can not be seen.
        let item = read::get(txn, table, &key)?.ok_or_else(|| {
            ApiError::InternalServer("an index entry names an item that is not there".into())
        })?;
        consumed.add_table(read_units(item_size(&item), consistent));
        *entry = item;
    }
    Ok(())
}
