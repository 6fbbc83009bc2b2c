use super::*;
use proptest::prelude::*;

const CLUSTER: [u8; 16] = [0xC1; 16];
const US: RegionId = RegionId(0);
const EU: RegionId = RegionId(1);
const AP: RegionId = RegionId(2);
const NEW: RegionId = RegionId(3);

fn at(address: &str) -> Addresses {
    Addresses {
        replication: Some(address.into()),
        ..Addresses::default()
    }
}

fn two() -> Manifest {
    let mut manifest = Manifest::of(CLUSTER, GroupId(0b11));
    manifest.members[1].addresses = at("h:1");
    manifest
}

fn add(region: RegionId) -> Change {
    Change::Add {
        region,
        name: format!("new-{}", region.0),
        addresses: at(&format!("h:{}", 9_000 + region.0)),
    }
}

fn after(changes: &[Change]) -> Manifest {
    changes.iter().fold(two(), |m, c| m.propose(c).unwrap())
}

#[test]
fn golden_bytes_of_version_2() {
    let mut manifest = after(&[add(NEW)]);
    let gone = Change::Remove { region: EU };
    manifest = manifest.propose(&gone).unwrap();
    let bytes = manifest.encode().unwrap();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, GOLDEN);
    assert_eq!(Manifest::decode(&bytes, &CLUSTER), Ok(manifest));
}

const GOLDEN: &str = "02c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1\
    03030002723000000001010272310103683a3100000403056e65772d330106683a39303033000000";

#[test]
fn a_region_joins_and_leaves() {
    let leave = Change::Leave { region: EU };
    let joining = after(&[add(NEW)]);
    assert_eq!(
        (joining.epoch, joining.state(NEW)),
        (2, Some(State::Joining))
    );
    assert_eq!(joining.counted(), GroupId(0b1011), "counted at once");
    assert_eq!(
        joining.voters(),
        GroupId(0b11),
        "asked only once it is active"
    );
    let active = joining.propose(&Change::Activate { region: NEW }).unwrap();
    assert_eq!(active.voters(), GroupId(0b1011));
    let leaving = active.propose(&leave).unwrap();
    assert_eq!(
        leaving.counted(),
        GroupId(0b1011),
        "until all have what it has"
    );
    assert_eq!(leaving.residents(), GroupId(0b1001));
    let removed = leaving.propose(&Change::Remove { region: EU }).unwrap();
    assert_eq!(removed.counted(), GroupId(0b1001));
    assert_eq!(removed.epoch, 5);
}

#[test]
fn a_lapsed_region_comes_back_as_one_that_joins() {
    let lapsed = after(&[Change::Lapse { region: EU }]);
    assert_eq!(lapsed.counted(), GroupId(0b01));
    let back = lapsed.propose(&Change::Return { region: EU }).unwrap();
    assert_eq!(back.state(EU), Some(State::Joining));
}

