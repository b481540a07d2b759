//! What the flows of SmartState Analysis play on: the real cluster as a provider, a namespace of its own, and the server's loop.

use crate::support::{cluster, eventually, setting};
use inventory::provider::{self, NewProvider};
use inventory::{Inventory, Kind};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use model::ids::{ImageId, ProviderId, ScanId, ServerId, TaskId};
use model::{Clock, Sealer};
use queue::task;
use smartstate::{Accepted, ContentSettings, Settings, SmartState};
use sqlx::PgPool;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const FINISHED_WITHIN: Duration = Duration::from_secs(300);

pub struct Stage {
    pub pool: PgPool,
    pub clock: Clock,
    pub sealer: Sealer,
    pub provider: ProviderId,
    pub server: ServerId,
    pub client: Client,
    pub registry: String,
    pub settings: Settings,
    pub content: ContentSettings,
    server_loop: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// A scan when it was finished.
#[derive(Debug, sqlx::FromRow)]
pub struct Ended {
    pub outcome: String,
    pub attempt: i16,
    pub reason_code: String,
    pub message: String,
    pub advice: String,
    pub warnings: Vec<String>,
}

impl Stage {
    /// The server's loop does not run yet: see `start`.
    pub async fn set(pool: PgPool) -> Self {
        let (clock, sealer) = (Clock::default(), Sealer::new(&[7; 32]));
        queue::setup(&pool).await.unwrap();
        let connection = cluster::connection();
        let client = inventory::client(&connection).await.unwrap();
        let mut conn = pool.acquire().await.unwrap();
        let server = queue::server::register(&mut conn, &clock, "test", "0").await.unwrap();
        let new = NewProvider { name: "lab".into(), kind: Kind::Kubernetes, connection };
        let (provider, _) = provider::create(&mut conn, &clock, &sealer, "admin", &new).await.unwrap();
        drop(conn);
        let registry = cluster::registry();
        let settings = Settings {
            namespace: format!("tidewaiter-test-{:08x}", rand::random::<u32>()),
            inspector_image: setting("TIDEWAITER_TEST_INSPECTOR"),
            plain_http_registries: vec![registry.clone(), setting("TIDEWAITER_TEST_PRIVATE_REGISTRY")],
            memory_request: "128Mi".into(),
            ..Settings::default()
        };
        Self { pool, clock, sealer, provider, server, client, registry, settings, content: ContentSettings::default(), server_loop: None }
    }

    /// Starts the loop that every server runs.
    pub fn start(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let work = smartstate::work(self.smartstate(), async {
            stopped.await.ok();
        });
        self.server_loop = Some((stop, tokio::spawn(work)));
    }

    pub async fn stop(&mut self) {
        if let Some((stop, running)) = self.server_loop.take() {
            stop.send(()).ok();
            running.await.unwrap();
        }
    }

    fn smartstate(&self) -> SmartState {
        let (pool, clock, sealer) = (self.pool.clone(), self.clock.clone(), self.sealer.clone());
        SmartState::new(pool, clock, sealer, self.settings.clone(), self.content.clone(), self.server, "test".into())
    }

    pub fn inventory(&self) -> Inventory {
        let settings = inventory::Settings { scan_namespace: self.settings.namespace.clone(), ..inventory::Settings::default() };
        Inventory { pool: self.pool.clone(), clock: self.clock.clone(), sealer: self.sealer.clone(), settings, server: self.server }
    }

    /// The digest of a sample in the open registry.
    pub async fn digest(&self, sample: &str) -> String {
        digest(&self.registry, sample, None).await
    }

    /// The digest of a sample in the registry with a password.
    pub async fn private_digest(&self, sample: &str) -> String {
        digest(&setting("TIDEWAITER_TEST_PRIVATE_REGISTRY"), sample, Some(("puller", "tidewaiter"))).await
    }

    /// A sample image as the inventory knows one that runs by this digest.
    pub async fn sample(&self, sample: &str) -> ImageId {
        let digest = self.digest(sample).await;
        self.image(&self.registry, &format!("samples/{sample}"), &digest).await
    }

