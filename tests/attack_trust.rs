//! A cluster that lies about what it found: it has the API of a cluster, runs a pod of the same image as another one, and its "scan pods" report what
//! it likes without pulling anything. The real product process believes it about its own images and about no others'.

use crate::support::eventually;
use crate::support::product::Product;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(60);
const BODY_BYTES: usize = 1 << 20;

fn digest() -> String {
    format!("sha256:{}", "d".repeat(64))
}

/// An API server of which nothing is real.
struct Liar {
    name: &'static str,
    /// How many rules its reports say have failed.
    failed: Mutex<usize>,
    /// The scan pods that it pretends to run.
    pods: Mutex<HashMap<String, Value>>,
}

impl Liar {
    /// Starts one; gives it and its address.
    async fn start(name: &'static str, failed: usize) -> (Arc<Self>, String) {
        let liar = Arc::new(Self { name, failed: Mutex::new(failed), pods: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&liar));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (liar, address)
    }

    fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "uid": format!("{}-{name}", self.name), "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:00Z"})
    }

    fn list(&self, kind: &str, items: Vec<Value>) -> Value {
        json!({"kind": format!("{kind}List"), "apiVersion": "v1", "metadata": {"resourceVersion": "10"}, "items": items})
    }

    /// One pod that runs the image.
    fn workload(&self) -> Value {
        let mut metadata = self.metadata("pay-0");
        metadata["namespace"] = json!("shop");
        let container = json!({"name": "pay", "image": "r.local/pay:1"});
        let running = json!({"name": "pay", "image": "r.local/pay:1", "imageID": format!("r.local/pay@{}", digest()), "ready": true, "restartCount": 0,
                             "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"nodeName": "n", "containers": [container]},
               "status": {"phase": "Running", "containerStatuses": [running]}})
    }

    fn scan_id(&self, pod: &str) -> String {
        let pods = self.pods.lock().unwrap();
        let id = pods.get(pod).and_then(|pod| pod["metadata"]["annotations"].as_object()?.values().find_map(|value| value.as_str()?.parse::<i64>().ok()));
        id.map(|id| id.to_string()).unwrap_or_default()
    }

    fn report(&self, pod: &str) -> Vec<u8> {
        let failed = *self.failed.lock().unwrap();
        let rule = |number: usize| {
            json!({"rule_id": format!("rule-{number}"), "outcome": if number < failed { "fail" } else { "pass" }, "severity": "high",
                                          "title": format!("Rule {number}"), "identifiers": []})
        };
        let layer = |name: &str, rules: Vec<Value>| json!({"layer": name, "state": "evaluated", "rules": rules, "duration_ms": 1});
        let report = json!({
            "version": 1, "scan_id": self.scan_id(pod), "digest": digest(), "manifest_digest": digest(), "media_type": self.name,
            "compressed_size_bytes": 1, "unpacked_size_bytes": 1, "config": {"architecture": "amd64", "os": "linux"},
            "os": {"id": self.name, "version_id": "1", "pretty_name": format!("{} says", self.name), "id_like": []},
            "package_database": {"state": "read", "paths": []}, "packages": [],
            "layers": [layer("benchmark", (0..9).map(rule).collect()), layer("guide", vec![]), layer("vulnerabilities", vec![])],
            "timings": {"pull_ms": 1, "unpack_ms": 1, "packages_ms": 1},
        });
        zstd::encode_all(report.to_string().as_bytes(), 1).unwrap()
    }

    /// The answer for what is asked of a scan pod's inspector.
    fn inspect(&self, pod: &str, path: &str) -> Response {
        match path {
            "status" => ok(&json!({"scan_id": self.scan_id(pod), "phase": "done", "message": "", "failure": null, "os": null, "package_database": null,
                                   "architecture": "amd64"})),
            "report" => Response::new(Body::from(self.report(pod))),
            // An answer of the inspector, not of the API server.
            _ => Response::builder().status(404).body(Body::empty()).unwrap(),
        }
    }

    fn pod(&self, method: &str, name: &str) -> Response {
        let mut pods = self.pods.lock().unwrap();
        let found = if method == "DELETE" { pods.remove(name) } else { pods.get(name).cloned() };
        found.map_or_else(|| refused(404), |pod| ok(&pod))
    }

    /// The scan pods that a query's field selector means.
    fn pods_named(&self, query: &str) -> Vec<Value> {
        let pods = self.pods.lock().unwrap();
        pods.iter().filter(|(name, _)| !query.contains("fieldSelector") || query.contains(name.as_str())).map(|(_, pod)| pod.clone()).collect()
    }

    fn run(&self, mut pod: Value) -> Response {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        pod["metadata"]["uid"] = json!(format!("{}-{name}", self.name));
        let started = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let status = |name: &Value, state: &Value| json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state});
        let [pull, inspect] = ["initContainers", "containers"].map(|kind| pod["spec"][kind][0]["name"].clone());
        pod["status"] = json!({"phase": "Running", "initContainerStatuses": [status(&pull, &json!({"terminated": {"exitCode": 0}}))],
                               "containerStatuses": [status(&inspect, &started)]});
        self.pods.lock().unwrap().insert(name, pod.clone());
        ok(&pod)
    }
}

