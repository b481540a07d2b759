//! A cluster that attacks: just enough of the Kubernetes API that a scan gets to its report, and then what its image's name says.

use super::attack::{self, Attack};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// What it knows; clones share it.
#[derive(Clone, Default)]
pub struct Cluster {
    pods: Arc<Mutex<HashMap<String, Value>>>,
    /// Each request for a report, by its scan.
    pub reports_asked: Arc<Mutex<Vec<String>>>,
    /// The pods that were asked to evaluate.
    pub evaluated: Arc<Mutex<HashSet<String>>>,
}

type Parameters = Query<HashMap<String, String>>;

impl Cluster {
    /// Listens on loopback; gives itself and its address.
    pub async fn start() -> (Self, String) {
        let cluster = Self::default();
        let one = "/api/v1/namespaces/{namespace}/pods/{name}";
        let app = Router::new()
            .route("/version", get(|| async { Json(json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.0" })) }))
            .route("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", post(|| async { Json(json!({ "status": { "allowed": true } })) }))
            .route("/api/v1/namespaces/{namespace}", get(|Path(name): Path<String>| async move { Json(json!({ "metadata": { "name": name } })) }))
            .route("/apis/scheduling.k8s.io/v1/priorityclasses/{name}", get(priority_class))
            .route("/api/v1/namespaces/{namespace}/pods", get(list).post(create))
            .route(one, get(show).delete(delete))
            .route(&format!("{one}/proxy/{{*path}}"), get(proxied).put(|| async { StatusCode::NO_CONTENT }).post(posted))
            .route("/api/v1/{kind}", get(|parameters: Parameters| async move { nothing(&parameters).await }))
            .fallback(|parameters: Parameters| async move { nothing(&parameters).await })
            .with_state(cluster.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (cluster, address)
    }

    fn find(&self, name: &str) -> Option<Value> {
        self.pods.lock().unwrap().get(name).cloned()
    }
}

/// An empty list, and a watch that tells nothing.
async fn nothing(parameters: &HashMap<String, String>) -> Response {
    if parameters.contains_key("watch") {
        return Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()).into_response();
    }
    Json(json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": [] })).into_response()
}

async fn priority_class() -> Json<Value> {
    Json(json!({ "metadata": { "name": "tidewaiter-scan" }, "value": -1000, "preemptionPolicy": "Never" }))
}

fn not_found() -> Response {
    (
        StatusCode::NOT_FOUND,
        Json(json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not found", "reason": "NotFound", "code": 404 })),
    )
        .into_response()
}

async fn list(State(cluster): State<Cluster>, parameters: Parameters) -> Response {
    if parameters.contains_key("watch") {
        return nothing(&parameters).await;
    }
    let wanted = parameters.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name=")).and_then(|name| cluster.find(name));
    let items: Vec<Value> = wanted.into_iter().collect();
    Json(json!({ "apiVersion": "v1", "kind": "PodList", "metadata": { "resourceVersion": "1" }, "items": items })).into_response()
}

async fn create(State(cluster): State<Cluster>, Json(mut pod): Json<Value>) -> Json<Value> {
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    pod["metadata"]["uid"] = format!("uid-of-{name}").into();
    pod["metadata"]["creationTimestamp"] = "2026-11-28T10:00:00Z".into();
    pod["metadata"]["resourceVersion"] = "1".into();
    let status = |name: &str, state: Value| json!({ "name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": state });
    pod["status"] = json!({
        "phase": "Running",
        "initContainerStatuses": [status("pull", json!({ "terminated": { "exitCode": 0 } }))],
        "containerStatuses": [status("inspector", json!({ "running": {} }))],
    });
    cluster.pods.lock().unwrap().insert(name, pod.clone());
    Json(pod)
}

async fn show(State(cluster): State<Cluster>, Path((_, name)): Path<(String, String)>) -> Response {
    cluster.find(&name).map_or_else(not_found, |pod| Json(pod).into_response())
}

async fn delete(State(cluster): State<Cluster>, Path((_, name)): Path<(String, String)>) -> Response {
    cluster.pods.lock().unwrap().remove(&name).map_or_else(not_found, |pod| Json(pod).into_response())
}

/// The evaluation is asked for, or an end.
async fn posted(State(cluster): State<Cluster>, Path((_, name, path)): Path<(String, String, String)>) -> StatusCode {
    if path == "evaluate" {
        cluster.evaluated.lock().unwrap().insert(name.split(':').next().unwrap().to_owned());
    }
    StatusCode::ACCEPTED
}

/// The inspector that was taken over.
async fn proxied(State(cluster): State<Cluster>, Path((_, name, path)): Path<(String, String, String)>) -> Response {
    let name = name.split(':').next().unwrap();
    let Some(pod) = cluster.find(name) else { return not_found() };
    let scan = pod["metadata"]["annotations"]["tidewaiter.io/scan-id"].as_str().unwrap();
    let image = pod["metadata"]["annotations"]["tidewaiter.io/image"].as_str().unwrap();
    let attack = Attack::of(image);
    match path.split('/').next().unwrap() {
        "status" if attack == Attack::Status => endless(),
        "status" => {
            let chooses = Attack::CHOICES.contains(&attack);
            let phase = if chooses && !cluster.evaluated.lock().unwrap().contains(name) { "ready" } else { "done" };
            let os = if chooses { json!({ "id": "debian", "version_id": "12", "pretty_name": "Debian 12" }) } else { json!(null) };
            let status =
                json!({ "scan_id": scan, "phase": phase, "message": "", "failure": null, "os": os, "package_database": null, "architecture": "amd64" });
            Json(status).into_response()
        }
        "packages" => tokio::task::spawn_blocking(move || attack::packages(attack)).await.unwrap().into_response(),
        "arf" | "html" if attack == Attack::Artifacts => endless(),
        "report" => {
            cluster.reports_asked.lock().unwrap().push(scan.to_owned());
            match attack {
                Attack::Silence => std::future::pending().await,
                _ => {
                    let (scan, digest) = (scan.to_owned(), image.rsplit('@').next().unwrap().to_owned());
                    // Hundreds of MiB are compressed for it; meanwhile the cluster answers others.
                    tokio::task::spawn_blocking(move || attack::report(attack, &scan, &digest)).await.unwrap().into_response()
                }
            }
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A body that does not end.
fn endless() -> Response {
    let part = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    Body::from_stream(futures::stream::repeat_with(move || Ok::<_, std::io::Error>(part.clone()))).into_response()
}
