//! Frames and frontiers in words, for traces.

use super::world::World;
use crate::replica::log;
use crate::replication::wire::{self, Message};

impl World<'_> {
    pub(super) fn show_frontiers(&self) -> String {
        let mut text = format!(
            "not equal {} s after the last fault:",
            self.plan.config.converge_us / 1_000_000
        );
        for (at, region) in self.regions.iter().enumerate() {
            let frontier = region.frontier().into_iter().flatten();
            let logs: Vec<String> = frontier
                .map(|(log, seq)| format!("{}:{seq}", log.origin.region))
                .collect();
            text.push_str(&format!(" {} has {}", region.name, logs.join(" ")));
            if let Some(words) = self.unfinished(at) {
                text.push_str(&format!(" and {words}"));
            }
            text.push(',');
        }
        text
    }
}

/// A frame in a few words.
pub fn describe(frame: &[u8]) -> String {
    match wire::decode(frame) {
        Ok(Message::Hello(hello)) => format!("hello, heard {}", hello.heard_you),
        Ok(Message::Heartbeat(beat)) => format!("heartbeat, watermark {}", beat.watermark),
        Ok(Message::Ack { frontier }) => {
            let logs = frontier
                .iter()
                .map(|(log, seq)| format!(" {}:{seq}", log.origin.region));
            format!("ack{}", logs.collect::<String>())
        }
        Ok(Message::Gone { log, start }) => {
            format!("{} before {start} is gone", log.origin.region)
        }
        Ok(Message::Fetch { after, .. }) => format!("fetch after {after:?}"),
        Ok(Message::Chunk { part, .. }) => {
            let last = part.next.is_none();
            format!("part of {} rows, last {last}", part.mutations.len())
        }
        Ok(Message::Sums { .. }) => "group sums".into(),
        Ok(Message::BucketSums { buckets, .. }) => format!("{} bucket sums", buckets.len()),
        Ok(Message::AskItems { buckets, .. }) => {
            let buckets: Vec<u16> = buckets.iter().map(|(bucket, _)| *bucket).collect();
            format!("asks for buckets {buckets:?}")
        }
        Ok(Message::Items(offer)) => {
            let last = offer.next.is_none();
            format!("{} items of a bucket, last {last}", offer.items.len())
        }
        Ok(Message::Manifest(_)) => "members".into(),
        Ok(Message::Ruling { epoch, said }) => format!("about members of epoch {epoch}: {said:?}"),
        Ok(Message::TailAsk { .. }) => "asks what nobody else has".into(),
        Ok(Message::TailFrom { from, .. }) => format!("wants {} logs handed over", from.len()),
        Ok(Message::Tail(tail)) => format!("hands over {} commits", tail.commits.len()),
        Ok(Message::TailTaken { upto, outcome, .. }) => {
            format!("decided up to {upto}: {outcome:?}")
        }
        Ok(Message::Probe { .. }) => "probe".into(),
        Ok(Message::ProbeReply { heard_wall_us, .. }) => format!("it is {heard_wall_us}"),
        Ok(Message::Want { log, from, .. }) => format!("want {} from {from}", log.origin.region),
        Ok(Message::Batch {
            log,
            first_seq,
            commits,
            done,
        }) => {
            let origin = log.origin.region;
            let bytes: usize = commits.iter().map(Vec::len).sum();
            let damaged = commits.iter().any(|c| log::header(c).is_err());
            format!(
                "batch {origin}:{first_seq}+{} of {bytes} bytes, done {done}, damaged {damaged}",
                commits.len()
            )
        }
        Err(error) => error.to_string(),
    }
}
