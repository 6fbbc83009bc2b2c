//! Keys, indexes and attribute definitions of CreateTable and UpdateTable
//! (values-and-keys.md section 3.2, errors-and-validation.md section 5).

use std::collections::BTreeSet;

use super::settings::Throughput;
use super::{ApiError, invalid};
use crate::api::{Constraints, Fields, enums};
use crate::item::{KeyAttribute, KeySchema, KeyType};
use crate::replica::catalog::{IndexDef, IndexKind, Projection};

const NAME_MIN: usize = 3;
pub(super) const NAME_MAX: usize = 255;
/// The longest name of a key or projected attribute.
const KEY_NAME_MAX: usize = 255;
/// Multi-attribute keys of a GSI: at most this many HASH and as many RANGE attributes.
const KEY_PARTS_MAX: usize = 4;
const NON_KEY_ATTRIBUTES_MAX: usize = 20;
pub(super) const GLOBAL_INDEXES_MAX: usize = 20;
const LOCAL_INDEXES_MAX: usize = 5;

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

/// An index as sent.
#[derive(Clone, Debug, Default)]
pub(super) struct IndexSpec {
    name: Option<String>,
    keys: Keys,
    projection: Option<(Option<String>, Option<Vec<String>>)>,
    throughput: Option<Throughput>,
}

fn pairs(fields: &mut Fields, member: &str, shape: &str, names: [&str; 2]) -> Result<Option<Vec<Pair>>, ApiError> {
    let Some(list) = fields.structures(member, shape)? else { return Ok(None) };
    let [first, second] = names;
    list.into_iter().map(|mut e| Ok((e.string(first)?, e.string(second)?))).collect::<Result<_, _>>().map(Some)
}

/// Java's way of printing a list of structures with two members.
fn shown(list: &[Pair], shape: &str, names: [&str; 2]) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".into());
    let [first, second] = names;
    let element = |(a, b): &Pair| format!("{shape}({first}={}, {second}={})", text(a), text(b));
    format!("'[{}]'", list.iter().map(element).collect::<Vec<_>>().join(", "))
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
        Ok(Definitions { given: pairs(fields, "AttributeDefinitions", "AttributeDefinition", names)? })
    }

    pub(super) fn constrain(&self, c: &mut Constraints, required: bool) {
        if required {
            c.required("attributeDefinitions", self.given.as_ref());
        }
        for (at, (name, kind)) in self.given.iter().flatten().enumerate() {
            let path = format!("attributeDefinitions.{}.member", at + 1);
            key_name_constraints(c, &format!("{path}.attributeName"), name.as_ref());
            c.required(&format!("{path}.attributeType"), kind.as_ref());
            c.one_of(&format!("{path}.attributeType"), kind.as_deref(), enums::ATTRIBUTE_TYPE);
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
                return Err(invalid("Cannot have two attributes with the same name"));
            }
            attributes.push(KeyAttribute { name, kind });
        }
        Ok(attributes)
    }
}

impl Keys {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Keys { given: pairs(fields, "KeySchema", "KeySchemaElement", ["AttributeName", "KeyType"])? })
    }

    pub(super) fn constrain(&self, c: &mut Constraints, path: &str, max: usize) {
        c.required(path, self.given.as_ref());
        let Some(list) = &self.given else { return };
        c.count(path, list.len(), &shown(list, "KeySchemaElement", ["attributeName", "keyType"]), 1, max);
        for (at, (name, role)) in list.iter().enumerate() {
            let path = format!("{path}.{}.member", at + 1);
            key_name_constraints(c, &format!("{path}.attributeName"), name.as_ref());
            c.required(&format!("{path}.keyType"), role.as_ref());
            c.one_of(&format!("{path}.keyType"), role.as_deref(), enums::KEY_TYPE);
        }
    }

    /// The elements, once the constraints hold.
    fn elements(&self) -> Vec<KeyElement> {
        let element = |(name, role): &Pair| KeyElement { name: name.clone().unwrap_or_default(), role: role.clone().unwrap_or_default() };
        self.given.iter().flatten().map(element).collect()
    }
}

/// The table's key (tables and LSIs: one HASH, at most one RANGE).
pub(super) fn table_keys(keys: &Keys, defined: &[KeyAttribute], indexed: bool) -> Result<KeySchema, ApiError> {
    let elements = keys.elements();
    distinct(&elements)?;
    if elements.iter().any(|e| kind_of(defined, &e.name).is_none()) {
        return Err(ApiError::validation("Invalid KeySchema: Some index key attribute have no definition"));
    }
    hash_then_range(&elements)?;
    if !indexed && elements.len() != defined.len() {
        return Err(invalid("Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions"));
    }
    Ok(build(&elements, defined))
}

