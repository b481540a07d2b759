//! What an error of the cluster means: try again, or tell a person.

use crate::reason::Reason;
use crate::words;
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// What is shown of an answer, in characters: what admission on OpenShift says of a pod is long.
const SHOWN: usize = 1500;
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
///
/// Source: the texts are those of kube-apiserver (`registry/core`, `plugin/pkg/admission`, `authorization`) and of OpenShift's admission of security contexts.
pub(crate) fn reason(error: &kube::Error) -> Option<Reason> {
    let kube::Error::Api(status) = error else { return None };
    let text = words::clean(&status.message, SHOWN);
    match status.code {
        401 => Some(Reason::ClusterLogin(text)),
        403 => denied(text),
        404 => Some(namespace_in(&text).map_or(Reason::PodRejected(text.clone()), |namespace| Reason::Namespace { namespace, detail: text })),
        400 | 422 => Some(Reason::PodRejected(text)),
        _ => None,
    }
}

/// Who may not says so in one form, whatever the right; all other noes are admission's, about the pod.
fn denied(text: String) -> Option<Reason> {
    // A new namespace has no default service account in its first moments, and on OpenShift no range of users.
    if text.contains("serviceaccount") && text.contains("not found") || text.contains("unable to find annotation openshift.io/sa.scc") {
        return None;
    }
    if text.contains("because it is being terminated") {
        let namespace = text.split("in namespace ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
        return Some(Reason::Namespace { namespace: namespace.into(), detail: "it is being deleted".into() });
    }
    if text.contains(r#"User "system:anonymous" cannot "#) {
        return Some(Reason::ClusterLogin(text));
    }
    if text.contains(r#"User ""#) && text.contains(r#"" cannot "#) {
        return Some(Reason::Forbidden(text));
    }
    if text.contains("exceeded quota") || text.contains("failed quota") {
        return Some(Reason::QuotaExceeded(text));
    }
    Some(Reason::PodRejected(text))
}

/// `namespaces "tidewaiter" not found`: it was deleted a moment ago.
fn namespace_in(text: &str) -> Option<String> {
    let rest = text.strip_prefix(r#"namespaces ""#)?;
    rest.strip_suffix(r#"" not found"#).map(str::to_owned)
}

/// What an error that may pass is when it stays: in the server's own words, where it said something.
pub(crate) fn lasting(error: &kube::Error) -> Reason {
    let kube::Error::Api(status) = error else { return Reason::ClusterUnreachable(words::clean(&error.to_string(), SHOWN)) };
    let text = words::clean(&status.message, SHOWN);
    match status.code {
        403 => Reason::PodRejected(text),
        code => Reason::ClusterError { code, detail: text },
    }
}

/// Asks the cluster until it answers or `until` comes.
///
/// # Errors
/// `Because`: the answer is a final no, or none came in time.
pub(crate) async fn ask<T, F: Future<Output = Result<T, kube::Error>>>(until: Instant, question: impl FnMut() -> F) -> Result<T, Halt> {
    ask_saying(until, |_| std::future::ready(Ok(())), question).await
}

/// As [`ask`]; `say` hears at once, and again when it changes, why the cluster said no for now.
///
/// # Errors
/// As [`ask`], and those of `say`.
pub(crate) async fn ask_saying<T, F: Future<Output = Result<T, kube::Error>>, S: Future<Output = anyhow::Result<()>>>(
    until: Instant,
    mut say: impl FnMut(Reason) -> S,
    mut question: impl FnMut() -> F,
) -> Result<T, Halt> {
    let mut pause = PAUSE;
    let mut said = None;
    loop {
        let why = match timeout(ANSWER_WITHIN, question()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => match reason(&error) {
                Some(reason) => return Err(reason.into()),
                None => lasting(&error),
            },
            Err(_) => Reason::ClusterUnreachable(format!("no answer within {} seconds", ANSWER_WITHIN.as_secs())),
        };
        if Instant::now() + pause >= until {
            return Err(why.into());
        }
        if said.as_ref() != Some(&why) {
            say(why.clone()).await?;
            said = Some(why);
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_AT_MOST);
    }
}

#[cfg(test)]
mod tests;
