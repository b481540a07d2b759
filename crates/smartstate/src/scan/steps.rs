//! The states in which a pod works.

use super::{Run, fenced, token_context};
use crate::choice::{self, Choice, Wanted};
use crate::feed::Feeds;
use crate::lease::State;
use crate::packed::Packed;
use crate::proxy::{Proxy, ProxyError};
use crate::reason::Reason;
use crate::save::{Artifact, Evidence};
use crate::trouble::Halt;
use crate::vigil::{Sight, evidence, look};
use crate::{content, launch, packages, pod, reaper, report, save};
use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use scap::feed::Answers;
use scap::protocol::{Evaluate, Failure, FailureCode, Phase, Status};
use scap::report::{InspectionReport, OperatingSystem};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The pause before an unanswered request is repeated grows up to this.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
const EVIDENCE_WITHIN: Duration = Duration::from_secs(8);
const ARF_BYTES: u64 = 512 << 20;
const HTML_BYTES: u64 = 256 << 20;

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
        self.until_phase("Pulling and unpacking the image", 30, |phase| matches!(phase, Phase::Ready | Phase::Evaluating | Phase::Done)).await?;
        self.advance(State::Evaluating, None, "Evaluating", 50).await
    }

    pub(super) async fn evaluate(&mut self) -> Result<(), Halt> {
        let proxy = self.proxy()?;
        let status = self.until_phase("Preparing the evaluation", 50, |phase| matches!(phase, Phase::Ready | Phase::Evaluating | Phase::Done)).await?;
        if status.phase == Phase::Ready {
            self.begin_evaluation(&proxy, status.os.as_ref()).await?;
        }
        self.until_phase("The evaluation", 60, |phase| phase == Phase::Done).await?;
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
        let listed = self.insist(|| proxy.packages()).await?;
        let packages = tokio::task::spawn_blocking(move || packages::read(&listed)).await.map_err(|error| Reason::Internal(error.to_string()))?;
        let choice = Choice::new(found, packages.map_err(|error| Reason::WrongReport(format!("the list of packages: {error}")))?);
        let Some(answers) = self.ask(proxy, choice.questions().await.map_err(internal)?).await? else { return Ok(None) };
        let (wanted, unknown_names) = choice.wanted(answers).await.map_err(internal)?;
        if !unknown_names.is_empty() && !self.fits_elsewhere(os, &unknown_names).await? {
            return Ok(Some((choice.unfit(), None)));
        }
        Ok(Some(wanted))
    }

    async fn ask(&mut self, proxy: &Proxy, questions: Option<Packed>) -> Result<Option<Answers>, Halt> {
        let Some(questions) = questions else { return Ok(Some(Answers::default())) };
        self.put(proxy, &questions).await?;
        let Some(answered) = self.insist(|| proxy.answers(&questions.sha256)).await? else { return Ok(None) };
        if !answered.failure.is_empty() {
            let failure: String = answered.failure.chars().filter(|c| !c.is_control()).take(500).collect();
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

    pub(super) async fn fetch(&mut self) -> Result<(), Halt> {
        let proxy = self.proxy()?;
        let packed = self.insist(|| proxy.report()).await?;
        let scan = self.scan.clone();
        let read = tokio::task::spawn_blocking(move || report::read(&packed, &scan)).await.map_err(|error| Reason::Internal(error.to_string()))?;
        let mut report = read.map_err(|error| Reason::WrongReport(format!("{error:#}")))?;
        let artifacts = self.fetch_artifacts(&proxy, &mut report).await?;
        let evidence = self.evidence().await;
        let fetched = self.in_state_for().num_milliseconds();
        self.tell("Saving the results", 90).await?;
        self.save(&report, &artifacts, &evidence, fetched).await
    }

    async fn save(&mut self, report: &InspectionReport, artifacts: &[Artifact], evidence: &Evidence, fetched_ms: i64) -> Result<(), Halt> {
        let verdict = report::judge(report);
        let started = Instant::now();
        let mut conn = self.ctx.pool.acquire().await?;
        let saved = save::save(&mut conn, self.ctx, &self.scan, report, artifacts, &verdict, evidence).await;
        drop(conn);
        match saved {
            Ok(done) => fenced(u64::from(done))?,
            Err(error) if is_refusal(&error) => return Err(Reason::Internal(format!("the results could not be saved: {error:#}")).into()),
            Err(error) => return Err(Halt::Dropped(error)),
        }
        self.scan.state = State::Cleaning;
        let timings = serde_json::json!({ "fetch": fetched_ms, "save": u64::try_from(started.elapsed().as_millis()).unwrap_or(0) });
        sqlx::query!("UPDATE scans SET timings = timings || $3 WHERE id = $1 AND fence = $2", self.scan.id.0, self.scan.fence, timings)
            .execute(&self.ctx.pool)
            .await?;
        Ok(())
    }

    async fn fetch_artifacts(&mut self, proxy: &Proxy, report: &mut InspectionReport) -> Result<Vec<Artifact>, Halt> {
        let mut artifacts = vec![];
        let wanted = report.layers.iter().flat_map(|layer| [(layer.layer, "arf", layer.has_arf, ARF_BYTES), (layer.layer, "html", layer.has_html, HTML_BYTES)]);
        for (layer, kind, _, limit) in wanted.filter(|(.., has, _)| *has).collect::<Vec<_>>() {
            let packed = match self.insist_or(|| proxy.artifact(kind, layer)).await {
                Ok(Ok(Some(packed))) => packed,
                Ok(Ok(None)) => continue,
                Ok(Err(error)) => {
                    report.warnings.push(format!("The {} of the layer {} could not be fetched: {error}.", kind.to_uppercase(), layer.as_str()));
                    continue;
                }
                Err(halt) => return Err(halt),
            };
            match measured(packed.clone(), limit).await {
                Ok(size_bytes) => artifacts.push(Artifact { layer, kind, packed, size_bytes }),
                Err(error) => report.warnings.push(format!("The {} of the layer {} is not kept: {error:#}.", kind.to_uppercase(), layer.as_str())),
            }
        }
        Ok(artifacts)
    }

    pub(super) async fn evidence(&self) -> Evidence {
        let Some(client) = self.client.as_ref().filter(|_| !self.scan.pod_uid.is_empty()) else {
            return Evidence { log: String::new(), events: serde_json::json!([]) };
        };
        let gathered = timeout(EVIDENCE_WITHIN, evidence(client, &self.scan.namespace, &self.scan.pod_name, &self.scan.pod_uid)).await;
        let (log, events) = gathered.unwrap_or_else(|_| (String::new(), serde_json::json!([])));
        Evidence { log, events }
    }

    /// Follows the inspector until it is in a `wanted` phase.
    async fn until_phase(&mut self, doing: &'static str, progress: i16, wanted: impl Fn(Phase) -> bool) -> Result<Status, Halt> {
        let proxy = self.proxy()?;
        let until = self.until();
        let mut pause = LOOK_EVERY;
        loop {
            let mut away = None;
            match proxy.status().await {
                Ok(status) => {
                    if let Some(failure) = status.failure {
                        return Err(Reason::Inspector(failure).into());
                    }
                    if wanted(status.phase) {
                        return Ok(status);
                    }
                    pause = LOOK_EVERY;
                    self.tell(&status.message.chars().take(500).collect::<String>(), progress).await?;
                }
                Err(ProxyError::Away(detail)) => {
                    self.check_pod().await?;
                    pause = (pause * 2).min(REPEAT_AFTER);
                    away = Some(detail);
                }
                Err(error) => return Err(refused(&error).into()),
            }
            if Instant::now() >= until {
                let detail = away.map_or_else(|| self.told.0.clone(), |detail| format!("the pod does not answer ({detail})"));
                return Err(self.late(doing, detail).into());
            }
            sleep(pause).await;
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
    async fn insist_or<T, F: Future<Output = Result<T, ProxyError>>>(&self, mut request: impl FnMut() -> F) -> Result<Result<T, ProxyError>, Halt> {
        let until = self.until();
        let mut pause = LOOK_EVERY;
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

fn refused(error: &ProxyError) -> Reason {
    match error {
        ProxyError::Refused { status, text } if *status == http::StatusCode::FORBIDDEN && text.contains(r#""kind":"Status""#) => {
            Reason::Forbidden(format!("to use pods/proxy ({text})"))
        }
        ProxyError::Refused { status, text } if *status == http::StatusCode::UNAUTHORIZED && text.contains(r#""kind":"Status""#) => {
            Reason::ClusterLogin(text.clone())
        }
        ProxyError::Refused { status, text } if *status == http::StatusCode::INSUFFICIENT_STORAGE => inspector(FailureCode::NoSpace, text),
        other => Reason::WrongReport(format!("the inspector answered {other}")),
    }
}

/// What content the inspector does not take is damaged or too large.
fn content_refused(error: &ProxyError) -> Reason {
    match error {
        ProxyError::Refused { status, text } if matches!(*status, http::StatusCode::BAD_REQUEST | http::StatusCode::PAYLOAD_TOO_LARGE) => {
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

/// Whether Postgres refused the data, which another try would not change.
fn is_refusal(error: &anyhow::Error) -> bool {
    let code = error.chain().find_map(|cause| cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.code());
    // Class 57: it is shutting down; 53: out of resources; 40: a deadlock; 08: connection; 25: read-only standby.
    code.is_some_and(|code| !["57", "53", "40", "08", "25"].iter().any(|class| code.starts_with(class)))
}

async fn measured(packed: Bytes, limit: u64) -> anyhow::Result<i64> {
    let size = tokio::task::spawn_blocking(move || report::unpacked_size(&packed, limit)).await??;
    Ok(i64::try_from(size)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn what_the_inspector_answers_becomes_the_reason_it_is() {
        let status = r#"{"kind":"Status","message":"no"}"#;
        for (code, text, want, for_content) in [
            (StatusCode::INSUFFICIENT_STORAGE, "No space left on device (os error 28)", "no_space", "no_space"),
            (StatusCode::PAYLOAD_TOO_LARGE, "the content is too large", "wrong_report", "content_error"),
            (StatusCode::BAD_REQUEST, "the content's SHA-256 is 00", "wrong_report", "content_error"),
            (StatusCode::FORBIDDEN, status, "forbidden", "forbidden"),
            (StatusCode::UNAUTHORIZED, status, "cluster_login", "cluster_login"),
            (StatusCode::CONFLICT, "not ready", "wrong_report", "wrong_report"),
        ] {
            let error = ProxyError::Refused { status: code, text: text.into() };
            assert_eq!((refused(&error).code(), content_refused(&error).code()), (want, for_content), "{code}");
        }
    }
}
