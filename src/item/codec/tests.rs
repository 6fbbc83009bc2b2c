use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::item::json::write_item;
use crate::item::value::NESTING_MAX;
use crate::item::value::tests::{any_item, nested_lists};

fn one(value: Value) -> Item {
    Item::from([("a".to_owned(), value)])
}

#[test]
fn the_layout_is_fixed() {
    let item = Item::from([
        ("b".to_owned(), Value::Bool(true)),
        ("n".to_owned(), Value::N(Number::from(42))),
        ("s".to_owned(), Value::S("hi".into())),
        ("x".to_owned(), Value::N(Number::parse("-1.5").unwrap())),
    ]);
    let expected = [
        &[1, 13, 4][..],
        &[1, b'b', tag::TRUE],
        &[1, b'n', tag::N, 1, 42],
        &[1, b's', tag::S, 2, b'h', b'i'],
        &[1, b'x', tag::N, 0xA1, 0xFF, 15],
    ];
    assert_eq!(encode(&item), expected.concat());
}

#[test]
fn unknown_versions_are_refused() {
    let mut bytes = encode(&one(Value::Null));
    for version in [0, 2, 255] {
        bytes[0] = version;
        assert_eq!(decode(&bytes), Err(CodecError::Version(version)));
        assert_eq!(item_size(&bytes), Err(CodecError::Version(version)));
        assert_eq!(
            write_json(&bytes, &mut Vec::new()),
            Err(CodecError::Version(version))
        );
    }
    assert_eq!(decode(&[]), Err(CodecError::Truncated));
}

#[test]
fn every_depth_an_item_may_have_round_trips_and_no_depth_overflows_the_stack() {
    let item = one(nested_lists(NESTING_MAX));
    assert_eq!(decode(&encode(&item)), Ok(item));
    let mut deep = vec![VERSION, 1, 1, 1, b'a'];
    for _ in 0..1_000_000 {
        deep.extend_from_slice(&[tag::L, 1]);
    }
    assert_eq!(decode(&deep), Err(CodecError::TooDeep));
    assert_eq!(write_json(&deep, &mut Vec::new()), Err(CodecError::TooDeep));
    let mut maps = vec![VERSION, 1, 1, 1, b'a'];
    for _ in 0..1_000_000 {
        maps.extend_from_slice(&[tag::M, 1, 1, b'a']);
    }
    assert_eq!(decode(&maps), Err(CodecError::TooDeep));
}

#[test]
fn lengths_are_not_trusted() {
    for tag in [tag::S, tag::B, tag::SS, tag::NS, tag::BS, tag::L, tag::M] {
        let bytes = [VERSION, 1, 1, 1, b'a', tag, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
        assert_eq!(decode(&bytes), Err(CodecError::Truncated), "tag {tag}");
    }
    let beyond = [VERSION, 1, 1, 1, b'a', tag::S, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F];
    assert_eq!(decode(&beyond), Err(CodecError::Malformed("varint")));
}

#[test]
fn second_spellings_are_refused() {
    let head = [VERSION, 2, 1, 1, b'a'];
    for (tail, what) in [
        (&[tag::NULL, 0][..], "bytes after the item"),
        (&[tag::N, 1, 0], "number"),
        (&[tag::N, 1, 10], "number"),
        (&[tag::N, head::EXPONENT | 1, 0, 1], "number"),
        (&[tag::N, head::EXPONENT_LONG | 1, 0, 1, 1], "number"),
        (&[tag::N, head::NEGATIVE], "number"),
        (&[tag::SS, 0], "empty set"),
        (&[tag::SS, 2, 1, b'b', 1, b'a'], "order of a set"),
        (&[tag::SS, 2, 1, b'a', 1, b'a'], "order of a set"),
        (&[tag::S, 0x80, 0], "varint"),
        (&[tag::S, 1, 0xFF], "text"),
        (&[0], "tag"),
        (&[tag::S, 0], "size"),
    ] {
        let bytes = [&head[..], tail].concat();
        assert_eq!(decode(&bytes), Err(CodecError::Malformed(what)), "{tail:?}");
    }
}

proptest! {
    #[test]
    fn items_round_trip(item in any_item()) {
        let bytes = encode(&item);
        prop_assert_eq!(item_size(&bytes), Ok(size::item_size(&item)));
        prop_assert_eq!(decode(&bytes), Ok(item));
    }

    #[test]
    fn json_from_bytes_is_json_from_the_value(item in any_item()) {
        let (mut direct, mut built) = (Vec::new(), Vec::new());
        write_json(&encode(&item), &mut direct).unwrap();
        write_item(&item, &mut built);
        prop_assert_eq!(direct, built);
    }

    #[test]
    fn damaged_items_are_refused_or_are_other_items(
        item in any_item(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let mut bytes = encode(&item);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = decode(&bytes) {
            prop_assert_ne!(&other, &item);
            prop_assert_eq!(encode(&other), bytes.clone());
        }
        let _ = write_json(&bytes, &mut Vec::new());
        prop_assert!(decode(&bytes[..at]).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(tail in vec(prop_oneof![0u8..13, any::<u8>()], 0..200)) {
        let bytes = [&[VERSION][..], &tail].concat();
        if let Ok(item) = decode(&bytes) {
            prop_assert_eq!(encode(&item), bytes.clone());
        }
        let _ = write_json(&bytes, &mut Vec::new());
        let _ = pick(&bytes, |name| name < "m");
    }

    #[test]
    fn what_is_picked_is_what_an_item_has(item in any_item()) {
        let wanted = |name: &str| name.len().is_multiple_of(2);
        let mut expected = item.clone();
        expected.retain(|name, _| wanted(name));
        prop_assert_eq!(pick(&encode(&item), wanted), Ok(expected));
    }
}
