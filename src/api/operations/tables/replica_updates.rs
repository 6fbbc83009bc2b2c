//! `ReplicaUpdates` of UpdateTable (global-tables.md sections 2.1 and 3.2).

use std::collections::BTreeSet;

use super::overrides::Overrides;
use super::{ApiError, invalid};
use crate::api::{Constraints, Fields, RegionInfo};
use crate::clock::RegionId;
use crate::replica::catalog::{LocalSettings, TableDef};
use crate::replica::members::MemberStatus;
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
    mode: Option<String>,
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
                    let mode = action.string("DisassociationMode")?;
                    let overrides = Overrides::take(&mut action)?;
                    actions.push(Action {
                        kind,
                        region,
                        mode,
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
                if action.kind == Kind::Disassociate {
                    let path = format!("{path}.disassociationMode");
                    c.required(&path, action.mode.as_ref());
                    c.one_of(&path, action.mode.as_deref(), &["WAIT_FOR_REPLICATION"]);
                }
            }
        }
    }

    /// The actions of the request; identical ones collapse into one. `several`: more than one region may be
    /// added at a time.
    fn admit(&self, several: bool) -> Result<Vec<&Action>, ApiError> {
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
            let same = |a: &&Action| a.kind == action.kind && a.region == action.region;
            if !distinct.iter().any(same) {
                distinct.push(action);
            }
        }
        if distinct.is_empty() {
            return Err(no_actions());
        }
        let regions: BTreeSet<&Option<String>> = distinct.iter().map(|a| &a.region).collect();
        if regions.len() < distinct.len() {
            return Err(ApiError::validation(
                "Cannot target multiple regions with the same action",
            ));
        }
        let updates = distinct.iter().all(|a| a.kind == Kind::Update);
        if distinct.len() > 1 && !updates && !several {
            return Err(ApiError::validation(
                "Update table operation with more than one create or delete replica actions not allowed",
            ));
        }
        Ok(distinct)
    }

    /// Whether all actions add regions.
    pub(super) fn only_creates(&self) -> bool {
        let mut actions = self.elements.iter().flatten();
        actions.all(|a| a.kind == Kind::Create)
    }

    /// The distinct regions that are named.
    pub(super) fn regions(&self) -> BTreeSet<&str> {
        let actions = self.elements.iter().flatten();
        actions.filter_map(|a| a.region.as_deref()).collect()
    }

    /// The static checks: they come before the table is looked up.
    pub(super) fn check(&self, region: &RegionInfo, several: bool) -> Result<(), ApiError> {
        for action in self.admit(several)? {
            let target = action.region.as_deref().unwrap_or_default();
            match action.kind {
                Kind::Disassociate if target != region.name => {
                    return Err(invalid(format!(
                        "Disassociate must be sent to the region of the replica: {target}"
                    )));
                }
                Kind::Disassociate => continue,
                _ if target == region.name => {
                    return Err(ApiError::validation(
                        "Cannot add or delete the local region through ReplicaUpdates. Use CreateTable, DeleteTable, or UpdateTable as required.",
                    ));
                }
                _ => {}
            }
            // In strong mode another text says it.
            if region.id_of(target).is_none() && !several {
                let names = region.topology.list().into_iter();
                let mut names: Vec<String> = names.map(|(_, name)| name).collect();
                names.sort_unstable();
                return Err(ApiError::validation(format!(
                    "Region {target} is not supported. The latest version of global tables are only supported in the following regions: [{}]",
                    names.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// Writes the overrides that are asked for into `def`, before [`ReplicaUpdates::change`].
    pub(super) fn record(&self, def: &mut TableDef) -> Result<(), ApiError> {
        for action in self.admit(false)? {
            let region = action.region.as_deref().unwrap_or_default();
            match action.kind {
                Kind::Create => action.overrides.record(def, region, true)?,
                Kind::Update => action.overrides.record(def, region, false)?,
                Kind::Delete | Kind::Disassociate => {}
            }
        }
        Ok(())
    }

    /// The change of the table's group to make; `None` when it stays as it is. `members` are the replicas as
    /// they stand.
    ///
    /// A table of that name which the target region has for itself cannot be seen from here, since regional
    /// tables are told to nobody: that region refuses when it hears of it, and the replica shows
    /// CREATION_FAILED.
    pub(super) fn change(
        &self,
        region: &RegionInfo,
        def: &TableDef,
        members: &[(RegionId, MemberStatus)],
        local: &LocalSettings,
    ) -> Result<Option<TableChange>, ApiError> {
        let mut change = None;
        for action in self.admit(false)? {
            let target = action.region.as_deref().unwrap_or_default();
            let id = region.id_of(target).ok_or_else(no_actions)?;
            let status = members.iter().find(|(member, _)| *member == id);
            let status = status.map(|(_, status)| status);
            let failed = matches!(status, Some(MemberStatus::Failed(_)));
            change = match action.kind {
                Kind::Create if failed || status.is_none() => Some(TableChange::AddReplica(id)),
                Kind::Create => {
                    return Err(ApiError::validation(format!(
                        "Failed to create a the new replica of table with name: \u{2018}{}\u{2019} because one or more replicas already existed as tables.",
                        def.name
                    )));
                }
                Kind::Delete if failed => Some(TableChange::RemoveReplica(id)),
                _ if failed || status.is_none() => return Err(no_member(target)),
                Kind::Delete if def.protected.contains(id) => {
                    return Err(ApiError::validation(format!(
                        "Cannot delete table {} in region {target} because it has deletion protection enabled. Disable deletion protection first.",
                        def.name
                    )));
                }
                Kind::Delete => Some(TableChange::RemoveReplica(id)),
                Kind::Update => change,
                Kind::Disassociate if members.len() < 2 => return Err(no_member(target)),
                Kind::Disassociate if !local.may_disassociate => {
                    return Err(ApiError::validation(format!(
                        "Cannot disassociate table {} in region {target} because it has disassociation protection enabled. Disable disassociation protection first.",
                        def.name
                    )));
                }
                Kind::Disassociate => Some(TableChange::Disassociate),
            };
        }
        Ok(change)
    }
}

fn no_member(region: &str) -> ApiError {
    ApiError::validation(format!(
        "Update global table operation failed because one or more replicas were not part of the global table. \
         Please retry the request without these replicas: [{region}]."
    ))
}

fn no_actions() -> ApiError {
    ApiError::validation(
        "There are no actions specified in the Replica Update Action of the request.",
    )
}
