//! One newtype per table, so that an image's number cannot pass for a scan's.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[doc = $doc:literal] $name:ident),+ $(,)?) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                Self(number)
            }
        }
    )+};
}

id! {
    /// A row of `users`.
    UserId,
    /// A row of `servers`.
    ServerId,
    /// A row of `tasks`.
    TaskId,
    /// A row of `providers`.
    ProviderId,
    /// A row of `projects`.
    ProjectId,
    /// A row of `nodes`.
    NodeId,
    /// A row of `pods`.
    PodId,
    /// A row of `containers`.
    ContainerId,
    /// A row of `image_registries`.
    RegistryId,
    /// A row of `container_images`.
    ImageId,
    /// A row of `scans`.
    ScanId,
}
