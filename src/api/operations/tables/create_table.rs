//! CreateTable (api.md section 4; order of checks: errors-and-validation.md section 3.2).

use super::description::{Status, describe};
use super::indexes::{self, IndexSpec};
use super::schema::{self, Definitions, Keys};
use super::settings::Settings;
use super::tags::Tags;
use super::{change, invalid, local, now_ms};
use crate::api::operations::Answer;
use crate::api::operations::control::policy;
use crate::api::{Backend, Constraints, Fields, error, fields};
use crate::replica::ApiError;
use crate::replica::catalog::{IndexKind, LocalSettings, TableDef, TableUid, TimeToLive};
use crate::replica::mutation::GroupId;
use crate::replica::read::TableDetails;
use crate::replica::request::WriteRequest;

/// A request with its JSON types checked.
struct Request {
    name: Option<String>,
    definitions: Definitions,
    keys: Keys,
    local: Option<Vec<IndexSpec>>,
    global: Option<Vec<IndexSpec>>,
    settings: Settings,
    tags: Option<Tags>,
    vectors: bool,
    source: bool,
}

/// Runs CreateTable.
pub(crate) async fn run(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let request = take(&mut fields)?;
    let name = table_name(request.name.clone())?;
    constrain(&request)?;
    let def = Box::new(definition(name, &request)?);
    let local = Box::new(local_settings(&request)?);
    let created = change(backend, WriteRequest::CreateTable { def, local }).await?;
    let empty = TableDetails::default();
    let description = describe(backend.region(), &created, Status::Creating, &empty);
    Ok(error::object([("TableDescription", description)]))
}

fn take(fields: &mut Fields) -> Result<Request, ApiError> {
    Ok(Request {
        definitions: Definitions::take(fields)?,
        name: fields.string("TableName")?,
        keys: Keys::take(fields)?,
        local: IndexSpec::take_list(fields, "LocalSecondaryIndexes", "LocalSecondaryIndex")?,
        global: IndexSpec::take_list(fields, "GlobalSecondaryIndexes", "GlobalSecondaryIndex")?,
        settings: Settings::take(fields)?,
        tags: Tags::take(fields)?,
        vectors: fields
            .list("VectorIndexes")?
            .is_some_and(|list| !list.is_empty()),
        source: fields.string("GlobalTableSourceArn")?.is_some(),
    })
}

/// The name of a new table: stricter than that of an existing one, and reported alone.
fn table_name(given: Option<String>) -> Result<String, ApiError> {
    let given = given.ok_or_else(|| fields::missing("TableName"))?;
    if given.starts_with("arn:") {
        return fields::table_name(Some(given));
    }
    let mut constraints = Constraints::default();
    schema::name_constraints(&mut constraints, "tableName", Some(&given));
    constraints.finish()?;
    Ok(given)
}

fn constrain(request: &Request) -> Result<(), ApiError> {
    let mut c = Constraints::default();
    if request.source {
        return Err(ApiError::validation(
            "Multi-account global tables are not supported",
        ));
    }
    request.definitions.constrain(&mut c, true);
    request.keys.constrain(&mut c, "keySchema", 2);
    for (list, path, kind) in [
        (&request.local, "localSecondaryIndexes", IndexKind::Local),
        (&request.global, "globalSecondaryIndexes", IndexKind::Global),
    ] {
        for (at, index) in list.iter().flatten().enumerate() {
            index.constrain(&mut c, &format!("{path}.{}.member", at + 1), kind);
        }
    }
    request.settings.constrain(&mut c);
    if let Some(tags) = &request.tags {
        tags.constrain(&mut c);
    }
    c.finish()
}

fn definition(name: String, request: &Request) -> Result<TableDef, ApiError> {
    let throughput = request.settings.new_billing()?;
    let attributes = request.definitions.attributes()?;
    let indexed = request.local.is_some() || request.global.is_some();
    let keys = schema::table_keys(&request.keys, &attributes, indexed)?;
    let mut indexes = indexes::local_indexes(request.local.as_deref(), &attributes, &keys)?;
    indexes::global_indexes(
        request.global.as_deref(),
        &attributes,
        throughput.is_none(),
        &mut indexes,
    )?;
    schema::all_used(&attributes, &keys, &indexes)?;
    if request.vectors {
        return Err(invalid("vector indexes are not supported"));
    }
    let stream_view = request.settings.new_stream()?;
    let merging = request.tags.as_ref().map_or(Ok(None), Tags::merging)?;
    let merging = merging.unwrap_or_default();
    let mut def = TableDef {
        name,
        // The replica fills in uid, group, creation time and the ids of the indexes.
        uid: TableUid(0),
        group: GroupId(0),
        attributes,
        keys,
        indexes,
        created_us: 0,
        updated_us: 0,
        throughput,
        stream_view,
        stream_us: None,
        protected: GroupId(0),
        members: Vec::new(),
        ttl: TimeToLive::default(),
        recorded: Vec::new(),
        next_index: 0,
        merging,
    };
    request.settings.record_new(&mut def)?;
    for index in request.global.iter().flatten() {
        index.record(&mut def)?;
    }
    Ok(def)
}

/// What the region of the request alone keeps.
fn local_settings(request: &Request) -> Result<LocalSettings, ApiError> {
    let mut kept = LocalSettings {
        deletion_protection: request.settings.protection.unwrap_or(false),
        ..LocalSettings::default()
    };
    if let Some(tags) = &request.tags {
        tags.admit()?;
        local::set(&mut kept, local::TAGS, &tags.to_json());
    }
    if let Some(text) = &request.settings.policy {
        policy::put(&mut kept, text, now_ms())?;
    }
    Ok(kept)
}
