//! Tags (values-and-keys.md section 4): each region's own, never replicated. One is not like the others: `meridian:merge`
//! is a part of the table's definition, the same in every region (docs/merging.md).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{arn, change_settings, invalid, local};
use crate::api::operations::Answer;
use crate::api::{Backend, Constraints, Fields, error};
use crate::replica::ApiError;
use crate::replica::catalog::{LocalSettings, Merging, TableDef};

/// The tag that says how a table merges, and its one value.
const MERGE: &str = "meridian:merge";
const ATTRIBUTES: &str = "attributes";
const TAGS_MAX: usize = 50;
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;

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
            if key == MERGE && value != ATTRIBUTES {
                return Err(invalid(format!(
                    "The tag {MERGE} must be '{ATTRIBUTES}', or be left out for the last writer to win the whole item"
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

    /// The tags that the region keeps.
    fn map(&self) -> BTreeMap<String, String> {
        self.given
            .iter()
            .map(|(k, v)| (k.clone().unwrap_or_default(), v.clone().unwrap_or_default()))
            .filter(|(key, _)| key != MERGE)
            .collect()
    }

    pub(super) fn to_json(&self) -> Value {
        list_of(&self.map())
    }

    /// How the table is to merge, where the tags say so.
    pub(super) fn merging(&self) -> Result<Option<Merging>, ApiError> {
        self.admit()?;
        let given = self
            .given
            .iter()
            .any(|(key, _)| key.as_deref() == Some(MERGE));
        Ok(given.then_some(Merging::Attributes))
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

/// The tags that this region keeps.
fn tags_of(local: &LocalSettings) -> BTreeMap<String, String> {
    let list = local::get(local, local::TAGS);
    let text = |tag: &Value, name: &str| tag.get(name).and_then(Value::as_str).map(str::to_owned);
    let pair = |tag: &Value| Some((text(tag, "Key")?, text(tag, "Value")?));
    list.as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(pair)
        .collect()
}

/// The tags of a table as this region shows them.
fn shown(def: &TableDef, local: &LocalSettings) -> BTreeMap<String, String> {
    let mut tags = tags_of(local);
    if def.merging == Merging::Attributes {
        tags.insert(MERGE.into(), ATTRIBUTES.into());
    }
    tags
}

/// Changes how a table merges.
async fn change_merging(
    backend: &dyn Backend,
    arn: &str,
    merging: Merging,
) -> Result<(), ApiError> {
    let (def, _) = arn::tagged(backend, arn)?;
    if def.merging != merging {
        let edit = |def: &mut TableDef| {
            def.merging = merging;
            Ok(())
        };
        change_settings(backend, &def.name, edit).await?;
    }
    Ok(())
}

/// Changes the tags of the resource.
async fn change(
    backend: &dyn Backend,
    arn: &str,
    edit: impl Fn(&mut BTreeMap<String, String>),
) -> Answer {
    local::change(
        backend,
        || arn::tagged(backend, arn),
        |def, local| {
            let mut tags = tags_of(local);
            edit(&mut tags);
            let merges = usize::from(def.merging == Merging::Attributes);
            if tags.len() + merges > TAGS_MAX {
                return Err(too_many());
            }
            local::set(local, local::TAGS, &list_of(&tags));
            Ok(Vec::new())
        },
    )
    .await
}

/// Runs ListTagsOfResource; 50 tags fit one page.
pub(crate) async fn list(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let arn = fields.string("ResourceArn")?;
    fields.string("NextToken")?;
    let mut c = Constraints::default();
    arn::constrain(arn.as_ref(), &mut c);
    c.finish()?;
    let (def, local) = arn::tagged(backend, &arn.unwrap_or_default())?;
    Ok(error::object([("Tags", list_of(&shown(&def, &local)))]))
}

/// Runs TagResource.
pub(crate) async fn tag(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let arn = fields.string("ResourceArn")?;
    let given = Tags::take(&mut fields)?;
    let mut c = Constraints::default();
    arn::constrain(arn.as_ref(), &mut c);
    c.required("tags", given.as_ref());
    let given = given.unwrap_or_default();
    given.constrain(&mut c);
    c.finish()?;
    let arn = arn.unwrap_or_default();
    arn::tagged_table(backend, &arn)?;
    if given.given.is_empty() {
        return Err(ApiError::validation(
            "Atleast one Tag needs to be provided as Input.",
        ));
    }
    if let Some(merging) = given.merging()? {
        change_merging(backend, &arn, merging).await?;
    }
    let added = given.map();
    change(backend, &arn, |tags| tags.extend(added.clone())).await
}

/// Runs UntagResource.
pub(crate) async fn untag(backend: &dyn Backend, mut fields: Fields) -> Answer {
    let arn = fields.string("ResourceArn")?;
    let keys = fields.strings("TagKeys")?;
    let mut c = Constraints::default();
    arn::constrain(arn.as_ref(), &mut c);
    c.required("tagKeys", keys.as_ref());
    c.finish()?;
    let arn = arn.unwrap_or_default();
    arn::tagged_table(backend, &arn)?;
    let keys = keys.unwrap_or_default();
    if keys.is_empty() {
        return Err(ApiError::validation(
            "Atleast one Tag Key needs to be provided as Input.",
        ));
    }
    if keys.iter().any(|key| key == MERGE) {
        change_merging(backend, &arn, Merging::Items).await?;
    }
    change(backend, &arn, |tags| {
        tags.retain(|key, _| !keys.contains(key))
    })
    .await
}
