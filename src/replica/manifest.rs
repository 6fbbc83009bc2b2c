//! Who the members of the cluster are: an epoch-numbered record that every region keeps in its store, and
//! that only ever changes as a whole, from one epoch to the next (replication.md section 14).
//!
//! - Made from the topology at a region's first start (epoch 1); from then on the record counts, not the file.
//! - A change names one member and is legal or not by the record alone ([`Manifest::propose`]), so whoever has
//!   the same epoch judges it alike, and the outcome is the same bytes.
//! - Of two records of one cluster the one of the higher epoch is the newer, and replaces the other. That there
//!   is one record of each epoch is what agreement is for.
//! - An id is never used again: stamps and logs carry it. A name may be, once its region was removed.

use std::collections::BTreeSet;
use std::hash::Hasher;
use std::sync::Arc;

use bincode::{Decode, Encode};
use siphasher::sip::SipHasher13;

use super::keys::meta;
use super::mutation::GroupId;
use super::{Replica, read};
use crate::clock::RegionId;
use crate::config::{REGIONS_MAX, Topology};
use crate::store::{Db, ReadTxn, StoreError, WriteTxn};

/// The version of the record's bytes: one that is not known is refused.
const VERSION: u8 = 2;
/// The epoch of the record that a topology gives.
pub const FOUNDING: u64 = 1;
/// The longest name or address.
const TEXT_BYTES_MAX: usize = 255;
/// The longest record that is read.
const BYTES_MAX: usize = 1 << 20;

/// Where a member is reached, as `host:port`. What is absent is not pinned: each region's own topology says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Addresses {
    /// The other regions (UDP); `gossip` in topologies.
    pub replication: Option<String>,
    /// Clients.
    pub endpoint: Option<String>,
    pub admin: Option<String>,
}

/// What a member may do, and what is owed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum State {
    /// It is given everything, and counted: nothing that it needs is forgotten. It serves no clients yet.
    Joining,
    Active,
    /// It takes no more writes, and is removed once all others have what it took.
    Leaving,
    /// It was silent for too long. Not counted, and what it makes is not taken, until it comes back.
    Lapsed,
    /// For good.
    Removed,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Joining => "joining",
            State::Active => "active",
            State::Leaving => "leaving",
            State::Lapsed => "lapsed",
            State::Removed => "removed",
        }
    }

    /// Whether things are kept for it, and it is waited for.
    pub fn is_counted(self) -> bool {
        matches!(self, State::Joining | State::Active | State::Leaving)
    }
}

/// One region, as all know it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    pub region: RegionId,
    pub name: String,
    pub addresses: Addresses,
    pub state: State,
}

/// One change of one member.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Change {
    /// A new region begins to join.
    Add {
        region: RegionId,
        name: String,
        addresses: Addresses,
    },
    /// A region that joins has everything.
    Activate { region: RegionId },
    /// A region begins to leave.
    Leave { region: RegionId },
    /// A region is no member any more.
    Remove { region: RegionId },
    /// A region has been silent for too long.
    Lapse { region: RegionId },
    /// A region that had lapsed comes back, with an empty store.
    Return { region: RegionId },
    /// A region is reached elsewhere; what is absent stays.
    Move {
        region: RegionId,
        addresses: Addresses,
    },
}

impl Change {
    pub fn region(&self) -> RegionId {
        match self {
            Change::Add { region, .. }
            | Change::Activate { region }
            | Change::Leave { region }
            | Change::Remove { region }
            | Change::Lapse { region }
            | Change::Return { region }
            | Change::Move { region, .. } => *region,
        }
    }
}

/// The members of a cluster, at an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    pub cluster: [u8; 16],
    pub epoch: u64,
    /// In the order of their ids; those that are gone too.
    pub members: Vec<Member>,
}

/// Why bytes are no record of this cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    #[error(
        "the record of members is of version {0}, and this program knows {VERSION}: upgrade the older region"
    )]
    Version(u8),
    #[error("the record of members cannot be read: {0}")]
    Unreadable(String),
    #[error("the record of members is of cluster {found:032x}, not {expected:032x}")]
    OtherCluster { found: u128, expected: u128 },
}

