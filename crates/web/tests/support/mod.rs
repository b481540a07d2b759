//! A browser without a window: the real router on a database of its own, cookies kept, pages asserted by CSS selector.

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use model::ids::{ImageId, ServerId};
use model::{Clock, Sealer};
use scraper::{Html, Selector};
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::sync::Arc;
use tower::ServiceExt;

pub const PASSWORD: &str = "correct horse battery";

pub struct Browser {
    pub router: Router,
    pub pool: PgPool,
    pub cookies: BTreeMap<String, String>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: String,
}

/// `admin` and one server exist.
pub async fn state(pool: &PgPool) -> web::State {
    let clock = Clock::default();
    let mut conn = pool.acquire().await.unwrap();
    access::create_admin_if_none(&mut conn, &clock, Some(PASSWORD)).await.unwrap();
    let server: ServerId = queue::server::register(&mut conn, &clock, "here", "1.0").await.unwrap();
    drop(conn);
    queue::setup(pool).await.unwrap();
    let settings = web::Settings {
        limits: access::Limits { idle_mins: 60, max_hours: 24 },
        secure_cookies: false,
        trusted_proxies: Vec::new(),
        scan_namespace: "tidewaiter".into(),
    };
    web::State {
        pool: pool.clone(),
        clock,
        sealer: Sealer::new(&[7; 32]),
        logins: access::Logins::new(pool.clone(), Clock::default(), Sealer::new(&[7; 32])),
        settings: Arc::new(settings),
        server,
        server_name: "here".into(),
        changes: Default::default(),
    }
}

impl Browser {
    /// Nobody is logged in; `admin` and one server exist.
    pub async fn new(pool: PgPool) -> Self {
        Self { router: web::ui(state(&pool).await), pool, cookies: BTreeMap::new() }
    }

    pub async fn logged_in(pool: PgPool) -> Self {
        let mut browser = Self::new(pool).await;
        let answer = browser.log_in("admin", PASSWORD, "/").await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/"), "{}", answer.body);
        browser
    }

    pub async fn log_in(&mut self, userid: &str, password: &str, next: &str) -> Answer {
        let page = self.get("/login").await;
        let token = page.attribute("input[name=csrf_token]", "value");
        self.post("/login", &[("csrf_token", &token), ("userid", userid), ("password", password), ("next", next)]).await
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::builder().method(Method::POST).uri(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(body.into()).unwrap()).await
    }

    /// As [`Browser::post`], with the token of the page that holds the form.
    pub async fn post_from(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token(page).await;
        let mut fields = fields.to_vec();
        fields.push(("csrf_token", &token));
        self.post(path, &fields).await
    }

    pub async fn token(&mut self, page: &str) -> String {
        self.get(page).await.attribute("meta[name=csrf-token]", "content")
    }

    pub async fn send(&mut self, mut request: Request<Body>) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.headers_mut().insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value.is_empty() {
                self.cookies.remove(name)
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned())
            };
        }
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
    }
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    /// The texts of all elements that `selector` finds, blanks joined.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let page = Html::parse_document(&self.body);
        let selector = Selector::parse(selector).unwrap();
        page.select(&selector).map(|found| found.text().flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")).collect()
    }

    pub fn attribute(&self, selector: &str, name: &str) -> String {
        let page = Html::parse_document(&self.body);
        let selector = Selector::parse(selector).unwrap();
        let found = page.select(&selector).next().unwrap_or_else(|| panic!("no {name} in:\n{}", self.body));
        found.value().attr(name).unwrap_or_default().to_owned()
    }
}

/// One of everything: a provider with a node, a project, a pod of one container whose image was analysed, and its tasks. Every id is 1.
pub async fn inventory(pool: &PgPool) {
    let digest = format!("sha256:{}", "a".repeat(64));
    let statements = [
        "INSERT INTO providers (name, kind, endpoint, credentials, status, status_message, created_at, updated_at) VALUES ('lab', 'kubernetes', 'https://10.0.0.1:6443', '', 'unreachable', 'Nobody answers.', NOW(), NOW())".to_owned(),
        "INSERT INTO projects (provider_id, uid, name, phase, labels, created_at, first_seen_at) VALUES (1, 'p', 'shop', 'Active', '{\"team\":\"a\"}', NOW(), NOW())".to_owned(),
        "INSERT INTO nodes (provider_id, uid, name, ready, schedulable, conditions, created_at, first_seen_at) VALUES (1, 'n', 'node-1', TRUE, FALSE, '[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"KubeletReady\"}]', NOW(), NOW())".to_owned(),
        "INSERT INTO image_registries (provider_id, host, port, name, first_seen_at) VALUES (1, 'registry.example', 5000, 'registry.example:5000', NOW())".to_owned(),
        format!("INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at) VALUES (1, 1, 'shop/cart', '1.2', '{digest}', NOW(), NOW())"),
        "INSERT INTO pods (provider_id, project_id, node_id, uid, name, phase, created_at, first_seen_at) VALUES (1, 1, 1, 'o', 'cart-0', 'Running', NOW(), NOW())".to_owned(),
        "INSERT INTO containers (provider_id, pod_id, image_id, kind, name, image_reference, state, exit_code) VALUES (1, 1, 1, 'container', 'cart', 'registry.example:5000/shop/cart:1.2', 'terminated', 137)".to_owned(),
        "INSERT INTO tasks (kind, name, state, message, userid, target_kind, target_id, target_name, children_total, children_finished, created_at, updated_at) VALUES ('image_scan_bulk', 'Analysis of 2 images', 'active', '1 of 2 finished', 'admin', 'none', NULL, '', 2, 1, NOW(), NOW())".to_owned(),
        "INSERT INTO tasks (parent_id, kind, name, state, status, message, reason_code, advice, userid, target_kind, target_id, target_name, created_at, updated_at) VALUES (1, 'image_scan', 'Analysis of shop/cart', 'finished', 'error', 'The registry refused the login.', 'access_denied', 'Check the pull secret.', 'admin', 'container_image', 1, 'shop/cart:1.2', NOW(), NOW())".to_owned(),
        "INSERT INTO task_events (task_id, at, message) VALUES (2, NOW(), 'Pod started')".to_owned(),
        format!("INSERT INTO scans (digest, image_id, provider_id, task_id, userid, reference, state, outcome, namespace, pod_name, pod_log, pod_events, requested_at) VALUES ('{digest}', 1, 1, 2, 'admin', 'r', 'finished', 'error', 'tidewaiter', 'scan-1', 'last words', '[{{\"reason\":\"Pulled\",\"message\":\"pulled it\"}}]', NOW())"),
        format!("INSERT INTO inspections (digest, scan_id, inspected_at, compressed_size_bytes, unpacked_size_bytes, config, package_database, package_count, failed_high, fully_checked, provider_id) VALUES ('{digest}', 1, NOW(), 1, 2, '{{\"architecture\":\"amd64\",\"os\":\"linux\"}}', '{{}}', 0, 3, FALSE, 1)"),
    ];
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(pool).await.unwrap();
    }
    count_findings(pool).await;
}

/// Lets all images carry the inspections that count for them, as whoever saves one or adds an image does.
pub async fn count_findings(pool: &PgPool) {
    let mut tx = pool.begin().await.unwrap();
    let images: Vec<ImageId> = sqlx::query_scalar("SELECT id FROM container_images").fetch_all(&mut *tx).await.unwrap();
    inventory::findings::lock(&mut tx).await.unwrap();
    inventory::findings::renew(&mut tx, &images).await.unwrap();
    tx.commit().await.unwrap();
}
