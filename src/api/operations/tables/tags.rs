//! Tags (values-and-keys.md section 4). They live in the table's definition, so that unlike AWS's they
//! are the same in every region of the table.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::schema::{NAME_MAX, NAME_MIN};
use super::settings::{self, recorded};
use super::{change, invalid, lookup};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error};
use crate::replica::ApiError;
use crate::replica::catalog::TableDef;
use crate::replica::request::{TableChange, WriteRequest};

const TAGS_MAX: usize = 50;
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;
const ARN_MAX: usize = 1283;

/// A Tags list as sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Tags {
    given: Vec<(Option<String>, Option<String>)>,
}

impl Tags {
    pub(super) fn take(fields: &mut Fields) -> Result<Option<Self>, ApiError> {
        let Some(list) = fields.structures("Tags", "Tag")? else {
            return Ok(None);
        };
        let given = list
            .into_iter()
            .map(|mut tag| Ok((tag.string("Key")?, tag.string("Value")?)));
        Ok(Some(Tags {
            given: given.collect::<Result<_, ApiError>>()?,
        }))
    }

    pub(super) fn constrain(&self, c: &mut Constraints) {
        for (at, (key, value)) in self.given.iter().enumerate() {
            let path = format!("tags.{}.member", at + 1);
            c.required(&format!("{path}.key"), key.as_ref());
            if let Some(key) = key {
                c.length(&format!("{path}.key"), key, 1, KEY_MAX);
            }
            c.required(&format!("{path}.value"), value.as_ref());
            if let Some(value) = value {
                c.length(&format!("{path}.value"), value, 0, VALUE_MAX);
            }
        }
    }

    /// The rules beyond the constraints.
    pub(super) fn admit(&self) -> Result<(), ApiError> {
        let mut seen = BTreeMap::new();
        for (key, value) in &self.given {
            let key = key.as_deref().unwrap_or_default();
            let value = value.as_deref().unwrap_or_default();
            if !(legal(key) && legal(value)) {
                return Err(invalid(format!(
                    "Tag keys and values may only contain letters, white space, numbers and the characters \
                     + - = . _ : / @, Tag: {key}={value}"
                )));
            }
            if key.starts_with("aws:") {
                return Err(ApiError::validation(format!(
                    "Tag Key cannot be prefixed with aws:, Key: {key}"
                )));
            }
            if seen.insert(key, ()).is_some() {
                return Err(ApiError::validation(format!(
                    "Duplicate Tag Keys provided as input: Duplicate Tag Key found {key}"
                )));
            }
        }
        if seen.len() > TAGS_MAX {
            return Err(too_many());
        }
        Ok(())
    }

    fn map(&self) -> BTreeMap<String, String> {
        self.given
            .iter()
            .map(|(k, v)| (k.clone().unwrap_or_default(), v.clone().unwrap_or_default()))
            .collect()
    }

    pub(super) fn to_json(&self) -> Value {
        list_of(&self.map())
    }
}

/// The characters that the developer guide allows in tags.
fn legal(text: &str) -> bool {
    let one = |c: char| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c);
    text.chars().all(one)
}

fn too_many() -> ApiError {
    ApiError::validation("Number of Tags exceed the current limit for the provided ResourceArn")
}

fn list_of(tags: &BTreeMap<String, String>) -> Value {
    tags.iter()
        .map(|(key, value)| json!({"Key": key, "Value": value}))
        .collect()
}

/// The tags of a definition.
fn tags_of(def: &TableDef) -> BTreeMap<String, String> {
    let list = recorded(def, settings::TAGS);
    let text = |tag: &Value, name: &str| tag.get(name).and_then(Value::as_str).map(str::to_owned);
    let pair = |tag: &Value| Some((text(tag, "Key")?, text(tag, "Value")?));
    list.as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(pair)
        .collect()
}

/// Checks `ResourceArn` alone, as far as it needs no table.
fn constrain_arn(arn: Option<&String>, c: &mut Constraints) {
    c.required("resourceArn", arn);
    if let Some(arn) = arn {
        c.length("resourceArn", arn, 1, ARN_MAX);
    }
}

