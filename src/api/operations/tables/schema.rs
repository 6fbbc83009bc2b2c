//! Keys and attribute definitions of CreateTable and UpdateTable
//! (values-and-keys.md section 3.2, errors-and-validation.md section 5).

use std::collections::BTreeSet;

use super::{ApiError, invalid};
use crate::api::{Constraints, Fields, enums};
use crate::item::{KeyAttribute, KeySchema, KeyType};
use crate::replica::catalog::IndexDef;

pub(super) const NAME_MIN: usize = 3;
pub(super) const NAME_MAX: usize = 255;
/// The longest name of a key or projected attribute.
pub(super) const KEY_NAME_MAX: usize = 255;

/// An element of a KeySchema as sent.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyElement {
    pub(super) name: String,
    pub(super) role: String,
}

/// What was sent in place of a structure with two required strings.
type Pair = (Option<String>, Option<String>);

/// An AttributeDefinitions list as sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Definitions {
    given: Option<Vec<Pair>>,
}

/// A KeySchema as sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    given: Option<Vec<Pair>>,
}

fn pairs(
    fields: &mut Fields,
    member: &str,
    shape: &str,
    names: [&str; 2],
) -> Result<Option<Vec<Pair>>, ApiError> {
    let Some(list) = fields.structures(member, shape)? else {
        return Ok(None);
    };
    let [first, second] = names;
    list.into_iter()
        .map(|mut e| Ok((e.string(first)?, e.string(second)?)))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Java's way of printing a list of structures with two members.
fn shown(list: &[Pair], shape: &str, names: [&str; 2]) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".into());
    let [first, second] = names;
    let element = |(a, b): &Pair| format!("{shape}({first}={}, {second}={})", text(a), text(b));
    format!(
        "'[{}]'",
        list.iter().map(element).collect::<Vec<_>>().join(", ")
    )
}

fn key_name_constraints(c: &mut Constraints, path: &str, name: Option<&String>) {
    c.required(path, name);
    if let Some(name) = name {
        c.length(path, name, 1, KEY_NAME_MAX);
    }
}

impl Definitions {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let names = ["AttributeName", "AttributeType"];
        Ok(Definitions {
            given: pairs(fields, "AttributeDefinitions", "AttributeDefinition", names)?,
        })
    }

    pub(super) fn constrain(&self, c: &mut Constraints, required: bool) {
        if required {
            c.required("attributeDefinitions", self.given.as_ref());
        }
        for (at, (name, kind)) in self.given.iter().flatten().enumerate() {
            let path = format!("attributeDefinitions.{}.member", at + 1);
            key_name_constraints(c, &format!("{path}.attributeName"), name.as_ref());
            c.required(&format!("{path}.attributeType"), kind.as_ref());
            c.one_of(
                &format!("{path}.attributeType"),
                kind.as_deref(),
                enums::ATTRIBUTE_TYPE,
            );
        }
    }

    /// The definitions; no attribute may be defined twice.
    pub(super) fn attributes(&self) -> Result<Vec<KeyAttribute>, ApiError> {
        let mut attributes: Vec<KeyAttribute> = Vec::new();
        for (name, kind) in self.given.iter().flatten() {
            let name = name.clone().unwrap_or_default();
            let kind = match kind.as_deref() {
                Some("N") => KeyType::N,
                Some("B") => KeyType::B,
                _ => KeyType::S,
            };
            if attributes.iter().any(|a| a.name == name) {
                return Err(ApiError::validation(format!(
                    "Attribute Name is duplicated: {name}"
                )));
            }
            attributes.push(KeyAttribute { name, kind });
        }
        Ok(attributes)
    }
}

impl Keys {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Keys {
            given: pairs(
                fields,
                "KeySchema",
                "KeySchemaElement",
                ["AttributeName", "KeyType"],
            )?,
        })
    }

    pub(super) fn constrain(&self, c: &mut Constraints, path: &str, max: usize) {
        c.required(path, self.given.as_ref());
        let Some(list) = &self.given else { return };
        c.count(
            path,
            list.len(),
            &shown(list, "KeySchemaElement", ["attributeName", "keyType"]),
            1,
            max,
        );
        for (at, (name, role)) in list.iter().enumerate() {
            let path = format!("{path}.{}.member", at + 1);
            key_name_constraints(c, &format!("{path}.attributeName"), name.as_ref());
            c.required(&format!("{path}.keyType"), role.as_ref());
            c.one_of(&format!("{path}.keyType"), role.as_deref(), enums::KEY_TYPE);
        }
    }

    /// HASH or RANGE, for an attribute of this key.
    pub(super) fn role_of(&self, attribute: &str) -> Option<&str> {
        let is = |(name, _): &&Pair| name.as_deref() == Some(attribute);
        self.given.iter().flatten().find(is)?.1.as_deref()
    }

    /// The elements, once the constraints hold.
    pub(super) fn elements(&self) -> Vec<KeyElement> {
        let element = |(name, role): &Pair| KeyElement {
            name: name.clone().unwrap_or_default(),
            role: role.clone().unwrap_or_default(),
        };
        self.given.iter().flatten().map(element).collect()
    }
}

