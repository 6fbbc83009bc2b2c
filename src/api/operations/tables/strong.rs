//! Strong consistency across regions, which is asked for with replicas and refused here in AWS's words as far
//! as they go (global-tables.md sections 6 and 11).

use super::replica_updates::ReplicaUpdates;
use super::{ApiError, invalid};
use crate::api::{Constraints, Fields, RegionInfo};

/// Members of a group that is strongly consistent, witness included.
const REGIONS: usize = 3;
const WITNESSES: &str = "GlobalTableWitnessUpdates";

/// `MultiRegionConsistency` and `GlobalTableWitnessUpdates` as sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Strong {
    consistency: Option<String>,
    /// Per element, the regions of its Create and its Delete.
    witnesses: Vec<[Option<String>; 2]>,
}

impl Strong {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let mut witnesses = Vec::new();
        let list = fields.structures(WITNESSES, "GlobalTableWitnessGroupUpdate")?;
        for mut element in list.unwrap_or_default() {
            let mut region = |member: &str, shape: &str| match element.structure(member, shape)? {
                Some(mut action) => action.string("RegionName"),
                None => Ok(None),
            };
            witnesses.push([
                region("Create", "CreateGlobalTableWitnessGroupMemberAction")?,
                region("Delete", "DeleteGlobalTableWitnessGroupMemberAction")?,
            ]);
        }
        Ok(Strong {
            consistency: fields.string("MultiRegionConsistency")?,
            witnesses,
        })
    }

    pub(super) fn constrain(&self, c: &mut Constraints) {
        c.one_of(
            "multiRegionConsistency",
            self.consistency.as_deref(),
            &["EVENTUAL", "STRONG"],
        );
        if self.witnesses.len() > 1 {
            let one = |[create, delete]: &[Option<String>; 2]| {
                let text = |region: &Option<String>, shape: &str| match region {
                    Some(region) => format!("{shape}(regionName={region})"),
                    None => "null".to_owned(),
                };
                let create = text(create, "CreateGlobalTableWitnessGroupMemberAction");
                let delete = text(delete, "DeleteGlobalTableWitnessGroupMemberAction");
                format!("GlobalTableWitnessGroupUpdate(create={create}, delete={delete})")
            };
            let all: Vec<String> = self.witnesses.iter().map(one).collect();
            c.violate(
                format!("'[{}]'", all.join(", ")),
                "globalTableWitnessUpdates",
                "Member must have length less than or equal to 1",
            );
        }
    }

    pub(super) fn names_consistency(&self) -> bool {
        self.consistency.is_some()
    }

    pub(super) fn is_strong(&self) -> bool {
        self.consistency.as_deref() == Some("STRONG")
    }

    /// Whether the request is about strong consistency at all.
    pub(super) fn is_asked(&self) -> bool {
        self.is_strong() || !self.witnesses.is_empty()
    }

    /// What can be said of the regions without the table.
    pub(super) fn check(
        &self,
        region: &RegionInfo,
        replicas: &ReplicaUpdates,
    ) -> Result<(), ApiError> {
        if !self.is_strong() {
            return Ok(());
        }
        let witnesses = self.witnesses.iter().flatten().flatten();
        let witnesses: Vec<&str> = witnesses.map(String::as_str).collect();
        if witnesses.contains(&region.name.as_str()) {
            return Err(ApiError::validation(
                "Cannot add a witness in the same region as an existing replica when creating a global table with MultiRegionConsistency set to STRONG.",
            ));
        }
        let mut named = replicas.regions();
        named.extend(witnesses);
        let unknown: Vec<&str> = named
            .iter()
            .copied()
            .filter(|r| region.id_of(r).is_none())
            .collect();
        if !unknown.is_empty() {
            return Err(ApiError::validation(format!(
                "Unsupported Region(s) specified for global tables with MultiRegionConsistency set to STRONG: [{}].",
                unknown.join(", ")
            )));
        }
        if named.len() + 1 != REGIONS {
            return Err(ApiError::validation(
                "Unsupported replica count for global tables with MultiRegionConsistency set to STRONG.",
            ));
        }
        // Not pretended (global-tables.md section 11, rule 10).
        Err(invalid(
            "MultiRegionConsistency STRONG is not supported; only EVENTUAL is",
        ))
    }
}

/// What goes together with changes of replicas.
pub(super) fn admit(strong: &Strong, replicas: &ReplicaUpdates) -> Result<(), ApiError> {
    if !strong.witnesses.is_empty() && !strong.is_strong() {
        return Err(ApiError::validation(
            "MultiRegionConsistency must be set as STRONG when GlobalTableWitnessUpdates parameter is present.",
        ));
    }
    if strong.names_consistency() && !replicas.only_creates() {
        return Err(ApiError::validation(
            "Only Replica Create actions are supported when MultiRegionConsistency parameter is provided.",
        ));
    }
    Ok(())
}