#[test]
fn a_moved_region_keeps_what_is_not_said() {
    let endpoint = Addresses {
        endpoint: Some("h:2".into()),
        ..Addresses::default()
    };
    let moved = after(&[Change::Move {
        region: EU,
        addresses: endpoint,
    }]);
    let known = &moved.member(EU).unwrap().addresses;
    assert_eq!(known.replication.as_deref(), Some("h:1"));
    assert_eq!(known.endpoint.as_deref(), Some("h:2"));
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |manifest: &Manifest, change: Change| {
        let words = manifest.propose(&change).expect_err("refused").to_string();
        assert!(!words.is_empty());
        words
    };
    let two = two();
    assert!(refused(&two, add(EU)).contains("never given again"));
    assert!(refused(&two, add(RegionId(64))).contains("r64 is no id"));
    assert!(refused(&two, Change::Activate { region: EU }).contains("only one that joins"));
    assert!(refused(&two, Change::Leave { region: AP }).contains("no member r2"));
    assert!(refused(&two, Change::Return { region: EU }).contains("only one that lapsed"));
    let named = |name: &str, addresses| Change::Add {
        region: AP,
        name: name.into(),
        addresses,
    };
    assert!(refused(&two, named("r1", at("h:7"))).contains("name of a member"));
    assert!(refused(&two, named("x", at("h:1"))).contains("'r1' is reached already"));
    assert!(refused(&two, named("x", Addresses::default())).contains("needs an address"));
    let placed_anew = Manifest::of(CLUSTER, GroupId(0b11));
    let added = placed_anew.propose(&named("x", Addresses::default()));
    assert_eq!(added.expect("legal").state(AP), Some(State::Joining));
    assert!(refused(&two, named("a b", at("h:7"))).contains("cannot be"));
    assert!(refused(&two, named("x", at(&"h".repeat(256)))).contains("cannot be"));
    let lapse = Change::Lapse { region: EU };
    let one = two.propose(&lapse).unwrap();
    assert!(refused(&one, Change::Leave { region: US }).contains("no active member"));
    let gone = Change::Remove { region: EU };
    let removed = one.propose(&gone).unwrap();
    assert!(refused(&removed, gone).contains("cannot be removed again"));
    assert!(refused(&removed, add(EU)).contains("never given again"));
    let again = removed
        .propose(&named("r1", at("h:1")))
        .expect("its name and address are free");
    assert_eq!(again.named("r1").map(|m| m.region), Some(AP));
    assert_eq!(again.free_id(), Some(NEW));
}

#[test]
fn strange_records_are_refused() {
    let bytes = two().encode().unwrap();
    let other = Manifest::decode(&bytes, &[2; 16]).expect_err("another cluster");
    assert!(other.to_string().contains("is of cluster c1c1"), "{other}");
    let mut newer = bytes.clone();
    newer[0] = 9;
    assert_eq!(
        Manifest::decode(&newer, &CLUSTER),
        Err(ManifestError::Version(9))
    );
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(Manifest::decode(&longer, &CLUSTER).is_err());
    assert!(Manifest::decode(&[], &CLUSTER).is_err());
    let mut double = two();
    double.members[1].name = double.members[0].name.clone();
    let bytes = double.encode().unwrap();
    assert!(
        Manifest::decode(&bytes, &CLUSTER).is_err(),
        "two of one name"
    );
}

#[test]
fn founders_may_name_addresses_differently() {
    let (mut a, b) = (two(), two());
    a.members[1].addresses = at("elsewhere:1");
    assert_eq!(a.digest(), b.digest());
    a.members[1].name = "other".into();
    assert_ne!(a.digest(), b.digest());
}

fn any_change() -> impl Strategy<Value = Change> {
    (0u16..6, 0u8..7).prop_map(|(region, kind)| {
        let region = RegionId(region);
        match kind {
            0 => add(region),
            1 => Change::Activate { region },
            2 => Change::Leave { region },
            3 => Change::Remove { region },
            4 => Change::Lapse { region },
            5 => Change::Return { region },
            _ => Change::Move {
                region,
                addresses: at(&format!("m:{}", region.0)),
            },
        }
    })
}

proptest! {
    #[test]
    fn whatever_is_legal_leaves_a_sound_record(
        changes in prop::collection::vec(any_change(), 0..30),
    ) {
        let mut manifest = two();
        for change in changes {
            let Ok(next) = manifest.propose(&change) else { continue };
            prop_assert_eq!(next.epoch, manifest.epoch + 1);
            prop_assert!(next.voters() != GroupId(0));
            let gone = manifest.in_state(|s| s == State::Removed);
            prop_assert_eq!(next.in_state(|s| s == State::Removed).0 & gone.0, gone.0);
            let bytes = next.encode().unwrap();
            prop_assert_eq!(&Manifest::decode(&bytes, &CLUSTER), &Ok(next.clone()));
            manifest = next;
        }
    }

    #[test]
    fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::decode(&[&[VERSION], bytes.as_slice()].concat(), &CLUSTER);
    }
}
