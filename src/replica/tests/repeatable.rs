//! Which groups readers may see before they are durable.

use super::*;

/// Two regions that have a table, with a stream or without.
fn two(stream: bool) -> (Node, Node) {
    let [mut here, mut there] = [0, 1].map(|id| Node::global(id, small()));
    let mut table = simple();
    if let WriteRequest::CreateTable { def, .. } = &mut table {
        def.stream_view = stream.then(|| "NEW_IMAGE".into());
    }
    there.write(table).unwrap();
    here.pull(&there);
    (here, there)
}

#[test]
fn what_peers_send_again_is_repeatable() {
    let (mut here, mut there) = two(false);
    there.put(1, "theirs").unwrap();
    here.pull(&there);
    assert!(here.replica.is_repeatable());
    here.group(Vec::new());
    assert!(!here.replica.is_repeatable(), "there is nothing to see");
}

#[test]
fn what_gives_out_numbers_is_not() {
    let (mut here, mut there) = two(false);
    there.put(1, "theirs").unwrap();
    let theirs = here.due(&there).pop().unwrap();
    here.put(1, "ours").unwrap();
    assert!(!here.replica.is_repeatable(), "a commit of this region");
    here.group(vec![Job::Remote(theirs)]);
    assert!(!here.replica.is_repeatable(), "a conflict");

    let (mut here, mut there) = two(true);
    there.put(1, "theirs").unwrap();
    here.pull(&there);
    assert!(!here.replica.is_repeatable(), "a record of a stream");

    let (mut here, mut there) = two(false);
    there.put(1, "theirs").unwrap();
    here.at_us += 60_000_000;
    here.pull(&there);
    assert!(!here.replica.is_repeatable(), "the bound of the clock");
}