fn ok(value: &Value) -> Response {
    Response::builder().header("content-type", "application/json").body(Body::from(value.to_string())).unwrap()
}

fn refused(code: u16) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no", "reason": "NotFound", "code": code});
    Response::builder().status(code).header("content-type", "application/json").body(Body::from(status.to_string())).unwrap()
}

async fn answer(State(liar): State<Arc<Liar>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
    if head.uri.query().is_some_and(|query| query.contains("watch=")) {
        return Response::new(Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>()));
    }
    let body = to_bytes(body, BODY_BYTES).await.unwrap_or_default();
    match (head.method.as_str(), path.as_slice()) {
        (_, ["version"]) => ok(&json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "", "gitTreeState": "", "buildDate": "",
                                        "goVersion": "", "compiler": "", "platform": "linux/amd64"})),
        ("GET", ["api", "v1", "namespaces"]) => ok(&liar.list("Namespace", vec![json!({"metadata": liar.metadata("shop"), "status": {"phase": "Active"}})])),
        ("GET", ["api", "v1", "nodes"]) => ok(&liar.list("Node", vec![json!({"metadata": liar.metadata("n"), "spec": {}, "status": {}})])),
        ("GET", ["api", "v1", "pods"]) => ok(&liar.list("Pod", vec![liar.workload()])),
        ("GET", ["api", "v1", "namespaces", name]) => ok(&json!({"kind": "Namespace", "apiVersion": "v1", "metadata": liar.metadata(name)})),
        (_, ["api", "v1", "namespaces", _, "pods", pod, "proxy", inspector, ..]) => liar.inspect(pod.split(':').next().unwrap_or_default(), inspector),
        ("GET", ["api", "v1", "namespaces", _, "pods", _, "log"]) => Response::new(Body::empty()),
        ("POST", ["api", "v1", "namespaces", _, "pods"]) => liar.run(serde_json::from_slice(&body).unwrap_or_default()),
        (method @ ("GET" | "DELETE"), ["api", "v1", "namespaces", _, "pods", pod]) => liar.pod(method, pod),
        ("GET", ["api", "v1", "namespaces", _, "pods"]) => ok(&liar.list("Pod", liar.pods_named(head.uri.query().unwrap_or_default()))),
        ("GET", [.., "secrets" | "events"]) => ok(&liar.list("Thing", vec![])),
        ("POST", [.., "selfsubjectaccessreviews"]) => {
            let mut review: Value = serde_json::from_slice(&body).unwrap_or_default();
            review["status"] = json!({"allowed": true});
            ok(&review)
        }
        ("POST", _) => ok(&serde_json::from_slice(&body).unwrap_or_default()),
        _ => refused(404),
    }
}

/// The product with two clusters that run the same image.
struct Two {
    product: Product,
    pool: PgPool,
    lab: Arc<Liar>,
    lab_provider: String,
    prod_image: String,
    lab_image: String,
}

/// What is said of an image: where it was inspected, how many rules failed, the operating system, where the last scan ran.
type Said = (Value, Value, Value, Value);

fn said(provider: &str, failed: usize) -> Said {
    (json!(provider), json!(failed), json!(provider), json!(provider))
}

fn nothing() -> Said {
    (Value::Null, Value::Null, Value::Null, Value::Null)
}

impl Two {
    async fn start(pool: PgPool, lab_shares: bool) -> Self {
        let product = Product::start(&pool, &[("SMARTSTATE__INSPECTOR_IMAGE", &format!("r.local/inspector@{}", digest()))]).await;
        let ((_, prod), (lab, lab_address)) = (Liar::start("prod", 4).await, Liar::start("lab", 0).await);
        let add = async |name: &str, endpoint: &str, shares: bool| {
            let new = json!({"name": name, "endpoint": endpoint, "credentials": {"auth_key": "token"}, "shares_results": shares});
            let (status, answer) = product.api(Method::POST, "/api/providers", Some(new)).await;
            assert!(status.is_success(), "{answer}");
            answer["results"][0]["id"].as_str().unwrap().to_owned()
        };
        let prod_provider = add("prod", &prod, true).await;
        let lab_provider = add("lab", &lab_address, lab_shares).await;
        let image = async |provider: &str| {
            let path = format!("/api/container_images?expand=resources&attributes=name&filter[]=ems_id='{provider}'");
            eventually("the image is in the inventory", WITHIN, || async {
                product.api(Method::GET, &path, None).await.1["resources"][0]["id"].as_str().map(str::to_owned)
            })
            .await
        };
        let (prod_image, lab_image) = (image(&prod_provider).await, image(&lab_provider).await);
        Self { product, pool, lab, lab_provider, prod_image, lab_image }
    }