/// The name of the table that an ARN means; tables are all that can be tagged. Nothing is looked up.
fn table_of(backend: &dyn Backend, arn: &str) -> Result<String, ApiError> {
    if !arn.starts_with("arn:") {
        return Err(invalid(format!("ARNs must start with 'arn:': {arn}")));
    }
    let malformed = || {
        ApiError::validation(format!(
            "Invalid TableArn: Invalid ResourceArn provided as input {arn}"
        ))
    };
    let mut parts = arn.splitn(6, ':').skip(2);
    let (Some("dynamodb"), Some(region), Some(account), Some(resource)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    let own = backend.region();
    if account != own.account {
        return Err(ApiError::AccessDenied("Access is denied".into()));
    }
    let name = resource.strip_prefix("table/").unwrap_or_default();
    if name.contains("/index/") {
        return Err(invalid(format!(
            "Invalid resource arn provided, only table or stream is accepted. Provided resource arn: {arn}"
        )));
    }
    if region != own.name || !(NAME_MIN..=NAME_MAX).contains(&name.len()) {
        return Err(malformed());
    }
    Ok(name.to_owned())
}

/// The table of an ARN.
fn table(backend: &dyn Backend, arn: &str) -> Result<TableDef, ApiError> {
    let name = table_of(backend, arn)?;
    lookup(backend, &name)?.ok_or_else(|| {
        ApiError::ResourceNotFound(format!(
            "Requested resource not found: ResourcArn: {arn} not found"
        ))
    })
}

async fn store(
    backend: &dyn Backend,
    mut def: TableDef,
    tags: &BTreeMap<String, String>,
) -> Answer {
    settings::set(&mut def, settings::TAGS, list_of(tags));
    let table = def.name.clone();
    change(
        backend,
        WriteRequest::UpdateTable {
            table,
            change: TableChange::Settings(Box::new(def)),
        },
    )
    .await?;
    Ok(Vec::new())
}

/// Runs ListTagsOfResource; 50 tags fit one page.
pub(crate) async fn list(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let arn = fields.string("ResourceArn")?;
    fields.string("NextToken")?;
    let mut c = Constraints::default();
    constrain_arn(arn.as_ref(), &mut c);
    c.finish()?;
    let def = table(backend, &arn.unwrap_or_default())?;
    Ok(error::object([("Tags", list_of(&tags_of(&def)))]))
}

/// Runs TagResource.
pub(crate) async fn tag(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let arn = fields.string("ResourceArn")?;
    let given = Tags::take(&mut fields)?;
    let mut c = Constraints::default();
    constrain_arn(arn.as_ref(), &mut c);
    c.required("tags", given.as_ref());
    let given = given.unwrap_or_default();
    given.constrain(&mut c);
    c.finish()?;
    let arn = arn.unwrap_or_default();
    table_of(backend, &arn)?;
    if given.given.is_empty() {
        return Err(ApiError::validation(
            "Atleast one Tag needs to be provided as Input.",
        ));
    }
    given.admit()?;
    let def = table(backend, &arn)?;
    let mut tags = tags_of(&def);
    tags.extend(given.map());
    if tags.len() > TAGS_MAX {
        return Err(too_many());
    }
    store(backend, def, &tags).await
}

/// Runs UntagResource.
pub(crate) async fn untag(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let arn = fields.string("ResourceArn")?;
    let keys = fields.strings("TagKeys")?;
    let mut c = Constraints::default();
    constrain_arn(arn.as_ref(), &mut c);
    c.required("tagKeys", keys.as_ref());
    c.finish()?;
    let arn = arn.unwrap_or_default();
    table_of(backend, &arn)?;
    let keys = keys.unwrap_or_default();
    if keys.is_empty() {
        return Err(ApiError::validation(
            "Atleast one Tag Key needs to be provided as Input.",
        ));
    }
    let def = table(backend, &arn)?;
    let mut tags = tags_of(&def);
    for key in &keys {
        tags.remove(key);
    }
    store(backend, def, &tags).await
}
