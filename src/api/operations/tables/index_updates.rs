//! `GlobalSecondaryIndexUpdates` of UpdateTable (api.md section 4).

use std::collections::BTreeSet;

use super::indexes::{GLOBAL_INDEXES_MAX, IndexSpec};
use super::schema::name_constraints;
use super::settings::{Pair, Throughput};
use super::{ApiError, invalid, maxima, warm};
use crate::api::{Constraints, Fields};
use crate::item::KeyAttribute;
use crate::replica::catalog::{IndexKind, TableDef};
use crate::replica::request::TableChange;

/// The answer to index throughput beyond all bounds.
const BLOCKED: &str = "This operation cannot be performed with given input values. \
    Please contact DynamoDB service team for more info: Action Blocked: IndexUpdate";

#[derive(Clone, Debug)]
enum Action {
    Create(IndexSpec),
    Update(Option<String>, Change),
    Delete(Option<String>),
}

/// What an Update asks of an index.
#[derive(Clone, Debug, Default)]
struct Change {
    throughput: Option<Throughput>,
    on_demand: Option<Pair>,
    warm: Option<Pair>,
    /// WarmThroughput was sent without a member, which is an error here.
    warm_empty: bool,
}

impl Change {
    fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let warm_sent = fields.has(warm::MEMBER);
        let warm = Pair::take(fields, warm::MEMBER, warm::NAMES)?;
        Ok(Change {
            throughput: Throughput::take(fields)?,
            on_demand: Pair::take(fields, maxima::MEMBER, maxima::NAMES)?,
            warm,
            warm_empty: warm_sent && warm.is_none(),
        })
    }
}

impl Action {
    fn index(&self) -> &str {
        match self {
            Action::Create(spec) => spec.name(),
            Action::Update(name, _) | Action::Delete(name) => name.as_deref().unwrap_or_default(),
        }
    }
}

/// A GlobalSecondaryIndexUpdates list as sent: per element, its actions.
#[derive(Clone, Debug, Default)]
pub(super) struct IndexUpdates {
    elements: Vec<Vec<Action>>,
}

impl IndexUpdates {
    pub(super) fn take(fields: &mut Fields) -> Result<Option<Self>, ApiError> {
        let Some(list) =
            fields.structures("GlobalSecondaryIndexUpdates", "GlobalSecondaryIndexUpdate")?
        else {
            return Ok(None);
        };
        let mut elements = Vec::new();
        for mut element in list {
            let mut actions = Vec::new();
            if let Some(mut update) =
                element.structure("Update", "UpdateGlobalSecondaryIndexAction")?
            {
                let name = update.string("IndexName")?;
                actions.push(Action::Update(name, Change::take(&mut update)?));
            }
            if let Some(mut create) =
                element.structure("Create", "CreateGlobalSecondaryIndexAction")?
            {
                actions.push(Action::Create(IndexSpec::take(&mut create)?));
            }
            if let Some(mut delete) =
                element.structure("Delete", "DeleteGlobalSecondaryIndexAction")?
            {
                actions.push(Action::Delete(delete.string("IndexName")?));
            }
            elements.push(actions);
        }
        Ok(Some(IndexUpdates { elements }))
    }

    fn actions(&self) -> impl Iterator<Item = &Action> {
        self.elements.iter().flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Creates or deletes an index, which nothing else may go with.
    pub(super) fn changes_set(&self) -> bool {
        self.actions().any(|a| !matches!(a, Action::Update(..)))
    }

    pub(super) fn constrain(&self, c: &mut Constraints) {
        for (at, actions) in self.elements.iter().enumerate() {
            let path = format!("globalSecondaryIndexUpdates.{}.member", at + 1);
            for action in actions {
                match action {
                    Action::Create(spec) => {
                        spec.constrain(c, &format!("{path}.create"), IndexKind::Global)
                    }
                    Action::Delete(name) => {
                        name_constraints(c, &format!("{path}.delete.indexName"), name.as_deref())
                    }
                    Action::Update(name, change) => {
                        name_constraints(c, &format!("{path}.update.indexName"), name.as_deref());
                        let path = format!("{path}.update.provisionedThroughput");
                        let other = change.on_demand.is_some() || change.warm.is_some();
                        if !other && !change.warm_empty {
                            c.required(&path, change.throughput.as_ref());
                        }
                        if let Some(throughput) = &change.throughput {
                            throughput.constrain(c, &path);
                        }
                    }
                }
            }
        }
    }

    /// The static checks: they come before the table is looked up.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let actions = "GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete";
        for element in &self.elements {
            match element.len() {
                0 => return Err(invalid(format!("One of {actions} must not be null"))),
                1 => {}
                _ => {
                    return Err(invalid(format!(
                        "Only one of {actions} can be specified in one update"
                    )));
                }
            }
        }
        let mut seen = BTreeSet::new();
        for action in self.actions() {
            if !seen.insert(action.index()) {
                let index = action.index();
                return Err(invalid(format!(
                    "Only one global secondary index update per index is allowed simultaneously. Index: {index}"
                )));
            }
        }
        for action in self.actions() {
            let Action::Update(_, change) = action else {
                continue;
            };
            let index = action.index();
            if change.warm_empty {
                return Err(invalid(format!(
                    "WarmThroughput must have at least one of ReadUnitsPerSecond or WriteUnitsPerSecond \
                     specified for index: {index}"
                )));
            }
            if let Some(given) = &change.on_demand {
                maxima::check(given, Some(index), true)?;
            }
        }
        if self.changes_set() && self.elements.len() > 1 {
            return Err(ApiError::LimitExceeded(
                "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table".into(),
            ));
        }
        Ok(())
    }