    /// Analyses an image; gives the message of its task.
    async fn scan(&self, image: &str) -> String {
        let (status, answer) = self.product.api(Method::POST, &format!("/api/container_images/{image}"), Some(json!({"action": "scan"}))).await;
        assert!(status.is_success(), "{answer}");
        let task = format!("/api/tasks/{}", answer["task_id"].as_str().unwrap());
        eventually("the analysis ends", WITHIN, || async {
            let (_, task) = self.product.api(Method::GET, &task, None).await;
            assert_ne!(task["status"], "Error", "{task}\n{}", self.product.log());
            (task["state"] == "Finished").then(|| task["message"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    async fn said(&self, image: &str) -> Said {
        let path = format!("/api/container_images/{image}?attributes=last_scan_result");
        let (_, image) = self.product.api(Method::GET, &path, None).await;
        let take = |value: &Value| value.clone();
        (take(&image["inspected_on"]), take(&image["failed_high"]), take(&image["os_distribution"]), take(&image["last_scan_result"]["provider"]))
    }

    async fn both(&self) -> (Said, Said) {
        (self.said(&self.prod_image).await, self.said(&self.lab_image).await)
    }

    async fn share(&self, shares: bool) {
        let body = json!({"action": "edit", "resource": {"shares_results": shares}});
        let (status, answer) = self.product.api(Method::POST, &format!("/api/providers/{}", self.lab_provider), Some(body)).await;
        assert!(status.is_success(), "{answer}");
    }

    /// Images with that operating system, and images in which a rule failed: what lists and counts are made of.
    async fn listed(&self, filter: &str) -> Vec<String> {
        let path = format!("/api/container_images?expand=resources&attributes=id&filter[]={filter}");
        let (_, answer) = self.product.api(Method::GET, &path, None).await;
        answer["resources"].as_array().unwrap().iter().map(|image| image["id"].as_str().unwrap().to_owned()).collect()
    }

    async fn remove_lab(&self) {
        let path = format!("/api/providers/{}", self.lab_provider);
        let (status, answer) = self.product.api(Method::POST, &path, Some(json!({"action": "delete"}))).await;
        assert!(status.is_success(), "{answer}");
        eventually("the provider is removed", WITHIN * 2, || async { (self.product.api(Method::GET, &path, None).await.0 == 404).then_some(()) }).await;
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_an_untrusted_cluster_forges_changes_nothing_at_another(pool: PgPool) {
    let mut two = Two::start(pool, false).await;
    two.scan(&two.lab_image).await;
    assert_eq!(two.both().await, (nothing(), said("lab", 0)), "an image that nobody trusted looked into is not analysed");
    assert_eq!(two.listed("failed_high=0").await, std::slice::from_ref(&two.lab_image));

    assert_eq!(two.scan(&two.prod_image).await, "4 rules failed: 4 high");
    assert_eq!(two.both().await, (said("prod", 4), said("lab", 0)), "nor does the lab take what prod found");
    *two.lab.failed.lock().unwrap() = 9;
    two.scan(&two.lab_image).await;
    assert_eq!(two.both().await, (said("prod", 4), said("lab", 9)), "a newer one neither clears nor blames");
    assert_eq!((two.listed("failed_high=4").await, two.listed("os_distribution='lab'").await), (vec![two.prod_image.clone()], vec![two.lab_image.clone()]));

    // Trusted by mistake, and no longer: at once, with what prod had before.
    two.share(true).await;
    assert_eq!(two.both().await, (said("lab", 9), said("lab", 9)));
    two.share(false).await;
    assert_eq!(two.both().await, (said("prod", 4), said("lab", 9)));

    two.remove_lab().await;
    assert_eq!(two.said(&two.prod_image).await, said("prod", 4));
    let left: i64 = sqlx::query_scalar("SELECT (SELECT COUNT(*) FROM scans) + (SELECT COUNT(*) FROM inspections)").fetch_one(&two.pool).await.unwrap();
    assert_eq!(left, 2, "prod's own");
    assert!(two.product.is_running() && two.product.is_ready().await);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_was_forged_while_it_was_trusted_is_gone_once_it_is_not(pool: PgPool) {
    let two = Two::start(pool, true).await;
    two.scan(&two.lab_image).await;
    assert_eq!(two.both().await, (said("lab", 0), said("lab", 0)), "a cluster that is trusted is believed");
    two.share(false).await;
    assert_eq!(two.both().await, (nothing(), said("lab", 0)));
    assert_eq!(two.listed("failed_high=0").await, std::slice::from_ref(&two.lab_image));
    // A request at prod does not join the lab's scan, and its own report counts.
    *two.lab.failed.lock().unwrap() = 1;
    let (at_lab, at_prod) = tokio::join!(two.scan(&two.lab_image), two.scan(&two.prod_image));
    assert_eq!((at_lab.as_str(), at_prod.as_str()), ("1 rule failed: 1 high", "4 rules failed: 4 high"));
    assert_eq!(two.both().await, (said("prod", 4), said("lab", 1)));
    two.remove_lab().await;
    assert_eq!(two.said(&two.prod_image).await, said("prod", 4));
}
