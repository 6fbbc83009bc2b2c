//! UpdateTimeToLive (streams-ttl-backup.md section 2). What may follow what is decided in the writer.

use serde_json::json;

use super::{change, find, refuse_busy};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error, fields};
use crate::replica::request::{TableChange, WriteRequest};

const ATTRIBUTE_MAX: usize = 255;
const MEMBER: &str = "timeToLiveSpecification";

/// Runs UpdateTimeToLive.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields.string("TableName")?;
    let mut given = fields.structure("TimeToLiveSpecification", "TimeToLiveSpecification")?;
    let (enabled, attribute) = match &mut given {
        Some(given) => (given.boolean("Enabled")?, given.string("AttributeName")?),
        None => (None, None),
    };
    let table = fields::table_name(name)?;
    let mut c = Constraints::default();
    c.required(MEMBER, given.as_ref());
    if given.is_some() {
        c.required(&format!("{MEMBER}.enabled"), enabled.as_ref());
        let path = format!("{MEMBER}.attributeName");
        c.required(&path, attribute.as_ref());
        if let Some(attribute) = &attribute {
            c.length(&path, attribute, 1, ATTRIBUTE_MAX);
        }
    }
    c.finish()?;
    let (enabled, attribute) = (enabled.unwrap_or_default(), attribute.unwrap_or_default());
    refuse_busy(backend, &find(backend, &table)?)?;
    let echo = json!({"Enabled": enabled, "AttributeName": attribute});
    let change_to = TableChange::TimeToLive { enabled, attribute };
    let request = WriteRequest::UpdateTable {
        table,
        change: change_to,
    };
    change(backend, request).await?;
    Ok(error::object([("TimeToLiveSpecification", echo)]))
}
