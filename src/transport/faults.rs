//! Faults that are switched on and off while regions run, per peer and as seen from here.

use std::time::Duration;

use tokio::sync::watch;

/// How the way to a peer is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    #[default]
    None,
    /// Frames to the peer are dropped silently; its frames still arrive. When this ends, a session
    /// that lost frames ends too, so that a lane never shows a gap (T1).
    Out,
    /// The connection is closed, and refused for as long as this lasts.
    Both,
}

impl Cut {
    /// The word that the admin API and `status` use.
    pub fn name(self) -> &'static str {
        match self {
            Cut::None => "none",
            Cut::Out => "out",
            Cut::Both => "both",
        }
    }

    pub fn parse(word: &str) -> Option<Cut> {
        [Cut::None, Cut::Out, Cut::Both]
            .into_iter()
            .find(|c| c.name() == word)
    }
}

/// The state of the way to one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFault {
    pub cut: Cut,
    /// Added to every outgoing frame; order is kept. A change also holds for frames already waiting.
    pub delay: Duration,
}

/// Holds a peer's fault and wakes whoever waits for it to change.
#[derive(Debug)]
pub(super) struct FaultSwitch(watch::Sender<LinkFault>);

impl FaultSwitch {
    pub fn new(delay: Duration) -> Self {
        FaultSwitch(watch::Sender::new(LinkFault {
            cut: Cut::None,
            delay,
        }))
    }

    pub fn get(&self) -> LinkFault {
        *self.0.borrow()
    }

    pub fn set(&self, fault: LinkFault) {
        self.0.send_if_modified(|current| {
            let changed = *current != fault;
            *current = fault;
            changed
        });
    }

    pub fn subscribe(&self) -> watch::Receiver<LinkFault> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_words_read_back() {
        for cut in [Cut::None, Cut::Out, Cut::Both] {
            assert_eq!(Cut::parse(cut.name()), Some(cut));
        }
        assert_eq!(Cut::parse("sideways"), None);
    }
}
