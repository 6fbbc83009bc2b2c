//! DescribeContributorInsights.

use serde_json::Value;

use super::super::tables::local;
use super::insights;
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, fields};

/// Runs DescribeContributorInsights.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let name = fields.string("TableName")?;
    let index = fields.string("IndexName")?;
    let name = fields::table_name(name)?;
    let mut c = Constraints::default();
    if let Some(index) = &index {
        super::super::tables::name_constraints(&mut c, "indexName", Some(index));
    }
    c.finish()?;
    let (def, settings) = local::find(backend, &name)?;
    insights::admit_index(&def, index.as_deref())?;
    let described = insights::describe(&def, &settings, index.as_deref());
    Ok(Value::Object(described).to_string().into_bytes())
}
