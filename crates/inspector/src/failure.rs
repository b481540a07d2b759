//! Failures that a person reads: a stable code and a sentence that says what to do.

use scap::protocol::{Failure, FailureCode};
use std::io::{self, ErrorKind};

/// A failure with `message`, one sentence for people.
pub(crate) fn failure(code: FailureCode, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into() }
}

/// A damaged or unknown image.
pub(crate) fn bad_image(message: impl Into<String>) -> Failure {
    failure(FailureCode::BadImage, message)
}

/// A failure to write below the work folder.
pub(crate) fn storage(doing: &str, error: &io::Error) -> Failure {
    if is_full(error) {
        let message = format!("The scan's storage is full ({doing}): give scan pods more ephemeral storage, or scan on a node with more free disk.");
        return failure(FailureCode::NoSpace, message);
    }
    failure(FailureCode::Internal, format!("The inspector failed while {doing}: {error}."))
}

/// No space, no inodes or no quota left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
