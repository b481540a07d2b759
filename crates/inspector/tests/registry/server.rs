//! The pod's server, as Tidewaiter speaks with it.

use crate::images::Image;
use crate::peers::Registry;
use inspector::reference::Reference;
use inspector::serve::{Ended, serve};
use inspector::settings::Settings;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use scap::protocol::{Answered, Evaluate, FailureCode, Phase, Request, Source, Status, TOKEN_HEADER, env};
use scap::report::{InspectionReport, Layer, LayerState, PackageDatabase};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const TOKEN: &str = "the scan's token";

/// A running server.
struct Pod {
    base: String,
    client: Client,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<anyhow::Result<Ended>>,
    _work: tempfile::TempDir,
}

impl Pod {
    async fn start(registry: &Registry, image: &str, deadline_secs: u64) -> Self {
        let work = tempfile::tempdir().unwrap();
        let mut settings = Settings::read(|name| {
            Some(match name {
                env::SCAN_ID => "7".to_owned(),
                env::TOKEN_SHA256 => hex::encode(Sha256::digest(TOKEN)),
                env::IMAGE => image.to_owned(),
                env::DEADLINE_SECS => deadline_secs.to_string(),
                env::WORK => work.path().to_str()?.to_owned(),
                env::PLAIN_HTTP => registry.host(),
                _ => return None,
            })
        })
        .unwrap();
        settings.access.retry_for = Duration::from_millis(500);
        assert_eq!(settings.image, Reference::parse(image).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(serve(listener, settings, inspector::handover::Part::Whole, async move {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Self { base, client: Client::new(), stop, ended, _work: work }
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).header(TOKEN_HEADER, TOKEN)
    }

    async fn status_code(&self, request: RequestBuilder) -> StatusCode {
        request.send().await.unwrap().status()
    }

    async fn wait(&self, phase: Phase) -> Status {
        let started = Instant::now();
        loop {
            let status: Status = self.ask(Method::GET, "/status").send().await.unwrap().json().await.unwrap();
            if status.phase == phase {
                return status;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn request(layer: Layer, source: Option<Source>) -> Request {
    Request {
        layer,
        source,
        reason: "No content for it.".into(),
        profile: String::new(),
        title: "T".into(),
        needs_packages: vec![scap::report::PackageKind::Deb],
        limit_secs: 30,
        chosen: None,
    }
}

#[tokio::test]
async fn an_inspection_goes_from_pull_to_report_and_ends_when_told() {
    let registry = Registry::open().await;
    let image = registry.push(&Image::sample(), "shop/web");
    let pod = Pod::start(&registry, &image, 60).await;
    let status = pod.wait(Phase::Ready).await;
    assert_eq!((status.scan_id.as_str(), status.os.unwrap().id.as_str(), status.package_database), ("7", "debian", Some(PackageDatabase::Absent)));

    assert_eq!(pod.status_code(pod.client.get(format!("{}/healthz", pod.base))).await, StatusCode::OK);
    assert_eq!(pod.status_code(pod.client.get(format!("{}/status", pod.base))).await, StatusCode::UNAUTHORIZED);
    assert_eq!(pod.status_code(pod.client.post(format!("{}/finish", pod.base)).header(TOKEN_HEADER, "guess")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(pod.status_code(pod.ask(Method::GET, "/report")).await, StatusCode::CONFLICT);

    let packages = pod.ask(Method::GET, "/packages").send().await.unwrap().bytes().await.unwrap();
    assert_eq!(zstd::decode_all(&packages[..]).unwrap(), b"[]");

    let content = b"<content/>";
    let sha256 = hex::encode(Sha256::digest(content));
    let packed = zstd::encode_all(&content[..], 1).unwrap();
    let put = |name: &str, body: &[u8]| pod.ask(Method::PUT, &format!("/content/{name}")).body(body.to_vec());
    assert_eq!(pod.status_code(put(&sha256, &packed)).await, StatusCode::NO_CONTENT);
    assert_eq!(pod.status_code(put(&"0".repeat(64), &packed)).await, StatusCode::BAD_REQUEST);
    assert_eq!(pod.status_code(put(&sha256, content)).await, StatusCode::BAD_REQUEST);
    assert_eq!(pod.status_code(put("..%2fescape", &packed)).await, StatusCode::BAD_REQUEST);

    let ask = |name: &str| pod.ask(Method::POST, &format!("/answers/{name}"));
    let answered: Answered = ask(&sha256).send().await.unwrap().json().await.unwrap();
    assert!(!answered.failure.is_empty(), "this content answers nothing");
    for name in ["0".repeat(64).as_str(), "..%2fescape"] {
        assert_eq!(pod.status_code(ask(name)).await, StatusCode::NOT_FOUND);
    }

    let asked = sha256.clone();
    let wanted = Evaluate { layers: vec![request(Layer::Guide, None), request(Layer::Benchmark, Some(Source::DataStream { sha256 }))] };
    assert_eq!(pod.status_code(pod.ask(Method::POST, "/evaluate").json(&wanted)).await, StatusCode::ACCEPTED);
    pod.wait(Phase::Done).await;
    assert_eq!(pod.status_code(pod.ask(Method::POST, "/evaluate").json(&wanted)).await, StatusCode::ACCEPTED);
    assert_eq!(pod.status_code(pod.ask(Method::POST, "/evaluate").json(&Evaluate { layers: vec![] })).await, StatusCode::CONFLICT);

    let again: Answered = ask(&asked).send().await.unwrap().json().await.unwrap();
    assert_eq!(again, answered, "what was asked before is known, and nothing is asked any more");
    assert_eq!(pod.status_code(pod.ask(Method::GET, "/packages")).await, StatusCode::OK);

    let packed = pod.ask(Method::GET, "/report").send().await.unwrap().bytes().await.unwrap();
    let report: InspectionReport = serde_json::from_slice(&zstd::decode_all(&packed[..]).unwrap()).unwrap();
    assert!(image.ends_with(&report.digest) && image.ends_with(&report.manifest_digest));
    let states: Vec<_> = report.layers.iter().map(|layer| (layer.layer, layer.state)).collect();
    assert_eq!(states, [(Layer::Guide, LayerState::NotCovered), (Layer::Benchmark, LayerState::NotPossible)]);
    assert_eq!(pod.status_code(pod.ask(Method::GET, "/arf/benchmark")).await, StatusCode::NOT_FOUND);
    assert_eq!(pod.status_code(pod.ask(Method::GET, "/html/..%2f..%2fcontent")).await, StatusCode::NOT_FOUND);

    assert_eq!(pod.status_code(pod.ask(Method::POST, "/finish")).await, StatusCode::NO_CONTENT);
    assert_eq!(pod.ended.await.unwrap().unwrap(), Ended::Finished);
}

#[tokio::test]
async fn a_failed_pull_is_told_until_the_server_has_read_it() {
    let registry = Registry::open().await;
    let pod = Pod::start(&registry, &format!("{}/none@sha256:{}", registry.host(), "1".repeat(64)), 60).await;
    let failure = pod.wait(Phase::Failed).await.failure.unwrap();
    assert_eq!(failure.code, FailureCode::ImageNotFound, "{}", failure.message);
    assert_eq!(pod.status_code(pod.ask(Method::GET, "/packages")).await, StatusCode::CONFLICT);
    assert_eq!(pod.status_code(pod.ask(Method::POST, "/evaluate").json(&Evaluate { layers: vec![] })).await, StatusCode::CONFLICT);
    pod.stop.send(()).unwrap();
    assert_eq!(pod.ended.await.unwrap().unwrap(), Ended::Stopped);
}

#[tokio::test]
async fn the_deadline_ends_it_whatever_it_does() {
    let registry = Registry::open().await;
    let pod = Pod::start(&registry, &format!("{}/none@sha256:{}", registry.host(), "1".repeat(64)), 1).await;
    assert_eq!(pod.ended.await.unwrap().unwrap(), Ended::Deadline);
    drop(pod.stop);
}