/// Why a change of the members is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    #[error("there is no member {0}")]
    Unknown(RegionId),
    #[error("'{name}' is {state}: {wanted}")]
    State {
        name: String,
        state: &'static str,
        wanted: &'static str,
    },
    #[error("the id {0} is or was another member's, and is never given again")]
    IdTaken(RegionId),
    #[error("{0} is no id: they are below {REGIONS_MAX}")]
    NoId(RegionId),
    #[error("'{0}' is the name of a member already")]
    NameTaken(String),
    #[error("'{0}' cannot be a member's name or address")]
    Text(String),
    #[error("{address} is where '{name}' is reached already")]
    AddressTaken { address: String, name: String },
    #[error("a member needs an address for replication")]
    NoAddress,
    #[error("no active member would be left")]
    Last,
}

impl Manifest {
    /// The record that a topology gives, in which all its regions are founders.
    pub fn found(topology: &Topology) -> Manifest {
        let members = topology.regions.iter().map(|spec| Member {
            region: RegionId(spec.id),
            name: spec.name.clone(),
            addresses: Addresses {
                replication: spec.gossip.clone(),
                endpoint: spec.endpoint.clone(),
                admin: spec.admin.clone(),
            },
            state: State::Active,
        });
        Manifest {
            cluster: topology.cluster_id,
            epoch: FOUNDING,
            members: members.collect(),
        }
    }

    /// Founders with made-up names and no addresses, for tools and tests.
    pub fn of(cluster: [u8; 16], regions: GroupId) -> Manifest {
        let members = regions.regions().map(|region| Member {
            region,
            name: region.to_string(),
            addresses: Addresses::default(),
            state: State::Active,
        });
        Manifest {
            cluster,
            epoch: FOUNDING,
            members: members.collect(),
        }
    }

    pub fn member(&self, region: RegionId) -> Option<&Member> {
        self.members.iter().find(|m| m.region == region)
    }

    /// The member of that name; where the name was given again, the one that stays.
    pub fn named(&self, name: &str) -> Option<&Member> {
        let mut named = self.members.iter().filter(|m| m.name == name);
        let stays = named.clone().find(|m| m.state != State::Removed);
        stays.or_else(|| named.next_back())
    }

    pub fn state(&self, region: RegionId) -> Option<State> {
        self.member(region).map(|m| m.state)
    }

    /// Whether a region is one that joins.
    pub fn joins(&self, region: RegionId) -> bool {
        self.state(region) == Some(State::Joining)
    }

    /// The members in one of these states.
    pub fn in_state(&self, is: impl Fn(State) -> bool) -> GroupId {
        let members = self.members.iter().filter(|m| is(m.state));
        GroupId::of(members.map(|m| m.region))
    }

    /// The members for which things are kept: no stamp is stable, and no commit dropped, before they have it.
    pub fn counted(&self) -> GroupId {
        self.in_state(State::is_counted)
    }

    /// The members that decide about changes.
    pub fn voters(&self) -> GroupId {
        self.in_state(|state| state == State::Active)
    }

    /// The members that get a replica of what is made everywhere.
    pub fn residents(&self) -> GroupId {
        self.in_state(|state| matches!(state, State::Joining | State::Active))
    }

    /// The members that may make commits. What others made still goes to all who lack it, from whoever has it.
    pub fn originators(&self) -> GroupId {
        self.counted()
    }

    /// An id that no member has or had.
    pub fn free_id(&self) -> Option<RegionId> {
        let taken: BTreeSet<RegionId> = self.members.iter().map(|m| m.region).collect();
        let mut ids = (0..REGIONS_MAX).map(RegionId);
        ids.find(|id| !taken.contains(id))
    }

