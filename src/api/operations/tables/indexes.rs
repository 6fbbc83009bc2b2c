//! The indexes of CreateTable and UpdateTable (values-and-keys.md section 3.2).

use std::collections::BTreeSet;

use super::schema::{self, KEY_NAME_MAX, KeyElement, Keys, build, distinct, hash_then_range};
use super::settings::{Pair, Throughput};
use super::{ApiError, invalid, maxima, warm};
use crate::api::{Constraints, Fields, enums};
use crate::item::{KeyAttribute, KeySchema};
use crate::replica::catalog::{IndexDef, IndexKind, Projection, TableDef};

/// Multi-attribute keys of a GSI: at most this many HASH and as many RANGE attributes.
const KEY_PARTS_MAX: usize = 4;
const NON_KEY_ATTRIBUTES_MAX: usize = 20;
pub(super) const GLOBAL_INDEXES_MAX: usize = 20;
const LOCAL_INDEXES_MAX: usize = 5;

/// An index as sent.
#[derive(Clone, Debug, Default)]
pub(super) struct IndexSpec {
    name: Option<String>,
    keys: Keys,
    projection: Option<(Option<String>, Option<Vec<String>>)>,
    throughput: Option<Throughput>,
    on_demand: Option<Pair>,
    warm: Option<Pair>,
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
        Ok(IndexSpec {
            name,
            keys,
            projection,
            throughput: Throughput::take(fields)?,
            on_demand: Pair::take(fields, maxima::MEMBER, maxima::NAMES)?,
            warm: Pair::take(fields, warm::MEMBER, warm::NAMES)?,
        })
    }

    pub(super) fn take_list(
        fields: &mut Fields,
        member: &str,
        shape: &str,
    ) -> Result<Option<Vec<Self>>, ApiError> {
        let Some(list) = fields.structures(member, shape)? else {
            return Ok(None);
        };
        list.into_iter()
            .map(|mut f| IndexSpec::take(&mut f))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Records the throughput of a GSI that is not provisioned, in the definition that has it.
    pub(super) fn record(&self, def: &mut TableDef) -> Result<(), ApiError> {
        let name = Some(self.name());
        if let Some(given) = &self.on_demand {
            if def.throughput.is_some() {
                maxima::refuse_provisioned(given, name)?;
            }
            maxima::check(given, name, false)?;
            maxima::merge(def, name, given);
        }
        if let Some(given) = &self.warm {
            warm::create(def, name, given)?;
        }
        Ok(())
    }

    /// HASH or RANGE, for an attribute of this index's key.
    pub(super) fn role_of(&self, attribute: &str) -> Option<&str> {
        self.keys.role_of(attribute)
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    pub(super) fn constrain(&self, c: &mut Constraints, path: &str, kind: IndexKind) {
        schema::name_constraints(c, &format!("{path}.indexName"), self.name.as_deref());
        let keys_max = if kind == IndexKind::Local {
            2
        } else {
            2 * KEY_PARTS_MAX
        };
        self.keys
            .constrain(c, &format!("{path}.keySchema"), keys_max);
        let projection_path = format!("{path}.projection");
        c.required(&projection_path, self.projection.as_ref());
        if let Some((kind, others)) = &self.projection {
            c.one_of(
                &format!("{projection_path}.projectionType"),
                kind.as_deref(),
                enums::PROJECTION_TYPE,
            );
            if let Some(others) = others {
                let shown = format!("'[{}]'", others.join(", "));
                c.count(
                    &format!("{projection_path}.nonKeyAttributes"),
                    others.len(),
                    &shown,
                    1,
                    NON_KEY_ATTRIBUTES_MAX,
                );
                for (at, name) in others.iter().enumerate() {
                    c.length(
                        &format!("{projection_path}.nonKeyAttributes.{}.member", at + 1),
                        name,
                        1,
                        KEY_NAME_MAX,
                    );
                }
            }
        }
        if let Some(throughput) = &self.throughput {
            throughput.constrain(c, &format!("{path}.provisionedThroughput"));
        }
    }

    /// The definition of a GSI.
    pub(super) fn global(
        &self,
        defined: &[KeyAttribute],
        on_demand: bool,
    ) -> Result<IndexDef, ApiError> {
        let elements = self.defined_elements(defined)?;
        if elements.first().is_some_and(|e| e.role != "HASH") {
            return Err(ApiError::validation(
                "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
            ));
        }
        if elements
            .windows(2)
            .any(|w| matches!(w, [a, b] if a.role == "RANGE" && b.role == "HASH"))
        {
            return Err(invalid(
                "All HASH key attributes must precede RANGE key attributes in the KeySchema",
            ));
        }
        distinct(&elements)?;
        for role in ["HASH", "RANGE"] {
            if elements.iter().filter(|e| e.role == role).count() > KEY_PARTS_MAX {
                return Err(invalid(format!(
                    "The KeySchema exceeds the maximum allowed number of {role} key attributes"
                )));
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
            (None, false) => {
                return Err(invalid(format!(
                    "ProvisionedThroughput is not specified for index: {name}"
                )));
            }
            (given, _) => given.as_ref().map(Throughput::units),
        };
        Ok(self.definition(
            IndexKind::Global,
            build(&elements, defined),
            projection,
            throughput,
        ))
    }

    /// The definition of an LSI of a table with these keys.
    fn local(&self, defined: &[KeyAttribute], table: &KeySchema) -> Result<IndexDef, ApiError> {
        let elements = self.defined_elements(defined)?;
        distinct(&elements)?;
        hash_then_range(&elements)?;
        let name = self.name();
        if elements.len() < 2 {
            return Err(invalid(format!(
                "Index KeySchema does not have a range key for index: {name}"
            )));
        }
        let keys = build(&elements, defined);
        let leading = |schema: &KeySchema| {
            schema
                .partition
                .first()
                .map(|a| a.name.clone())
                .unwrap_or_default()
        };
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

    fn definition(
        &self,
        kind: IndexKind,
        keys: KeySchema,
        projection: Projection,
        throughput: Option<(u64, u64)>,
    ) -> IndexDef {
        // The replica gives the id.
        IndexDef {
            id: 0,
            name: self.name().to_owned(),
            kind,
            keys,
            projection,
            throughput,
        }
    }

    /// The key elements, all of which must be defined.
    fn defined_elements(&self, defined: &[KeyAttribute]) -> Result<Vec<KeyElement>, ApiError> {
        let elements = self.keys.elements();
        schema::all_defined(&elements, defined)?;
        Ok(elements)
    }

    fn projection(&self) -> Result<Projection, ApiError> {
        let (kind, others) = match &self.projection {
            Some((Some(kind), others)) => (kind.as_str(), others.as_ref()),
            _ => return Err(invalid("Unknown ProjectionType: null")),
        };
        match (kind, others) {
            ("INCLUDE", None) => Err(invalid(
                "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
            )),
            ("INCLUDE", Some(others)) => {
                let distinct: BTreeSet<&String> = others.iter().collect();
                if distinct.len() != others.len() {
                    return Err(invalid("Duplicate attribute names in NonKeyAttributes"));
                }
                Ok(Projection::Include(others.clone()))
            }
            (_, Some(_)) => Err(invalid(format!(
                "ProjectionType is {kind}, but NonKeyAttributes is specified"
            ))),
            ("KEYS_ONLY", None) => Ok(Projection::KeysOnly),
            (_, None) => Ok(Projection::All),
        }
    }
}

/// The LSIs of a new table.
pub(super) fn local_indexes(
    specs: Option<&[IndexSpec]>,
    defined: &[KeyAttribute],
    table: &KeySchema,
) -> Result<Vec<IndexDef>, ApiError> {
    let Some(specs) = specs else {
        return Ok(Vec::new());
    };
    if specs.is_empty() {
        return Err(invalid("List of LocalSecondaryIndexes is empty"));
    }
    if table.sort.is_empty() {
        return Err(invalid(
            "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
        ));
    }
    let mut indexes = Vec::new();
    for spec in specs {
        add(&mut indexes, spec.local(defined, table)?)?;
    }
    if indexes.len() > LOCAL_INDEXES_MAX {
        return Err(invalid(format!(
            "Number of LocalSecondaryIndexes exceeds per-table limit of {LOCAL_INDEXES_MAX}"
        )));
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
        return Err(invalid(format!(
            "GlobalSecondaryIndex count exceeds the per-table limit of {GLOBAL_INDEXES_MAX}"
        )));
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
