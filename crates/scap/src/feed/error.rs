//! Why a feed cannot be used.

/// Why a feed, or an image with it, cannot be judged. The text is one sentence part for people, without a full stop.
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