    /// The record of the next epoch, if the change is legal in this one.
    pub fn propose(&self, change: &Change) -> Result<Manifest, ChangeError> {
        let mut next = self.clone();
        next.epoch = self.epoch.saturating_add(1);
        if let Change::Add {
            region,
            name,
            addresses,
        } = change
        {
            self.may_add(*region, name, addresses)?;
            next.members.push(Member {
                region: *region,
                name: name.clone(),
                addresses: addresses.clone(),
                state: State::Joining,
            });
            next.members.sort_by_key(|m| m.region);
            return Ok(next);
        }
        let region = change.region();
        let mut others = next.members.iter().filter(|m| m.region != region);
        let last = !others.any(|m| m.state == State::Active);
        let Some(member) = next.members.iter_mut().find(|m| m.region == region) else {
            return Err(ChangeError::Unknown(region));
        };
        let wrong = |wanted| ChangeError::State {
            name: member.name.clone(),
            state: member.state.name(),
            wanted,
        };
        let takes_away = matches!(
            change,
            Change::Leave { .. } | Change::Remove { .. } | Change::Lapse { .. }
        );
        let state = match (change, member.state) {
            (Change::Activate { .. }, State::Joining) => State::Active,
            (Change::Activate { .. }, _) => {
                return Err(wrong("only one that joins becomes active"));
            }
            (Change::Leave { .. }, State::Active | State::Joining) => State::Leaving,
            (Change::Leave { .. }, _) => return Err(wrong("only an active one can leave")),
            (Change::Remove { .. }, State::Removed) => {
                return Err(wrong("it cannot be removed again"));
            }
            (Change::Remove { .. }, _) => State::Removed,
            (Change::Lapse { .. }, State::Active | State::Leaving | State::Joining) => {
                State::Lapsed
            }
            (Change::Lapse { .. }, _) => return Err(wrong("only one that is counted can lapse")),
            (Change::Return { .. }, State::Lapsed) => State::Joining,
            (Change::Return { .. }, _) => return Err(wrong("only one that lapsed can return")),
            (Change::Move { .. }, State::Removed) => return Err(wrong("it cannot be moved")),
            (Change::Move { .. } | Change::Add { .. }, state) => state,
        };
        if last && takes_away {
            return Err(ChangeError::Last);
        }
        member.state = state;
        if let Change::Move { addresses, .. } = change {
            self.may_be_at(region, addresses)?;
            let known = &mut member.addresses;
            let keep = |new: &Option<String>, old: &mut Option<String>| {
                *old = new.clone().or(old.take());
            };
            keep(&addresses.replication, &mut known.replication);
            keep(&addresses.endpoint, &mut known.endpoint);
            keep(&addresses.admin, &mut known.admin);
        }
        Ok(next)
    }

    fn may_add(
        &self,
        region: RegionId,
        name: &str,
        addresses: &Addresses,
    ) -> Result<(), ChangeError> {
        if region.0 >= REGIONS_MAX {
            return Err(ChangeError::NoId(region));
        }
        if self.member(region).is_some() {
            return Err(ChangeError::IdTaken(region));
        }
        if !is_text(name) {
            return Err(ChangeError::Text(name.to_owned()));
        }
        let stays = self.named(name).is_some_and(|m| m.state != State::Removed);
        if stays {
            return Err(ChangeError::NameTaken(name.to_owned()));
        }
        // Where all are placed anew at every start (`up`), the topology says where they are, and this record nothing.
        let mut stay = self.members.iter().filter(|m| m.state != State::Removed);
        let by_record = stay.any(|m| m.addresses.replication.is_some());
        if by_record && addresses.replication.is_none() {
            return Err(ChangeError::NoAddress);
        }
        self.may_be_at(region, addresses)
    }

    /// Whether no other member is reached there: replication has the ports of UDP, the others those of TCP.
    fn may_be_at(&self, region: RegionId, addresses: &Addresses) -> Result<(), ChangeError> {
        let tcp = |a: &Addresses| [a.endpoint.clone(), a.admin.clone()];
        let udp = |a: &Addresses| [a.replication.clone(), None];
        let texts = tcp(addresses).into_iter().chain(udp(addresses));
        if let Some(bad) = texts.flatten().find(|text| !is_text(text)) {
            return Err(ChangeError::Text(bad));
        }
        let others = self.members.iter();
        for other in others.filter(|m| m.region != region && m.state != State::Removed) {
            let theirs = &other.addresses;
            for (new, known) in [(tcp(addresses), tcp(theirs)), (udp(addresses), udp(theirs))] {
                if let Some(address) = new.into_iter().flatten().find(|a| {
                    let mut known = known.iter().flatten();
                    known.any(|known| known == a)
                }) {
                    let name = other.name.clone();
                    return Err(ChangeError::AddressTaken { address, name });
                }
            }
        }
        Ok(())
    }

