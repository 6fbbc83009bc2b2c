//! `/members` of the admin port: who the members are, and changes of them.

use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::admin::AdminError;
use super::membership;
use super::status::Status;
use crate::clock::RegionId;
use crate::replica::manifest::{Addresses, Change, Manifest, State};
use crate::replication::WishError;

/// A change that replication is asked for, and who wants to know whether it is pursued.
#[derive(Debug)]
pub(super) struct Ask {
    pub change: Change,
    pub answer: oneshot::Sender<Result<(), WishError>>,
}

/// What replication says of changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Pursued {
    /// By member, what it waits for.
    pub waits: Vec<(RegionId, String)>,
    /// What was asked for here and is not agreed on yet, in words.
    pub asked: Option<String>,
}

/// POST /members: one of these.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Wanted {
    Add(Named),
    Remove(Removal),
    Move(Named),
    Lapse(Given),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    id: Option<u16>,
    replication: Option<String>,
    endpoint: Option<String>,
    admin: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    name: String,
    #[serde(default)]
    force: bool,
}

impl Named {
    fn addresses(&self) -> Addresses {
        Addresses {
            replication: self.replication.clone(),
            endpoint: self.endpoint.clone(),
            admin: self.admin.clone(),
        }
    }
}

pub(super) async fn route(
    status: &Status,
    method: &Method,
    body: Bytes,
) -> Result<Value, AdminError> {
    match *method {
        Method::GET => Ok(show(status)),
        Method::POST => {
            let wanted: Wanted = serde_json::from_slice(&body)
                .map_err(|error| AdminError::Bad(format!("the body is not a change: {error}")))?;
            let change = change(&status.manifest(), &wanted)?;
            let (answer, answered) = oneshot::channel();
            let stopping = || AdminError::Unavailable("this region is shutting down".into());
            status
                .asks
                .send(Ask { change, answer })
                .map_err(|_| stopping())?;
            let pursued = answered.await.map_err(|_| stopping())?;
            pursued?;
            Ok(show(status))
        }
        _ => Err(AdminError::NotFound(format!("{method} /members"))),
    }
}

fn show(status: &Status) -> Value {
    let manifest = status.manifest();
    let pursued = status.pursued();
    let waits = pursued.waits.into_iter();
    let name = |region| manifest.member(region).map(|m| m.name.clone());
    let waits = waits.filter_map(|(region, words)| Some((name(region)?, Value::from(words))));
    let state = manifest.state(status.info.id);
    json!({
        "region": status.info.name,
        "state": state.map(State::name),
        "cluster": {"name": status.cluster, "id": status.cluster_id_hex()},
        "epoch": manifest.epoch,
        "members": membership::report(&manifest),
        "waits": waits.collect::<serde_json::Map<_, _>>(),
        "asked": pursued.asked,
    })
}

/// The change that is wanted, by the members as they are.
fn change(manifest: &Manifest, wanted: &Wanted) -> Result<Change, AdminError> {
    let region = |name: &str| {
        let member = manifest.named(name);
        member.ok_or_else(|| AdminError::Bad(format!("there is no member '{name}'")))
    };
    Ok(match wanted {
        Wanted::Add(named) => {
            let free = || manifest.free_id();
            let id = named.id.map(RegionId).or_else(free);
            let full = || AdminError::Bad("there are as many regions as there can be".into());
            Change::Add {
                region: id.ok_or_else(full)?,
                name: named.name.clone(),
                addresses: named.addresses(),
            }
        }
        Wanted::Move(named) => {
            if named.addresses() == Addresses::default() {
                return Err(AdminError::Bad("no new address is given".into()));
            }
            Change::Move {
                region: region(&named.name)?.region,
                addresses: named.addresses(),
            }
        }
        Wanted::Lapse(given) => Change::Lapse {
            region: region(&given.name)?.region,
        },
        Wanted::Remove(removal) => {
            let member = region(&removal.name)?;
            let region = member.region;
            match member.state {
                State::Lapsed if removal.force => Change::Remove { region },
                State::Lapsed => {
                    return Err(AdminError::Bad(format!(
                        "'{}' has lapsed, and may have what no other region has: start it again, or give that up \
                         with --force",
                        removal.name
                    )));
                }
                State::Active | State::Leaving | State::Joining if removal.force => {
                    return Err(AdminError::Bad(format!(
                        "'{}' is {}: only a region that has lapsed is removed by force",
                        removal.name,
                        member.state.name()
                    )));
                }
                _ => Change::Leave { region },
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::mutation::GroupId;

    #[test]
    fn only_force_removes_a_region_that_lapsed() {
        let region = RegionId(1);
        let lapse = Change::Lapse { region };
        let founding = Manifest::of([1; 16], GroupId(0b111));
        let lapsed = founding.propose(&lapse).expect("legal");
        let wanted = |manifest: &Manifest, force: bool| {
            let name = "r1".to_owned();
            change(manifest, &Wanted::Remove(Removal { name, force }))
        };
        let words = wanted(&lapsed, false).expect_err("refused").to_string();
        assert!(words.contains("--force"), "{words}");
        assert_eq!(wanted(&lapsed, true).ok(), Some(Change::Remove { region }));
        let leave = Some(Change::Leave { region });
        assert_eq!(wanted(&founding, false).ok(), leave);
        assert!(wanted(&founding, true).is_err(), "it is active");
    }
}
