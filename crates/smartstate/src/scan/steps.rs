//! The states in which a pod works.

use super::{Run, fenced, token_context};
use crate::choice::{self, Choice, Wanted};
use crate::feed::Feeds;
use crate::lease::State;
use crate::packed::Packed;
use crate::proxy::{Proxy, ProxyError};
use crate::reason::Reason;
use crate::save::Evidence;
use crate::trouble::Halt;
use crate::vigil::{Sight, evidence, look};
use crate::{content, launch, packages, pod, reaper, words};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use scap::feed::Answers;
use scap::protocol::{Evaluate, Failure, FailureCode, Phase, Status};
use scap::report::OperatingSystem;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Between two questions for the status, whatever the inspector answers.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One that pulls ends before the one that inspects listens: for so many times nobody answers, and it is no trouble.
const CHANGES_WITHIN: u32 = 4;
/// Before an unanswered request is repeated; it grows.
const REPEAT_FIRST: Duration = Duration::from_millis(300);
/// The pause before an unanswered request is repeated grows up to this.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// Of a sentence of the inspector, in characters.
const SHOWN: usize = 500;
const EVIDENCE_WITHIN: Duration = Duration::from_secs(8);

impl Run<'_> {
    pub(super) async fn create_pod(&mut self) -> Result<(), Halt> {
        let until = self.until();
        let instance = reaper::instance(&mut *self.ctx.pool.acquire().await?).await?;
        self.name_pod(&instance).await?;
        let token = self.token()?;
        let client = self.client()?.clone();
        let launched = launch::launch(self.ctx, (&client, self.kind), &self.scan, &instance, &token, until).await?;
        self.scan.pod_uid = launched.uid;
        self.scan.warnings.extend(launched.warnings.into_iter().map(|warning| warning.replace('\0', "")));
        let message = format!("Starting the pod {}", self.scan.pod_name);
        self.advance(State::StartingPod, Some("pod_create"), &message, 10).await
    }

    /// Notes namespace, name and token before there is a pod, so that whoever comes next finds it.
    async fn name_pod(&mut self, instance: &str) -> Result<(), Halt> {
        if self.scan.namespace.is_empty() {
            self.scan.namespace.clone_from(&self.ctx.settings.namespace);
        }
        self.scan.pod_name = pod::name(self.scan.id, instance, self.scan.attempt);
        if self.scan.token.is_none() {
            let token = hex::encode(rand::random::<[u8; 32]>());
            let sealed = self.ctx.sealer.seal(token.as_bytes(), &token_context(self.scan.id))?;
            self.scan.token = Some(sealed);
        }
        let saved = sqlx::query!(
            "UPDATE scans SET namespace = $3, pod_name = $4, token = $5 WHERE id = $1 AND fence = $2",
            self.scan.id.0,
            self.scan.fence,
            self.scan.namespace,
            self.scan.pod_name,
            self.scan.token
        )
        .execute(&self.ctx.pool)
        .await?;
        Ok(fenced(saved.rows_affected())?)
    }

    pub(super) async fn pull(&mut self) -> Result<(), Halt> {
        self.until_phase("Pulling and unpacking the image", 30, Phase::ReadingPackages).await?;
        self.advance(State::Evaluating, None, "Evaluating", 50).await
    }

    pub(super) async fn evaluate(&mut self) -> Result<(), Halt> {
        let proxy = self.proxy()?;
        let status = self.until_phase("Preparing the evaluation", 50, Phase::ReadingPackages).await?;
        if status.phase == Phase::Ready {
            self.begin_evaluation(&proxy, status.os.as_ref()).await?;
        }
        self.until_phase("The evaluation", 60, Phase::Evaluating).await?;
        self.advance(State::Fetching, Some("evaluate"), "Fetching the results", 85).await
    }

    /// Puts the content into the pod and has it evaluated. Another server that had the scan before may have come further meanwhile: then what it asked for
    /// stands.
    async fn begin_evaluation(&mut self, proxy: &Proxy, os: Option<&OperatingSystem>) -> Result<(), Halt> {
        let begun = Instant::now();
        let feeds = Arc::clone(&self.ctx.feeds);
        let Some(vulnerabilities) = self.choose(proxy, &feeds, os).await? else { return Ok(()) };
        self.note_time("choose", begun).await?;
        if let Some(os) = os {
            self.scan.warnings.extend(feeds.stale(os).await);
        }
        let plan = content::plan(os, vulnerabilities).map_err(|error| Reason::Internal(format!("{error:#}")))?;
        for file in &plan.files {
            self.put(proxy, file).await?;
        }
        let what = Evaluate { layers: plan.layers };
        match self.insist_or(|| proxy.evaluate(&what)).await? {
            Err(ProxyError::Refused { status: http::StatusCode::CONFLICT, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(refused(&error).into()),
        }
    }

    async fn put(&self, proxy: &Proxy, file: &Packed) -> Result<(), Halt> {
        let put = self.insist_or(|| proxy.put_content(&file.sha256, file.body.clone())).await?;
        Ok(put.map_err(|error| content_refused(&error))?)
    }

    /// The layer of vulnerabilities; `None` when the pod evaluates already.
    async fn choose(&mut self, proxy: &Proxy, feeds: &Feeds, os: Option<&OperatingSystem>) -> Result<Option<Wanted>, Halt> {
        let internal = |error: anyhow::Error| Reason::Internal(format!("{error:#}"));
        let found = match choice::find(feeds, os).await {
            Ok(found) => found,
            Err(none) => return Ok(Some((*none, None))),
        };
        self.tell("Choosing vulnerability definitions", 52).await?;
        let room = self.room(packages::HELD_MIB).await?;
        self.begin_reading().await?;
        let listed = self.insist(|| proxy.packages()).await?;
        let packages = tokio::task::spawn_blocking(move || packages::read(&listed)).await.map_err(|error| Reason::Internal(error.to_string()))?;
        let choice = Choice::new(found, packages.map_err(|error| Reason::WrongReport(format!("the list of packages: {error}")))?);
        let Some(answers) = self.ask(proxy, choice.questions().await.map_err(internal)?).await? else { return Ok(None) };
        // The document takes several times its size while it is made. The packages keep their room until nobody needs them.
        let turn = self.ctx.choosing.acquire().await.map_err(|error| internal(error.into()))?;
        let (wanted, unknown_names) = choice.wanted(answers).await.map_err(internal)?;
        drop(turn);
        self.end_reading().await?;
        if !unknown_names.is_empty() && !self.fits_elsewhere(os, &unknown_names).await? {
            return Ok(Some((choice.unfit(), None)));
        }
        drop((choice, room));
        Ok(Some(wanted))
    }

    async fn ask(&mut self, proxy: &Proxy, questions: Option<Packed>) -> Result<Option<Answers>, Halt> {
        let Some(questions) = questions else { return Ok(Some(Answers::default())) };
        self.put(proxy, &questions).await?;
        let Some(answered) = self.insist(|| proxy.answers(&questions.sha256)).await? else { return Ok(None) };
        if !answered.failure.is_empty() {
            let failure = words::clean(&answered.failure, 500);
            self.scan.warnings.push(format!("Which vulnerability definitions concern the image could not be asked for all of them: {failure}"));
        }
        Ok(Some(answered.answers))
    }

    /// Whether another image of the system has a package that the feed names.
    async fn fits_elsewhere(&self, os: Option<&OperatingSystem>, names: &[String]) -> Result<bool, Halt> {
        let Some(os) = os else { return Ok(false) };
        Ok(packages::is_any_installed(&mut *self.ctx.pool.acquire().await?, os, self.scan.id, names).await?)
    }

    async fn note_time(&self, step: &str, begun: Instant) -> Result<(), Halt> {
        let timings = serde_json::json!({ step: u64::try_from(begun.elapsed().as_millis()).unwrap_or(0) });
        sqlx::query!("UPDATE scans SET timings = timings || $3 WHERE id = $1 AND fence = $2", self.scan.id.0, self.scan.fence, timings)
            .execute(&self.ctx.pool)
            .await?;
        Ok(())
    }

    pub(super) async fn evidence(&self) -> Evidence {
        let Some(client) = self.client.as_ref().filter(|_| !self.scan.pod_uid.is_empty()) else {
            return Evidence::default();
        };
        let gathered = timeout(EVIDENCE_WITHIN, evidence(client, &self.scan.namespace, &self.scan.pod_name, &self.scan.pod_uid)).await;
        let (log, events) = gathered.unwrap_or_else(|_| (String::new(), serde_json::json!([])));
        Evidence { log, events }
    }

    /// Follows the inspector until it is `past` a phase.
    async fn until_phase(&mut self, doing: &'static str, progress: i16, past: Phase) -> Result<Status, Halt> {
        let proxy = self.proxy()?;
        let until = self.until();
        let mut unanswered = 0;
        loop {
            let asked_at = Instant::now();
            let mut away = None;
            match proxy.status(past).await {
                Ok(status) => {
                    if let Some(failure) = status.failure {
                        return Err(Reason::Inspector(Failure { message: words::clean(&failure.message, SHOWN), ..failure }).into());
                    }
                    if status.phase > past {
                        return Ok(status);
                    }
                    unanswered = 0;
                    self.tell(&words::clean(&status.message, SHOWN), progress).await?;
                }
                Err(ProxyError::Away(detail)) => {
                    self.check_pod().await?;
                    unanswered += 1;
                    away = Some(detail);
                }
                Err(error) => return Err(refused(&error).into()),
            }
            if Instant::now() >= until {
                let detail = away.map_or_else(|| self.told.0.clone(), |detail| format!("the pod does not answer ({detail})"));
                return Err(self.late(doing, detail).into());
            }
            sleep_until(asked_at + if unanswered > CHANGES_WITHIN { REPEAT_AFTER } else { LOOK_EVERY }).await;
        }
    }

    /// Is the pod that does not answer over? When the API server does not answer either, time will tell.
    async fn check_pod(&self) -> Result<(), Halt> {
        let pods: Api<Pod> = Api::namespaced(self.client()?.clone(), &self.scan.namespace);
        let Ok(Ok(found)) = timeout(Duration::from_secs(10), pods.get_opt(&self.scan.pod_name)).await else {
            sleep(Duration::from_secs(1)).await;
            return Ok(());
        };
        match look(found.as_ref(), &self.scan.pod_uid) {
            Sight::Over(reason) => Err(reason.into()),
            Sight::Lost(detail) => Err(Halt::Lost(detail)),
            Sight::Running | Sight::Coming { .. } => Ok(()),
        }
    }

    /// Repeats a request until it is answered.
    async fn insist<T, F: Future<Output = Result<T, ProxyError>>>(&self, request: impl FnMut() -> F) -> Result<T, Halt> {
        self.insist_or(request).await?.map_err(|error| refused(&error).into())
    }

    /// Like `insist`, but a no is the caller's to judge.
    pub(super) async fn insist_or<T, F: Future<Output = Result<T, ProxyError>>>(&self, mut request: impl FnMut() -> F) -> Result<Result<T, ProxyError>, Halt> {
        let until = self.until();
        let mut pause = REPEAT_FIRST;
        loop {
            match request().await {
                Err(ProxyError::Away(detail)) => {
                    self.check_pod().await?;
                    if Instant::now() >= until {
                        return Err(Reason::ClusterUnreachable(detail).into());
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(REPEAT_AFTER);
                }
                answer => return Ok(answer),
            }
        }
    }
}

pub(super) fn refused(error: &ProxyError) -> Reason {
    match error {
        ProxyError::Refused { status, text, of_api_server: true } if *status == http::StatusCode::FORBIDDEN => {
            Reason::Forbidden(format!("to use pods/proxy ({text})"))
        }
        ProxyError::Refused { status, text, of_api_server: true } if *status == http::StatusCode::UNAUTHORIZED => Reason::ClusterLogin(text.clone()),
        ProxyError::Refused { status, text, .. } if *status == http::StatusCode::INSUFFICIENT_STORAGE => inspector(FailureCode::NoSpace, text),
        other => Reason::WrongReport(format!("the inspector answered {other}")),
    }
}

/// What content the inspector does not take is damaged or too large.
fn content_refused(error: &ProxyError) -> Reason {
    match error {
        ProxyError::Refused { status, text, .. } if matches!(*status, http::StatusCode::BAD_REQUEST | http::StatusCode::PAYLOAD_TOO_LARGE) => {
            inspector(FailureCode::ContentError, text)
        }
        other => refused(other),
    }
}

fn inspector(code: FailureCode, text: &str) -> Reason {
    let what = match code {
        FailureCode::NoSpace => "The scan pod has no space left",
        _ => "The inspector does not take the content",
    };
    Reason::Inspector(Failure { code, message: format!("{what}: {text}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn what_the_inspector_answers_becomes_the_reason_it_is() {
        for (code, text, want, for_content) in [
            (StatusCode::INSUFFICIENT_STORAGE, "No space left on device (os error 28)", "no_space", "no_space"),
            (StatusCode::PAYLOAD_TOO_LARGE, "the content is too large", "wrong_report", "content_error"),
            (StatusCode::BAD_REQUEST, "the content's SHA-256 is 00", "wrong_report", "content_error"),
            (StatusCode::FORBIDDEN, "no", "forbidden", "forbidden"),
            (StatusCode::UNAUTHORIZED, "no", "cluster_login", "cluster_login"),
            (StatusCode::CONFLICT, "not ready", "wrong_report", "wrong_report"),
        ] {
            let error = ProxyError::Refused { status: code, text: text.into(), of_api_server: text == "no" };
            assert_eq!((refused(&error).code(), content_refused(&error).code()), (want, for_content), "{code}");
        }
    }
}