    /// Two regions at one epoch have records of the same digest, or something is wrong. Addresses are left out:
    /// the topologies that regions are founded with may name them differently.
    pub fn digest(&self) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(0x6d65_7269_6469_616e, 0x6d65_6d62_6572_7331);
        hasher.write(&self.cluster);
        hasher.write(&self.epoch.to_be_bytes());
        for member in &self.members {
            hasher.write(&member.region.0.to_be_bytes());
            hasher.write(member.state.name().as_bytes());
            hasher.write(&[0]);
            hasher.write(member.name.as_bytes());
            hasher.write(&[0]);
        }
        hasher.finish()
    }

    /// As it is kept and sent.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        let mut bytes = vec![VERSION];
        let body = bincode::encode_to_vec(self, bincode::config::standard());
        bytes.extend(body.map_err(|error| ManifestError::Unreadable(error.to_string()))?);
        Ok(bytes)
    }

    /// Reads a record of `cluster`.
    pub fn decode(bytes: &[u8], cluster: &[u8; 16]) -> Result<Manifest, ManifestError> {
        let unreadable = |reason: &str| ManifestError::Unreadable(reason.to_owned());
        let body = match bytes.split_first() {
            Some((&VERSION, body)) => body,
            Some((&other, _)) => return Err(ManifestError::Version(other)),
            None => return Err(unreadable("it is empty")),
        };
        let config = bincode::config::standard().with_limit::<BYTES_MAX>();
        let (manifest, used): (Manifest, usize) = bincode::decode_from_slice(body, config)
            .map_err(|error| ManifestError::Unreadable(error.to_string()))?;
        if used != body.len() {
            return Err(unreadable("something follows it"));
        }
        if manifest.cluster != *cluster {
            return Err(ManifestError::OtherCluster {
                found: u128::from_be_bytes(manifest.cluster),
                expected: u128::from_be_bytes(*cluster),
            });
        }
        manifest.sound().map_err(unreadable)?;
        Ok(manifest)
    }

    /// Whether changes could have made it.
    fn sound(&self) -> Result<(), &'static str> {
        let ids = self.members.iter().map(|m| m.region);
        let rises = ids.clone().zip(ids.skip(1)).all(|(a, b)| a < b);
        let in_range = self.members.iter().all(|m| m.region.0 < REGIONS_MAX);
        if !rises || !in_range || self.epoch < FOUNDING {
            return Err("its ids or its epoch cannot be");
        }
        let stays = self.members.iter().filter(|m| m.state != State::Removed);
        let mut names = BTreeSet::new();
        if !stays.into_iter().all(|m| names.insert(&m.name)) {
            return Err("two members have one name");
        }
        if self.members.iter().any(|m| !is_text(&m.name)) {
            return Err("a name cannot be");
        }
        Ok(())
    }
}

fn is_text(text: &str) -> bool {
    let plain = text.chars().all(|c| c.is_ascii_graphic());
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX && plain
}

/// What the store holds; `None` in a new one.
pub fn stored(
    txn: &dyn ReadTxn,
    cluster: &[u8; 16],
) -> Result<Option<Result<Manifest, ManifestError>>, StoreError> {
    let bytes = txn.get(Db::Meta, meta::MANIFEST)?;
    Ok(bytes.map(|bytes| Manifest::decode(bytes, cluster)))
}

pub(super) fn save(txn: &mut dyn WriteTxn, manifest: &Manifest) -> Result<(), StoreError> {
    let bytes = manifest.encode().map_err(read::damaged)?;
    txn.put(Db::Meta, meta::MANIFEST, &bytes)
}

impl Replica {
    /// Who the members are. What a group changed is here once the group is durable.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Takes over a newer record of the members. One that this region is not in is not for it.
    pub(super) fn adopt_members(
        &mut self,
        txn: &mut dyn WriteTxn,
        new: &Manifest,
    ) -> Result<(), StoreError> {
        let known = &self.manifest;
        let ours = new.cluster == known.cluster && new.member(self.config.region).is_some();
        if !ours || new.epoch <= known.epoch {
            return Ok(());
        }
        save(txn, new)?;
        let us = self.config.region;
        if new.joins(us) && !known.joins(us) {
            // Whatever it has, it lacks what the others made without it.
            txn.put(Db::Meta, meta::NEWBORN, &[])?;
        }
        self.manifest = Arc::new(new.clone());
        self.resident = false;
        self.forget_tables();
        self.wake_chores();
        Ok(())
    }

    /// The record that the store holds.
    pub(super) fn reload_manifest(&mut self, txn: &dyn ReadTxn) -> Result<(), StoreError> {
        if let Some(manifest) = stored(txn, &self.manifest.cluster)? {
            self.manifest = Arc::new(manifest.map_err(read::damaged)?);
            self.resident = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
