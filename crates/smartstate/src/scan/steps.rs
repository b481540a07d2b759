//! The states in which a pod works.

use super::{Run, fenced, token_context};
use crate::lease::State;
use crate::proxy::{Proxy, ProxyError};
use crate::reason::Reason;
use crate::request::say_waiting;
use crate::save::{Artifact, Evidence};
use crate::trouble::Halt;
use crate::vigil::{Sight, evidence, look};
use crate::{content, launch, pod, reaper, report, save};
use bytes::Bytes;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::watcher::watch_object;
use scap::protocol::{Evaluate, Phase, Status};
use scap::report::InspectionReport;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

const STARTING_SECS: i64 = 300;
const PULLING_SECS: i64 = 900;
const FETCHING_SECS: i64 = 300;
const LOOK_EVERY: Duration = Duration::from_millis(300);
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
        let launched = launch::launch(self.ctx, &client, &self.scan, &instance, &token, until).await?;
        self.scan.pod_uid = launched.uid;
        self.scan.warnings.extend(launched.warnings);
        let message = format!("Starting the pod {}", self.scan.pod_name);
        self.advance(State::StartingPod, STARTING_SECS, Some("pod_create"), &message, 10).await
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

    pub(super) async fn start_pod(&mut self) -> Result<(), Halt> {
        let until = self.until();
        let pods: Api<Pod> = Api::namespaced(self.client()?.clone(), &self.scan.namespace);
        let mut sights = pin!(watch_object(pods, &self.scan.pod_name));
        let mut last = Sight::Coming { waits_for: "the node".into(), no_room: false };
        loop {
            let Ok(Some(event)) = timeout_at(until, sights.next()).await else { return Err(late(&last, self.entered).into()) };
            let pod = match event {
                Ok(pod) => pod,
                Err(error) => {
                    tracing::debug!(scan = self.scan.id.0, "watching the pod: {error}");
                    sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            match look(pod.as_ref(), &self.scan.pod_uid) {
                Sight::Running => {
                    let node = pod.and_then(|pod| pod.spec).and_then(|spec| spec.node_name).unwrap_or_default();
                    return self.started(&node).await;
                }
                Sight::Over(reason) => return Err(reason.into()),
                Sight::Lost(detail) => return Err(Halt::Lost(detail)),
                sight @ Sight::Coming { .. } => {
                    if let Sight::Coming { waits_for, no_room: true } = &sight {
                        self.tell_no_room(waits_for).await?;
                    }
                    last = sight;
                }
            }
        }
    }

    async fn tell_no_room(&mut self, waits_for: &str) -> Result<(), Halt> {
        let Some(task) = self.scan.task else { return Ok(()) };
        let reason = Reason::Unschedulable(waits_for.into());
        say_waiting(&mut *self.ctx.pool.acquire().await?, &self.ctx.clock, &[task], &reason).await?;
        Ok(())
    }

    async fn started(&mut self, node: &str) -> Result<(), Halt> {
        sqlx::query!("UPDATE scans SET node_name = $3 WHERE id = $1 AND fence = $2", self.scan.id.0, self.scan.fence, node).execute(&self.ctx.pool).await?;
        self.advance(State::Pulling, PULLING_SECS, Some("pod_start"), &format!("Pulling the image on {node}"), 20).await
    }

    pub(super) async fn pull(&mut self) -> Result<(), Halt> {
        self.until_phase("Pulling and unpacking the image", 30, |phase| matches!(phase, Phase::Ready | Phase::Evaluating | Phase::Done)).await?;
        self.advance(State::Evaluating, content::EVALUATING_SECS, None, "Evaluating", 50).await
    }

    pub(super) async fn evaluate(&mut self) -> Result<(), Halt> {
        let proxy = self.proxy()?;
        let status = self.until_phase("Preparing the evaluation", 50, |phase| matches!(phase, Phase::Ready | Phase::Evaluating | Phase::Done)).await?;
        if status.phase == Phase::Ready {
            let plan = content::plan(&self.ctx.feeds, status.os.as_ref()).await.map_err(|error| Reason::Internal(format!("{error:#}")))?;
            for file in &plan.files {
                self.insist(|| proxy.put_content(&file.sha256, file.body.clone())).await?;
            }
            let what = Evaluate { layers: plan.layers };
            self.insist(|| proxy.evaluate(&what)).await?;
        }
        self.until_phase("The evaluation", 60, |phase| phase == Phase::Done).await?;
        self.advance(State::Fetching, FETCHING_SECS, Some("evaluate"), "Fetching the results", 85).await
    }

    pub(super) async fn fetch(&mut self) -> Result<(), Halt> {
        let proxy = self.proxy()?;
        let packed = self.insist(|| proxy.report()).await?;
        let scan = self.scan.clone();
        let read = tokio::task::spawn_blocking(move || report::read(&packed, &scan)).await.map_err(|error| Reason::Internal(error.to_string()))?;
        let mut report = read.map_err(|error| Reason::WrongReport(format!("{error:#}")))?;
        let artifacts = self.fetch_artifacts(&proxy, &mut report).await?;
        let evidence = self.evidence().await;
        let fetched = u64::try_from(self.entered.elapsed().as_millis()).unwrap_or(0);
        self.tell("Saving the results", 90).await?;
        self.save(&report, &artifacts, &evidence, fetched).await
    }

    async fn save(&mut self, report: &InspectionReport, artifacts: &[Artifact], evidence: &Evidence, fetched_ms: u64) -> Result<(), Halt> {
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
                    self.tell(&status.message.chars().take(500).collect::<String>(), progress).await?;
                }
                Err(ProxyError::Away(detail)) => {
                    self.check_pod().await?;
                    away = Some(detail);
                }
                Err(error) => return Err(refused(&error).into()),
            }
            if Instant::now() >= until {
                let detail = away.map_or_else(|| self.told.0.clone(), |detail| format!("the pod does not answer ({detail})"));
                return Err(Reason::Timeout { doing, secs: self.entered.elapsed().as_secs().try_into().unwrap_or(0), detail }.into());
            }
            sleep(LOOK_EVERY).await;
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
        loop {
            match request().await {
                Err(ProxyError::Away(detail)) => {
                    self.check_pod().await?;
                    if Instant::now() >= until {
                        return Err(Reason::ClusterUnreachable(detail).into());
                    }
                    sleep(LOOK_EVERY).await;
                }
                answer => return Ok(answer),
            }
        }
    }
}

fn late(last: &Sight, since: Instant) -> Reason {
    let secs = since.elapsed().as_secs().try_into().unwrap_or(0);
    match last {
        Sight::Coming { waits_for, no_room: true } => Reason::Unschedulable(waits_for.clone()),
        Sight::Coming { waits_for, .. } => Reason::Timeout { doing: "Starting the scan pod", secs, detail: format!("it waits for {waits_for}") },
        _ => Reason::Timeout { doing: "Starting the scan pod", secs, detail: String::new() },
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
        other => Reason::WrongReport(format!("the inspector answered {other}")),
    }
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
