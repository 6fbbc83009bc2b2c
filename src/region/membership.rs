//! The record of the members against the topology file, and in `status`.

use serde_json::{Value, json};

use super::RegionError;
use super::start::one_way;
use crate::clock::RegionId;
use crate::config::{RegionSpec, Topology};
use crate::replica::manifest::{Addresses, Manifest, Member, State};
use crate::transport::Peer;

/// The record that a new store begins with. Addresses that are given anew at every start are not kept.
pub(super) fn founding(topology: &Topology, pins_addresses: bool) -> Manifest {
    let mut manifest = Manifest::found(topology);
    if !pins_addresses {
        for member in &mut manifest.members {
            member.addresses = Addresses::default();
        }
    }
    manifest
}

/// How a topology differs from the record: what differs, and what to do. The record counts. Only where one
/// region has two ids nothing fits any more.
pub(super) fn compare(
    manifest: &Manifest,
    topology: &Topology,
) -> Result<Vec<String>, RegionError> {
    let epoch = manifest.epoch;
    let mut found = Vec::new();
    for spec in &topology.regions {
        let name = &spec.name;
        match manifest.named(name) {
            None => found.push(format!(
                "the topology has region '{name}', which is no member (epoch {epoch}): `meridian region add {name}` \
                 adds it"
            )),
            Some(member) if member.state == State::Removed => found.push(format!(
                "the topology has region '{name}', which was removed: take it out of the file"
            )),
            Some(member) if member.region != RegionId(spec.id) => {
                return Err(RegionError::OtherId {
                    region: name.clone(),
                    file: spec.id,
                    known: member.region.0,
                });
            }
            Some(member) => found.extend(moved(member, spec)),
        }
    }
    let stays = manifest
        .members
        .iter()
        .filter(|m| m.state != State::Removed);
    for member in stays.filter(|m| topology.region(&m.name).is_none()) {
        found.push(format!(
            "the topology lacks region '{}' (id {}), which is {} (epoch {epoch}): add it to the file, or remove it with \
             `meridian region remove {}`",
            member.name,
            member.region.0,
            member.state.name(),
            member.name
        ));
    }
    Ok(found)
}

fn moved(member: &Member, spec: &RegionSpec) -> Vec<String> {
    let known = &member.addresses;
    let pairs = [
        ("replication", "gossip", &known.replication, &spec.gossip),
        ("endpoint", "endpoint", &known.endpoint, &spec.endpoint),
        ("admin", "admin", &known.admin, &spec.admin),
    ];
    let differs = pairs.into_iter().filter_map(|(option, key, known, file)| {
        let (known, file) = (known.as_ref()?, file.as_ref()?);
        let name = &member.name;
        (known != file).then(|| {
            format!(
                "the topology has {key} = \"{file}\" for region '{name}', and its peers know {known}: if it moved, \
                 `meridian region move {name} --{option} {file}`"
            )
        })
    });
    differs.collect()
}

/// The names of the regions that are members.
pub(super) fn names(manifest: &Manifest) -> Vec<(RegionId, String)> {
    let stays = manifest
        .members
        .iter()
        .filter(|m| m.state != State::Removed);
    stays.map(|m| (m.region, m.name.clone())).collect()
}

/// Whom region `us` connects to, and where: as the record says, or the topology where the record says nothing.
/// One that is no member any more is only answered, so that it hears of it; and if this region is none, it
/// calls nobody.
pub(super) fn peers(manifest: &Manifest, topology: &Topology, us: RegionId) -> Vec<Peer> {
    let name = |region| manifest.member(region).map(|m| m.name.as_str());
    let calls = manifest.state(us) != Some(State::Removed);
    let others = manifest.members.iter().filter(|m| m.region != us);
    // A name that was given again is the newer member's.
    let others = others.filter(|m| manifest.named(&m.name).map(|n| n.region) == Some(m.region));
    let peer = |member: &Member| {
        let spec = topology.region(&member.name);
        let address = member.addresses.replication.clone();
        let address = address.or_else(|| spec.and_then(|spec| spec.gossip.clone()));
        let rtt_ms = topology.rtt_ms(name(us).unwrap_or_default(), &member.name);
        Peer {
            id: member.region,
            name: member.name.clone(),
            // One that lapsed may come back, and hands over what only it has.
            calls: calls && address.is_some() && member.state != State::Removed,
            address: address.unwrap_or_default(),
            delay: one_way(rtt_ms),
        }
    };
    others.map(peer).collect()
}

/// The members as `status` shows them.
pub(super) fn report(manifest: &Manifest) -> Vec<Value> {
    let row = |member: &Member| {
        json!({
            "name": member.name,
            "id": member.region.0,
            "state": member.state.name(),
            "replication": member.addresses.replication,
            "endpoint": member.addresses.endpoint,
            "admin": member.addresses.admin,
        })
    };
    manifest.members.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::manifest::Change;

    const TWO: &str = "[cluster]\nname='c'\nid='00112233445566778899aabbccddeeff'\n\
        [[region]]\nname='us-east-1'\nid=0\ngossip='h:1'\n\
        [[region]]\nname='eu-west-1'\nid=1\ngossip='h:2'\n";

    fn topology(text: &str) -> Topology {
        Topology::parse(text, "t.toml").expect("parses")
    }

    fn differences(manifest: &Manifest, text: &str) -> String {
        compare(manifest, &topology(text)).expect("fits").join("; ")
    }

    #[test]
    fn a_changed_topology_is_told_and_not_followed() {
        let manifest = founding(&topology(TWO), true);
        assert_eq!(differences(&manifest, TWO), "");
        let third = format!("{TWO}[[region]]\nname='eu-west-3'\nid=2\n");
        assert!(differences(&manifest, &third).contains("`meridian region add eu-west-3`"));
        let less = TWO.split("[[region]]\nname='eu").next().expect("the first");
        assert!(differences(&manifest, less).contains("lacks region 'eu-west-1' (id 1)"));
        let moved = differences(&manifest, &TWO.replace("h:2", "h:3"));
        assert!(
            moved.contains("region move eu-west-1 --replication h:3"),
            "{moved}"
        );
        let renumbered = compare(&manifest, &topology(&TWO.replace("id=1", "id=5")));
        let words = renumbered.expect_err("two ids").to_string();
        assert!(words.contains("id 5") && words.contains("id 1"), "{words}");
        let region = RegionId(1);
        let gone = Change::Remove { region };
        let removed = manifest.propose(&gone).expect("legal");
        assert!(differences(&removed, TWO).contains("was removed"));
    }

    #[test]
    fn regions_that_are_placed_anew_may_be_anywhere() {
        let manifest = founding(&topology(TWO), false);
        assert_eq!(differences(&manifest, &TWO.replace("h:2", "h:3")), "");
    }
}
