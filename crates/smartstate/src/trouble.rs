//! What an error of the cluster means: try again, or tell a person.

use crate::reason::Reason;
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_AT_MOST: Duration = Duration::from_secs(3);

/// Why a scan does not go on as it was.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It ends, with this reason.
    Because(Reason),
    /// Its pod is gone: another may be made.
    Lost(String),
    /// The database does not answer or the lease is another's: whoever takes the scan next goes on from its last saved state.
    Dropped(anyhow::Error),
}

impl From<anyhow::Error> for Halt {
    fn from(error: anyhow::Error) -> Self {
        Self::Dropped(error)
    }
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        Self::Dropped(error.into())
    }
}

impl From<Reason> for Halt {
    fn from(reason: Reason) -> Self {
        Self::Because(reason)
    }
}

/// `None`: it may pass by itself (no answer, overload, an account that is being made).
pub(crate) fn reason(error: &kube::Error) -> Option<Reason> {
    let kube::Error::Api(status) = error else { return None };
    let text = status.message.clone();
    match status.code {
        401 => Some(Reason::ClusterLogin(text)),
        // A new namespace has no default service account in its first moments.
        403 if text.contains("serviceaccount") && text.contains("not found") => None,
        // A namespace that is being deleted takes nothing new, and is made again afterwards.
        403 if text.contains("because it is being terminated") => None,
        403 if text.contains("exceeded quota") => Some(Reason::QuotaExceeded(text)),
        403 if text.contains("violates PodSecurity") || text.contains("denied the request") || text.contains("security context constraint") => {
            Some(Reason::PodRejected(text))
        }
        403 => Some(Reason::Forbidden(text)),
        404 => Some(Reason::PodRejected(text)),
        400 | 422 => Some(Reason::PodRejected(text)),
        _ => None,
    }
}

/// Asks the cluster until it answers or `until` comes.
///
/// # Errors
/// `Because`: the answer is a final no, or none came in time.
pub(crate) async fn ask<T, F: Future<Output = Result<T, kube::Error>>>(until: Instant, mut question: impl FnMut() -> F) -> Result<T, Halt> {
    let mut pause = PAUSE;
    loop {
        let detail = match timeout(ANSWER_WITHIN, question()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => match reason(&error) {
                Some(reason) => return Err(reason.into()),
                None => error.to_string(),
            },
            Err(_) => format!("no answer within {} seconds", ANSWER_WITHIN.as_secs()),
        };
        if Instant::now() + pause >= until {
            return Err(Reason::ClusterUnreachable(detail).into());
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_AT_MOST);
    }
}
