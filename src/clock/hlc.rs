//! hlc
pub struct Hlc {}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hlc")]
pub enum HlcError {}