/// The table's key (tables and LSIs: one HASH, at most one RANGE).
pub(super) fn table_keys(
    keys: &Keys,
    defined: &[KeyAttribute],
    indexed: bool,
) -> Result<KeySchema, ApiError> {
    let elements = keys.elements();
    if elements.len() > defined.len() {
        return Err(ApiError::validation(
            "Invalid KeySchema: Some index key attribute have no definition",
        ));
    }
    all_defined(&elements, defined)?;
    distinct(&elements)?;
    hash_then_range(&elements)?;
    if !indexed && elements.len() != defined.len() {
        return Err(invalid(
            "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
        ));
    }
    Ok(build(&elements, defined))
}

/// Every key attribute must be among the definitions.
pub(super) fn all_defined(
    elements: &[KeyElement],
    defined: &[KeyAttribute],
) -> Result<(), ApiError> {
    if elements.iter().all(|e| kind_of(defined, &e.name).is_some()) {
        return Ok(());
    }
    let listed = |names: Vec<&str>| names.join(", ");
    Err(invalid(format!(
        "Some index key attributes are not defined in AttributeDefinitions. Keys: [{}], AttributeDefinitions: [{}]",
        listed(elements.iter().map(|e| e.name.as_str()).collect()),
        listed(defined.iter().map(|a| a.name.as_str()).collect()),
    )))
}

pub(super) fn distinct(elements: &[KeyElement]) -> Result<(), ApiError> {
    let names: BTreeSet<&str> = elements.iter().map(|e| e.name.as_str()).collect();
    if names.len() == elements.len() {
        return Ok(());
    }
    Err(ApiError::validation(
        "Both the Hash Key and the Range Key element in the KeySchema have the same name",
    ))
}

pub(super) fn hash_then_range(elements: &[KeyElement]) -> Result<(), ApiError> {
    if elements.first().is_some_and(|e| e.role != "HASH") {
        return Err(ApiError::validation(
            "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
        ));
    }
    if elements.get(1).is_some_and(|e| e.role != "RANGE") {
        return Err(ApiError::validation(
            "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type",
        ));
    }
    Ok(())
}

pub(super) fn kind_of(defined: &[KeyAttribute], name: &str) -> Option<KeyType> {
    defined.iter().find(|a| a.name == name).map(|a| a.kind)
}

pub(super) fn build(elements: &[KeyElement], defined: &[KeyAttribute]) -> KeySchema {
    let of = |role: &str| {
        let named = elements.iter().filter(|e| e.role == role);
        named
            .filter_map(|e| {
                Some(KeyAttribute {
                    name: e.name.clone(),
                    kind: kind_of(defined, &e.name)?,
                })
            })
            .collect()
    };
    KeySchema {
        partition: of("HASH"),
        sort: of("RANGE"),
    }
}

/// The constraints on the name of a table or an index that is being made.
pub(crate) fn name_constraints(c: &mut Constraints, path: &str, name: Option<&str>) {
    c.required(path, name.as_ref());
    if let Some(name) = name {
        c.name_pattern(path, name);
        c.length(path, name, NAME_MIN, NAME_MAX);
    }
}

/// Every defined attribute must be used by some key.
pub(super) fn all_used(
    defined: &[KeyAttribute],
    table: &KeySchema,
    indexes: &[IndexDef],
) -> Result<(), ApiError> {
    let schemas = std::iter::once(table).chain(indexes.iter().map(|i| &i.keys));
    let mut used: Vec<&str> = Vec::new();
    for attribute in schemas.flat_map(|s| s.partition.iter().chain(&s.sort)) {
        if !used.contains(&attribute.name.as_str()) {
            used.push(&attribute.name);
        }
    }
    if used.len() >= defined.len() {
        return Ok(());
    }
    Err(invalid(format!(
        "Some AttributeDefinitions are not used. AttributeDefinitions: [{}], keys used: [{}]",
        defined
            .iter()
            .map(|a| a.name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
        used.join(", "),
    )))
}