    pub async fn image(&self, registry: &str, name: &str, digest: &str) -> ImageId {
        let now = self.clock.now();
        let registry: i64 = sqlx::query_scalar(
            "INSERT INTO image_registries (provider_id, host, name, first_seen_at) VALUES ($1, $2, $2, $3)
             ON CONFLICT (provider_id, name) DO UPDATE SET host = EXCLUDED.host RETURNING id",
        )
        .bind(self.provider)
        .bind(registry)
        .bind(now)
        .fetch_one(&self.pool)
        .await
        .unwrap();
        sqlx::query_scalar(
            "INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at) VALUES ($1, $2, $3, '1', $4, $5, $5)
             RETURNING id",
        )
        .bind(self.provider)
        .bind(registry)
        .bind(name)
        .bind(digest)
        .bind(now)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    pub async fn request(&self, images: &[ImageId]) -> Accepted {
        let mut tx = self.pool.begin().await.unwrap();
        let accepted = smartstate::request(&mut tx, &self.clock, "admin", images).await.unwrap();
        tx.commit().await.unwrap();
        accepted
    }

    /// Requests one image and waits for the end of its scan.
    pub async fn analyse(&self, image: ImageId) -> (ScanId, Ended) {
        let accepted = self.request(&[image]).await;
        let scan = accepted.images[0].scan;
        (scan, self.finished(scan).await)
    }

    pub async fn finished(&self, scan: ScanId) -> Ended {
        self.until_state(scan, &["finished"]).await;
        sqlx::query_as("SELECT outcome, attempt, reason_code, message, advice, warnings FROM scans WHERE id = $1")
            .bind(scan)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub async fn until_state(&self, scan: ScanId, states: &[&str]) {
        eventually(&format!("scan {scan} is one of {states:?}"), FINISHED_WITHIN, || async {
            // Postgres may be away for a while in some flows.
            let state: Option<String> = sqlx::query_scalar("SELECT state FROM scans WHERE id = $1").bind(scan).fetch_one(&self.pool).await.ok();
            state.filter(|state| states.contains(&state.as_str()))
        })
        .await;
    }

    pub async fn task(&self, id: TaskId) -> task::Task {
        task::find(&mut self.pool.acquire().await.unwrap(), id).await.unwrap().unwrap()
    }

    /// The outcome of one rule of a scan.
    pub async fn rule(&self, scan: ScanId, rule: &str) -> Option<String> {
        sqlx::query_scalar("SELECT outcome FROM rule_results JOIN rules ON rules.id = rule_key WHERE scan_id = $1 AND rule_id LIKE '%' || $2 LIMIT 1")
            .bind(scan)
            .bind(rule)
            .fetch_optional(&self.pool)
            .await
            .unwrap()
    }

    /// How many failed rules of one severity a scan has.
    pub async fn failed(&self, scan: ScanId, severity: &str) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM rule_results WHERE scan_id = $1 AND outcome = 'fail' AND severity = $2")
            .bind(scan)
            .bind(severity)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub async fn packages(&self, scan: ScanId) -> Vec<String> {
        sqlx::query_scalar("SELECT name FROM packages WHERE scan_id = $1 ORDER BY ordinal").bind(scan).fetch_all(&self.pool).await.unwrap()
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    /// Ends the server's loop, fails if a pod or secret is left, and removes the namespace.
    pub async fn strike(mut self) {
        self.stop().await;
        let labelled = ListParams::default().labels("tidewaiter.io/instance");
        let names = |of: Vec<kube::core::ObjectMeta>| of.into_iter().filter_map(|meta| meta.name).collect::<Vec<_>>();
        // A deleted pod is listed until its node has ended it.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
        let left = loop {
            let pods = self.pods().list(&labelled).await.unwrap().items;
            let secrets = Api::<Secret>::namespaced(self.client.clone(), &self.settings.namespace).list(&labelled).await.unwrap().items;
            let left = [names(pods.into_iter().map(|pod| pod.metadata).collect()), names(secrets.into_iter().map(|secret| secret.metadata).collect())].concat();
            if left.is_empty() || std::time::Instant::now() > deadline {
                break left;
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        };
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        drop(namespaces.delete(&self.settings.namespace, &DeleteParams::default()).await);
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

async fn digest(registry: &str, sample: &str, login: Option<(&str, &str)>) -> String {
    let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                  application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
    let address = format!("http://{registry}/v2/samples/{sample}/manifests/1");
    let mut request = reqwest::Client::new().head(&address).header("accept", accept);
    if let Some((user, password)) = login {
        request = request.basic_auth(user, Some(password));
    }
    let answer = request.send().await.unwrap();
    answer.headers().get("docker-content-digest").unwrap_or_else(|| panic!("{address}: {}", answer.status())).to_str().unwrap().to_owned()
}