fn distinct(elements: &[KeyElement]) -> Result<(), ApiError> {
    let names: BTreeSet<&str> = elements.iter().map(|e| e.name.as_str()).collect();
    if names.len() == elements.len() {
        return Ok(());
    }
    Err(ApiError::validation("Both the Hash Key and the Range Key element in the KeySchema have the same name"))
}

fn hash_then_range(elements: &[KeyElement]) -> Result<(), ApiError> {
    if elements.first().is_some_and(|e| e.role != "HASH") {
        return Err(ApiError::validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type"));
    }
    if elements.get(1).is_some_and(|e| e.role != "RANGE") {
        return Err(ApiError::validation("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"));
    }
    Ok(())
}

fn kind_of(defined: &[KeyAttribute], name: &str) -> Option<KeyType> {
    defined.iter().find(|a| a.name == name).map(|a| a.kind)
}

fn build(elements: &[KeyElement], defined: &[KeyAttribute]) -> KeySchema {
    let of = |role: &str| {
        let named = elements.iter().filter(|e| e.role == role);
        named.filter_map(|e| Some(KeyAttribute { name: e.name.clone(), kind: kind_of(defined, &e.name)? })).collect()
    };
    KeySchema { partition: of("HASH"), sort: of("RANGE") }
}

impl IndexSpec {
    /// One index; a local one has no throughput.
    pub(super) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let name = fields.string("IndexName")?;
        let keys = Keys::take(fields)?;
        let projection = match fields.structure("Projection", "Projection")? {
            None => None,
            Some(mut p) => Some((p.string("ProjectionType")?, p.strings("NonKeyAttributes")?)),
        };
        Ok(IndexSpec { name, keys, projection, throughput: Throughput::take(fields)? })
    }

    pub(super) fn take_list(fields: &mut Fields, member: &str, shape: &str) -> Result<Option<Vec<Self>>, ApiError> {
        let Some(list) = fields.structures(member, shape)? else { return Ok(None) };
        list.into_iter().map(|mut f| IndexSpec::take(&mut f)).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    pub(super) fn constrain(&self, c: &mut Constraints, path: &str, kind: IndexKind) {
        name_constraints(c, &format!("{path}.indexName"), self.name.as_deref());
        let keys_max = if kind == IndexKind::Local { 2 } else { 2 * KEY_PARTS_MAX };
        self.keys.constrain(c, &format!("{path}.keySchema"), keys_max);
        let projection_path = format!("{path}.projection");
        c.required(&projection_path, self.projection.as_ref());
        if let Some((kind, others)) = &self.projection {
            c.one_of(&format!("{projection_path}.projectionType"), kind.as_deref(), enums::PROJECTION_TYPE);
            if let Some(others) = others {
                let shown = format!("'[{}]'", others.join(", "));
                c.count(&format!("{projection_path}.nonKeyAttributes"), others.len(), &shown, 1, NON_KEY_ATTRIBUTES_MAX);
                for (at, name) in others.iter().enumerate() {
                    c.length(&format!("{projection_path}.nonKeyAttributes.{}.member", at + 1), name, 1, KEY_NAME_MAX);
                }
            }
        }
        if let Some(throughput) = &self.throughput {
            throughput.constrain(c, &format!("{path}.provisionedThroughput"));
        }
    }

    /// The definition of a GSI.
    pub(super) fn global(&self, defined: &[KeyAttribute], on_demand: bool) -> Result<IndexDef, ApiError> {
        let elements = self.defined_elements(defined)?;
        if elements.first().is_some_and(|e| e.role != "HASH") {
            return Err(ApiError::validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type"));
        }
        if elements.windows(2).any(|w| matches!(w, [a, b] if a.role == "RANGE" && b.role == "HASH")) {
            return Err(invalid("All HASH key attributes must precede RANGE key attributes in the KeySchema"));
        }
        distinct(&elements)?;
        for role in ["HASH", "RANGE"] {
            if elements.iter().filter(|e| e.role == role).count() > KEY_PARTS_MAX {
                return Err(invalid(format!("The KeySchema exceeds the maximum allowed number of {role} key attributes")));
            }
        }
        let projection = self.projection()?;
        let name = self.name();
        let throughput = match (&self.throughput, on_demand) {
            (Some(_), true) => {
                return Err(invalid(format!(
                    "ProvisionedThroughput should not be specified for index: {name} when BillingMode is PAY_PER_REQUEST"
                )));
            }
            (None, false) => return Err(invalid(format!("ProvisionedThroughput is not specified for index: {name}"))),
            (given, _) => given.as_ref().map(Throughput::units),
        };
        Ok(self.definition(IndexKind::Global, build(&elements, defined), projection, throughput))
    }

    /// The definition of an LSI of a table with these keys.
    fn local(&self, defined: &[KeyAttribute], table: &KeySchema) -> Result<IndexDef, ApiError> {
        let elements = self.defined_elements(defined)?;
        hash_then_range(&elements)?;
        distinct(&elements)?;
        let name = self.name();
        if elements.len() < 2 {
            return Err(invalid(format!("Index KeySchema does not have a range key for index: {name}")));
        }
        let keys = build(&elements, defined);
        let leading = |schema: &KeySchema| schema.partition.first().map(|a| a.name.clone()).unwrap_or_default();
        let (own, tables) = (leading(&keys), leading(table));
        if own != tables {
            return Err(invalid(format!(
                "Index KeySchema does not have the same leading hash key as table KeySchema for index: {name}. \
                 index hash key: {own}, table hash key: {tables}"
            )));
        }
        let projection = self.projection()?;
        Ok(self.definition(IndexKind::Local, keys, projection, None))
    }

    fn definition(&self, kind: IndexKind, keys: KeySchema, projection: Projection, throughput: Option<(u64, u64)>) -> IndexDef {
        // The replica gives the id.
        IndexDef { id: 0, name: self.name().to_owned(), kind, keys, projection, throughput }
    }

    /// The key elements, all of which must be defined.
    fn defined_elements(&self, defined: &[KeyAttribute]) -> Result<Vec<KeyElement>, ApiError> {
        let elements = self.keys.elements();
        if elements.iter().any(|e| kind_of(defined, &e.name).is_none()) {
            return Err(invalid(format!(
                "Some index key attributes are not defined in AttributeDefinitions. Keys: [{}], AttributeDefinitions: [{}]",
                elements.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", "),
                defined.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", "),
            )));
        }
        Ok(elements)
    }

    fn projection(&self) -> Result<Projection, ApiError> {
        let (kind, others) = match &self.projection {
            Some((Some(kind), others)) => (kind.as_str(), others.as_ref()),
            _ => return Err(invalid("Unknown ProjectionType: null")),
        };
        match (kind, others) {
            ("INCLUDE", None) => Err(invalid("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")),
            ("INCLUDE", Some(others)) => {
                let distinct: BTreeSet<&String> = others.iter().collect();
                if distinct.len() != others.len() {
                    return Err(invalid("Duplicate attribute names in NonKeyAttributes"));
                }
                Ok(Projection::Include(others.clone()))
            }
            (_, Some(_)) => Err(invalid(format!("ProjectionType is {kind}, but NonKeyAttributes is specified"))),
            ("KEYS_ONLY", None) => Ok(Projection::KeysOnly),
            (_, None) => Ok(Projection::All),
        }
    }
}

