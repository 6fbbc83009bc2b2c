//! `ReplicaUpdates` of UpdateTable (global-tables.md sections 2.1 and 3.2).

use super::ApiError;
use super::overrides::Overrides;
use crate::api::{Constraints, Fields, RegionInfo};
use crate::replica::catalog::TableDef;
use crate::replica::request::TableChange;

/// What one element asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Create,
    Update,
    Delete,
    Disassociate,
}

const KINDS: [(Kind, &str, &str); 4] = [
    (Kind::Create, "Create", "CreateReplicationGroupMemberAction"),
    (Kind::Update, "Update", "UpdateReplicationGroupMemberAction"),
    (Kind::Delete, "Delete", "DeleteReplicationGroupMemberAction"),
    (
        Kind::Disassociate,
        "Disassociate",
        "DisassociateReplicationGroupMemberAction",
    ),
];

#[derive(Clone, Debug)]
struct Action {
    kind: Kind,
    region: Option<String>,
    overrides: Overrides,
}

/// A ReplicaUpdates list as sent: per element, its actions.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplicaUpdates {
    elements: Vec<Vec<Action>>,
}

impl ReplicaUpdates {
    pub(super) fn take(fields: &mut Fields) -> Result<Option<Self>, ApiError> {
        let Some(list) = fields.structures("ReplicaUpdates", "ReplicationGroupUpdate")? else {
            return Ok(None);
        };
        let mut elements = Vec::new();
        for mut element in list {
            let mut actions = Vec::new();
            for (kind, member, shape) in KINDS {
                if let Some(mut action) = element.structure(member, shape)? {
                    let region = action.string("RegionName")?;
                    let overrides = Overrides::take(&mut action)?;
                    actions.push(Action {
                        kind,
                        region,
                        overrides,
                    });
                }
            }
            elements.push(actions);
        }
        Ok(Some(ReplicaUpdates { elements }))
    }

    pub(super) fn constrain(&self, c: &mut Constraints) {
        if self.elements.is_empty() {
            c.violate(
                "'[]'",
                "replicaUpdates",
                "Member must have length greater than or equal to 1",
            );
        }
        for (at, actions) in self.elements.iter().enumerate() {
            for action in actions {
                let kind = KINDS
                    .iter()
                    .find(|(kind, ..)| *kind == action.kind)
                    .map_or("", |(_, name, _)| name);
                let path = format!(
                    "replicaUpdates.{}.member.{}.regionName",
                    at + 1,
                    kind.to_ascii_lowercase()
                );
                c.required(&path, action.region.as_ref());
                if let Some(region) = &action.region {
                    c.length(&path, region, 1, usize::MAX);
                }
                let path = path.trim_end_matches(".regionName");
                action.overrides.constrain(c, path);
            }
        }
    }

    /// The one action of the request; identical actions collapse into one.
    fn admit(&self) -> Result<&Action, ApiError> {
        let mut distinct: Vec<&Action> = Vec::new();
        for actions in &self.elements {
            let action = match actions.as_slice() {
                [] => return Err(no_actions()),
                [action] => action,
                _ => {
                    return Err(ApiError::validation(
                        "Update table operation with more than one type of replica actions not allowed.",
                    ));
                }
            };
            if action.kind == Kind::Update && !action.overrides.given() {
                return Err(no_actions());
            }
            if !distinct
                .iter()
                .any(|a| a.kind == action.kind && a.region == action.region)
            {
                distinct.push(action);
            }
        }
        match distinct.as_slice() {
            [] => Err(no_actions()),
            [action] => Ok(action),
            [first, rest @ ..] if rest.iter().any(|a| a.region == first.region) => Err(
                ApiError::validation("Cannot target multiple regions with the same action"),
            ),
            _ => Err(ApiError::validation(
                "Update table operation with more than one create or delete replica actions not allowed",
            )),
        }
    }

    /// The static checks: they come before the table is looked up.
    pub(super) fn check(&self, region: &RegionInfo) -> Result<(), ApiError> {
        let action = self.admit()?;
        let target = action.region.as_deref().unwrap_or_default();
        if action.kind == Kind::Disassociate {
            return Err(ApiError::validation(
                "Disassociating a replica is not supported",
            ));
        }
        if target == region.name {
            return Err(ApiError::validation(
                "Cannot add or delete the local region through ReplicaUpdates. Use CreateTable, DeleteTable, or UpdateTable as required.",
            ));
        }
        if region.id_of(target).is_none() {
            let mut names: Vec<&str> = region
                .topology
                .iter()
                .map(|(_, name)| name.as_str())
                .collect();
            names.sort_unstable();
            return Err(ApiError::validation(format!(
                "Region {target} is not supported. The latest version of global tables are only supported in the following regions: [{}]",
                names.join(", ")
            )));
        }
        Ok(())
    }

    /// Writes the overrides that are asked for into `def`, before [`ReplicaUpdates::change`].
    pub(super) fn record(&self, def: &mut TableDef) -> Result<(), ApiError> {
        let action = self.admit()?;
        let region = action.region.as_deref().unwrap_or_default();
        match action.kind {
            Kind::Create => action.overrides.record(def, region, true),
            Kind::Update => action.overrides.record(def, region, false),
            Kind::Delete | Kind::Disassociate => Ok(()),
        }
    }

    /// The change of the table's group to make; `None` when it stays as it is.
    ///
    /// A table of that name which the target region has for itself cannot be seen from here, since regional
    /// tables are told to nobody: AWS refuses, here the replica with the greater stamp takes the name and the
    /// items of the other go to the conflict log.
    pub(super) fn change(
        &self,
        region: &RegionInfo,
        def: &TableDef,
    ) -> Result<Option<TableChange>, ApiError> {
        let action = self.admit()?;
        let target = action.region.as_deref().unwrap_or_default();
        let id = region.id_of(target).ok_or_else(no_actions)?;
        let member = def.group.contains(id);
        match action.kind {
            Kind::Create if member => Err(ApiError::validation(format!(
                "Failed to create a the new replica of table with name: \u{2018}{}\u{2019} because one or more replicas already existed as tables.",
                def.name
            ))),
            Kind::Create => Ok(Some(TableChange::AddReplica(id))),
            _ if !member => Err(ApiError::validation(format!(
                "Update global table operation failed because one or more replicas were not part of the global table. \
                 Please retry the request without these replicas: [{target}]."
            ))),
            Kind::Delete if def.protected.contains(id) => Err(ApiError::validation(format!(
                "Cannot delete table {} in region {target} because it has deletion protection enabled. Disable deletion protection first.",
                def.name
            ))),
            Kind::Delete => Ok(Some(TableChange::RemoveReplica(id))),
            Kind::Update | Kind::Disassociate => Ok(None),
        }
    }
}

fn no_actions() -> ApiError {
    ApiError::validation(
        "There are no actions specified in the Replica Update Action of the request.",
    )
}
