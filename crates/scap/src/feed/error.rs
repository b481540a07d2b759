//! Why a feed cannot be used.

use crate::evaluation::ArfError;

/// Why a feed, or an image with it, cannot be judged. The text is a part of a sentence for people, without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// Not XML, cut off, not OVAL definitions, or definitions that contradict themselves.
    #[error("the definitions cannot be read: {0}")]
    Malformed(String),
    /// Past a limit.
    #[error("the definitions are too large: {0}")]
    TooLarge(String),
    /// The feed is made for another system than the image's.
    #[error("the definitions are made for another system: {0}")]
    OtherSystem(String),
}

impl FeedError {
    pub(super) fn too_large(what: &str) -> Self {
        Self::TooLarge(what.to_owned())
    }

    pub(super) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }
}

impl From<ArfError> for FeedError {
    fn from(error: ArfError) -> Self {
        match error {
            ArfError::Malformed(why) => Self::Malformed(why),
            ArfError::NoTestResult => Self::malformed("there are none in it"),
            ArfError::TooLarge(what) => Self::too_large(what),
        }
    }
}