/// The constraints on the name of a table or an index that is being made.
pub(super) fn name_constraints(c: &mut Constraints, path: &str, name: Option<&str>) {
    c.required(path, name.as_ref());
    if let Some(name) = name {
        c.name_pattern(path, name);
        c.length(path, name, NAME_MIN, NAME_MAX);
    }
}

/// The LSIs of a new table.
pub(super) fn local_indexes(specs: Option<&[IndexSpec]>, defined: &[KeyAttribute], table: &KeySchema) -> Result<Vec<IndexDef>, ApiError> {
    let Some(specs) = specs else { return Ok(Vec::new()) };
    if specs.is_empty() {
        return Err(invalid("List of LocalSecondaryIndexes is empty"));
    }
    if table.sort.is_empty() {
        return Err(invalid("Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex"));
    }
    let mut indexes = Vec::new();
    for spec in specs {
        add(&mut indexes, spec.local(defined, table)?)?;
    }
    if indexes.len() > LOCAL_INDEXES_MAX {
        return Err(invalid(format!("Number of LocalSecondaryIndexes exceeds per-table limit of {LOCAL_INDEXES_MAX}")));
    }
    Ok(indexes)
}

/// Adds the GSIs of a new table to its LSIs.
pub(super) fn global_indexes(
    specs: Option<&[IndexSpec]>,
    defined: &[KeyAttribute],
    on_demand: bool,
    indexes: &mut Vec<IndexDef>,
) -> Result<(), ApiError> {
    let Some(specs) = specs else { return Ok(()) };
    if specs.is_empty() {
        return Err(invalid("List of GlobalSecondaryIndexes is empty"));
    }
    for spec in specs {
        add(indexes, spec.global(defined, on_demand)?)?;
    }
    if specs.len() > GLOBAL_INDEXES_MAX {
        return Err(invalid(format!("GlobalSecondaryIndex count exceeds the per-table limit of {GLOBAL_INDEXES_MAX}")));
    }
    Ok(())
}

fn add(indexes: &mut Vec<IndexDef>, index: IndexDef) -> Result<(), ApiError> {
    if indexes.iter().any(|other| other.name == index.name) {
        return Err(invalid(format!("Duplicate index name: {}", index.name)));
    }
    indexes.push(index);
    Ok(())
}

/// Every defined attribute must be used by some key.
pub(super) fn all_used(defined: &[KeyAttribute], table: &KeySchema, indexes: &[IndexDef]) -> Result<(), ApiError> {
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
        defined.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", "),
        used.join(", "),
    )))
}