    /// The creation or deletion of an index that this asks for, if it does.
    pub(super) fn change(
        &self,
        given: &[KeyAttribute],
        def: &TableDef,
    ) -> Result<Option<TableChange>, ApiError> {
        match self.actions().next() {
            Some(Action::Create(spec)) => create(spec, given, def).map(Some),
            Some(action @ Action::Delete(_)) => {
                global(def, action.index())?;
                Ok(Some(TableChange::DeleteIndex(action.index().to_owned())))
            }
            _ => Ok(None),
        }
    }

    /// Records the throughput that a new index has besides its provisioned one.
    pub(super) fn record(&self, def: &mut TableDef) -> Result<(), ApiError> {
        match self.actions().next() {
            Some(Action::Create(spec)) if def.index(spec.name()).is_some() => spec.record(def),
            _ => Ok(()),
        }
    }

    /// Sets the throughput of indexes in `def`, whose own billing is as it will be.
    pub(super) fn set_throughput(&self, def: &mut TableDef) -> Result<(), ApiError> {
        let excessive = |action: &Action| {
            matches!(action, Action::Update(_, change)
                if change.throughput.as_ref().is_some_and(|t| t.check().is_err()))
        };
        if self.actions().any(excessive) {
            return Err(ApiError::validation(BLOCKED));
        }
        for action in self.actions() {
            if let Action::Update(Some(name), change) = action {
                let at = global(def, name)?;
                set_index(def, at, name, change)?;
            }
        }
        Ok(())
    }
}

fn set_index(def: &mut TableDef, at: usize, name: &str, change: &Change) -> Result<(), ApiError> {
    if let Some(throughput) = &change.throughput {
        if def.throughput.is_none() {
            return Err(invalid(format!(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified for index: {name} \
                 when BillingMode is PAY_PER_REQUEST"
            )));
        }
        if let Some(index) = def.indexes.get_mut(at) {
            let (read, write) = throughput.units();
            if index.throughput == Some((read, write)) {
                return Err(unchanged(name, (read, write)));
            }
            index.throughput = Some((read, write));
        }
    }
    if let Some(given) = &change.on_demand {
        if def.throughput.is_some() {
            maxima::refuse_provisioned(given, Some(name))?;
        }
        maxima::merge(def, Some(name), given);
    }
    match &change.warm {
        Some(given) => warm::grow(def, Some(name), given),
        None => Ok(()),
    }
}

fn unchanged(name: &str, (read, write): (u64, u64)) -> ApiError {
    ApiError::validation(format!(
        "The provisioned throughput for the index {name} will not change. The requested value equals the current value. \
         Current ReadCapacityUnits provisioned for the index: {read}. Requested ReadCapacityUnits: {read}. \
         Current WriteCapacityUnits provisioned for the index: {write}. Requested WriteCapacityUnits: {write}. \
         Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
    ))
}

/// The place of a GSI in the definition.
fn global(def: &TableDef, name: &str) -> Result<usize, ApiError> {
    let is = |i: &crate::replica::catalog::IndexDef| i.kind == IndexKind::Global && i.name == name;
    def.indexes
        .iter()
        .position(is)
        .ok_or_else(ApiError::resource_not_found)
}

fn redefined(given: &KeyAttribute, stored: &KeyAttribute, role: &str) -> ApiError {
    let element = |a: &KeyAttribute| {
        format!(
            "Schema:[SchemaElement: key{{{}:{}:{role}}}]",
            a.name,
            a.kind.name()
        )
    };
    invalid(format!(
        "Attributes cannot be redefined. Please check that your attribute has the same type as previously defined. \
         Existing schema: {} New schema: {}",
        element(stored),
        element(given)
    ))
}

fn create(
    spec: &IndexSpec,
    given: &[KeyAttribute],
    def: &TableDef,
) -> Result<TableChange, ApiError> {
    // What is declared again is ignored, unless the new index would need it.
    let stored = |a: &KeyAttribute| def.attributes.iter().find(|k| k.name == a.name);
    for attribute in given {
        let role = spec.role_of(&attribute.name);
        if let (Some(stored), Some(role)) = (stored(attribute), role)
            && stored.kind != attribute.kind
        {
            return Err(redefined(attribute, stored, role));
        }
    }
    let known = |a: &KeyAttribute| stored(a).unwrap_or(a).clone();
    let defined: Vec<KeyAttribute> = given.iter().map(known).collect();
    let index = spec.global(&defined, def.throughput.is_none())?;
    if def.index(&index.name).is_some() {
        return Err(ApiError::validation(
            "Attempting to create an index which already exists",
        ));
    }
    if def
        .indexes
        .iter()
        .filter(|i| i.kind == IndexKind::Global)
        .count()
        >= GLOBAL_INDEXES_MAX
    {
        return Err(invalid(format!(
            "GlobalSecondaryIndex count exceeds the per-table limit of {GLOBAL_INDEXES_MAX}"
        )));
    }
    let used = |a: &KeyAttribute| {
        index
            .keys
            .partition
            .iter()
            .chain(&index.keys.sort)
            .any(|k| k.name == a.name)
    };
    let new = defined
        .into_iter()
        .filter(|a| used(a) && !def.attributes.contains(a))
        .collect();
    Ok(TableChange::CreateIndex {
        index,
        attributes: new,
    })
}
