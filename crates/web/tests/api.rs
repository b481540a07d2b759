//! The API over HTTP: who may call, what a call answers, and that every refusal has the same shape and says what to do.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod support;

use axum::Router;
use axum::body::Body;
use base64::Engine;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeSet;
use support::{PASSWORD, inventory, state};
use tower::ServiceExt;

struct Api {
    router: Router,
    pool: PgPool,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// Status and message of a refusal; its `kind` and `klass` are there.
    fn refusal(&self) -> (u16, &str) {
        let error = &self.body["error"];
        assert!(error["kind"].is_string() && error["klass"].as_str().unwrap().starts_with("Api::"), "{}: {}", self.status, self.body);
        (self.status.as_u16(), error["message"].as_str().unwrap())
    }

    fn good(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }
}

impl Api {
    async fn new(pool: PgPool) -> Self {
        Self { router: web::api(state(&pool).await), pool }
    }

    /// With one of everything ([`inventory`]).
    async fn filled(pool: PgPool) -> Self {
        inventory(&pool).await;
        Self::new(pool).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}: no JSON: {}", parts.status, String::from_utf8_lossy(&body)));
        Answer { status: parts.status, headers: parts.headers, body }
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let login = base64::engine::general_purpose::STANDARD.encode(format!("admin:{PASSWORD}"));
        let query: String =
            path.chars().map(|c| if " '[]\"<>=!~*\\,".contains(c) && !matches!(c, '=' | ',') { format!("%{:02X}", c as u32) } else { c.into() }).collect();
        Request::builder().method(method).uri(query).header(header::HOST, "tidewaiter.example").header(header::AUTHORIZATION, format!("Basic {login}"))
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json").body(body.to_string().into()).unwrap()).await
    }

    /// The names of the images that a list with `query` has, in its order.
    async fn names(&self, query: &str) -> Vec<String> {
        let answer = self.get(&format!("/api/container_images?expand=resources&attributes=name&{query}")).await.good();
        answer["resources"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    async fn run(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.pool).await.unwrap();
    }

    /// Images 2 to 5 beside the first, each of a digest of its own; the last is gone.
    async fn more_images(&self) {
        self.run(
            "INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at, archived_at)
             SELECT 1, 1, name, tag, 'sha256:' || REPEAT(id::TEXT, 64), NOW(), NOW(), CASE WHEN id = 5 THEN NOW() END
             FROM (VALUES (2, 'shop/a_b', 'x'), (3, 'shop/acb', 'y'), (4, 'tools/100%', 'x'), (5, 'old', 'z')) AS new (id, name, tag)",
        )
        .await;
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn who_does_not_log_in_is_told_how(pool: PgPool) {
    let api = Api::new(pool).await;
    let answer = api.send(Request::get("/api/tasks").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.refusal().0, 401);
    assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic"));
    let wrong = base64::engine::general_purpose::STANDARD.encode("admin:nonsense");
    let answer = api.send(Request::get("/api").header(header::AUTHORIZATION, format!("Basic {wrong}")).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.refusal(), (401, "The user or the password is wrong."));
    let nul = base64::engine::general_purpose::STANDARD.encode("ad\0min:nonsense");
    let answer = api.send(Request::get("/api").header(header::AUTHORIZATION, format!("Basic {nul}")).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.refusal().0, 401);
    for path in ["/api", "/api/"] {
        assert_eq!(api.get(path).await.good()["collections"].as_array().unwrap().len(), 3);
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_page_of_another_site_cannot_make_a_browser_act(pool: PgPool) {
    let api = Api::filled(pool).await;
    let body = r#"{"action": "delete"}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let answer = api.send(api.request(Method::POST, "/api/providers/1").header(header::CONTENT_TYPE, kind).body(body.into()).unwrap()).await;
        let (status, message) = answer.refusal();
        assert_eq!(status, 415);
        assert!(message.contains("Content-Type: application/json") && message.contains(kind), "{message}");
    }
    let answer = api.send(api.request(Method::POST, "/api/providers/1").body(body.into()).unwrap()).await;
    assert_eq!(answer.refusal().0, 415, "no type at all");
    let foreign = [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example"), ("origin", "null")];
    for (name, value) in foreign {
        let request = api.request(Method::POST, "/api/providers/1").header(header::CONTENT_TYPE, "application/json").header(name, value);
        assert_eq!(api.send(request.body(body.into()).unwrap()).await.refusal().0, 403, "{name}: {value}");
    }
    assert_eq!(api.count("SELECT COUNT(*) FROM providers").await, 1);
    for (name, value) in [("sec-fetch-site", "same-origin"), ("origin", "https://tidewaiter.example")] {
        let request = api.request(Method::POST, "/api/providers/1").header(header::CONTENT_TYPE, "Application/JSON; charset=utf-8").header(name, value);
        api.send(request.body(r#"{"action": "refresh"}"#.into()).unwrap()).await.good();
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn every_refusal_is_an_error_of_the_api_that_says_what_is_wrong(pool: PgPool) {
    let api = Api::filled(pool).await;
    let cases = [
        ("/api/nothing", 404, "GET /api lists the collections"),
        ("/api/tasks/abc", 404, "id abc in tasks"),
        ("/api/tasks/99999999999999999999", 404, "id 99999999999999999999 in tasks"),
        ("/api/tasks/99", 404, "id 99 in tasks"),
        ("/api/tasks/%FF", 400, "/api/openapi.json"),
        ("/api/tasks?filter[]=name='%00'", 400, "NUL"),
        ("/api/tasks?filter[]=colour='red'", 400, "colour"),
        ("/api/tasks?attributes=colour&expand=resources", 400, "colour"),
        ("/api/tasks?sort_by=colour", 400, "colour"),
        ("/api/tasks?sort_order=up", 400, "asc or desc"),
        ("/api/tasks?limit=-1", 400, "limit"),
        ("/api/tasks?filter[]=name=~'('", 400, "regular expression"),
        ("/api/tasks?filter[]=id=999999999999999999999", 400, "whole number"),
        ("/api/tasks?filter[]=created_on>'yesterday'", 400, "a time such as"),
        ("/api/tasks?filter[]=created_on>'+262142-01-01T00:00:00Z'", 400, "time"),
        ("/api/tasks?fliter[]=name='x'", 400, "fliter[]"),
        ("/api/container_images?expand=resources&attributes=guest_applications.name", 400, "as a whole"),
    ];
    for (path, status, words) in cases {
        let answer = api.get(path).await;
        let (given, message) = answer.refusal();
        assert!(given == status && message.contains(words), "{path}: {given} {message}");
    }
    let answer = api.send(api.request(Method::DELETE, "/api/tasks/1").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.refusal().0, 405);
    let bodies = [
        ("{".to_owned(), 400, "not JSON"),
        ("[]".to_owned(), 400, "JSON object"),
        (json!({"name": "a\0b"}).to_string(), 400, "NUL"),
        (json!({"name": "x".repeat(3 << 20)}).to_string(), 413, "larger than 2 MiB"),
        (format!(r#"{{"resources":[{}1]}}"#, "{},".repeat(30_000)), 413, "at most 10000 resources"),
        (format!(r#"{{"action":"refresh","resources":[{}{{"id":1}}]}}"#, r#"{"id":1},"#.repeat(10_000)), 413, "more than 10000 entries"),
        (json!({"action": "explode"}).to_string(), 400, "create, refresh"),
        (json!({"action": "refresh"}).to_string(), 400, "\"resources\" names none"),
        (json!({"action": "refresh", "resources": [{"id": "one"}]}).to_string(), 400, "names no resource"),
        (json!({"name": "new"}).to_string(), 400, "endpoint"),
        (String::new(), 400, "\"name\""),
    ];
    for (body, status, words) in bodies {
        let shown = body.chars().take(60).collect::<String>();
        let request = api.request(Method::POST, "/api/providers").header(header::CONTENT_TYPE, "application/json");
        let answer = api.send(request.body(body.into()).unwrap()).await;
        let (given, message) = answer.refusal();
        assert!(given == status && message.contains(words), "{shown}: {given} {message}");
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_scan_answers_with_the_task_of_each_image_in_the_order_asked(pool: PgPool) {
    let api = Api::filled(pool).await;
    api.more_images().await;
    let one = api.post("/api/container_images/3", json!({"action": "scan"})).await.good();
    assert_eq!((&one["success"], &one["href"]), (&json!(true), &json!("http://tidewaiter.example/api/container_images/3")));
    let task = one["task_id"].as_str().unwrap();
    assert_eq!(one["task_href"], json!(format!("http://tidewaiter.example/api/tasks/{task}")));
    assert_eq!(one.get("parent_task_id"), None);
    let resources = json!([{"id": 4}, {"href": "http://x/api/container_images/3"}, {"id": "99"}, {"id": "2"}, {"id": 5}, {"id": 4}]);
    let many = api.post("/api/container_images", json!({"action": "scan", "resources": resources})).await.good();
    let results = many["results"].as_array().unwrap();
    assert_eq!(results.len(), 6);
    assert_eq!((&results[1]["task_id"], results[1].get("parent_task_id")), (&one["task_id"], None), "it is under way in its own task");
    assert_eq!(results[0], results[5]);
    for (position, name) in [(0, "tools/100%"), (3, "shop/a_b")] {
        let id: i64 = results[position]["task_id"].as_str().unwrap().parse().unwrap();
        let (target, parent): (String, i64) =
            sqlx::query_as("SELECT target_name, parent_id FROM tasks WHERE id = $1").bind(id).fetch_one(&api.pool).await.unwrap();
        assert!(target.contains(name), "{target}");
        assert_eq!(results[position]["parent_task_id"], json!(parent.to_string()));
    }
    assert_eq!(results[2], json!({"success": false, "message": "Couldn't find a resource with id 99 in container_images"}));
    assert!(results[4]["success"] == json!(false) && results[4]["message"].as_str().unwrap().contains("gone from its cluster"));
    assert_eq!(api.post("/api/container_images/99", json!({"action": "scan"})).await.refusal().0, 404);
    assert_eq!(api.post("/api/container_images/5", json!({"action": "scan"})).await.refusal().0, 409);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn attributes_narrow_a_resource_to_what_was_asked_for(pool: PgPool) {
    let api = Api::filled(pool).await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let image = async |query: &str| api.get(&format!("/api/container_images/1{query}")).await.good();
    let all = keys(&image("").await);
    assert!(all.is_superset(&set(&["actions", "digest", "href", "id", "name"])) && !all.contains("operating_system"));
    assert_eq!(keys(&image("?attributes=name").await), set(&["href", "id", "name"]));
    assert_eq!(keys(&image("?attributes=id").await), set(&["href", "id"]));
    assert_eq!(keys(&image("?attributes=name,actions").await), set(&["actions", "href", "id", "name"]));
    assert_eq!(keys(&image("?attributes=name,labels").await), set(&["href", "id", "labels", "name"]));
    let mut beside = all.clone();
    beside.insert("labels".to_owned());
    assert_eq!(keys(&image("?attributes=labels").await), beside, "only what is not shown by itself comes beside the rest");
    let fields = image("?attributes=name,ext_management_system.name,last_scan_result.scan_status").await;
    assert_eq!((&fields["ext_management_system"], &fields["last_scan_result"]), (&json!({"name": "lab"}), &json!({"scan_status": "error"})));
    let list = api.get("/api/container_images?attributes=name").await.good();
    assert_eq!(list["resources"], json!([{"href": "http://tidewaiter.example/api/container_images/1"}]), "without expand addresses alone");
    let list = api.get("/api/container_images?expand=resources&attributes=name").await.good();
    assert_eq!(list["resources"], json!([{"href": "http://tidewaiter.example/api/container_images/1", "id": "1", "name": "shop/cart"}]));
    assert_eq!(list["actions"][0]["name"], "scan");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_belongs_to_a_resource_is_an_empty_list_when_there_is_none(pool: PgPool) {
    let api = Api::filled(pool).await;
    api.more_images().await;
    let image = api
        .get("/api/container_images/2?attributes=name,openscap_rule_results,guest_applications,container_groups,operating_system,last_scan_result")
        .await
        .good();
    for name in ["openscap_rule_results", "guest_applications", "container_groups"] {
        assert_eq!(image[name], json!([]), "{name}");
    }
    assert_eq!((&image["operating_system"], &image["last_scan_result"]), (&Value::Null, &Value::Null));
    let scanned = api.get("/api/container_images/1?attributes=name,last_scan_result,container_groups").await.good();
    assert_eq!((&scanned["last_scan_result"]["layers"], &scanned["container_groups"][0]["name"]), (&json!([]), &json!("cart-0")));
    assert_eq!(api.get("/api/tasks/1?attributes=task_results").await.good()["task_results"], json!([]));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn filters_are_joined_and_read_as_in_manageiq(pool: PgPool) {
    let api = Api::filled(pool).await;
    api.more_images().await;
    let cases: [(&str, &[&str]); 13] = [
        ("filter[]=name='shop/a_*'", &["shop/a_b"]),
        ("filter[]=name='%25100%25'", &["tools/100%"]),
        ("filter[]=name!='shop/*'", &["tools/100%"]),
        ("filter[]=name='a*\\'", &[]),
        ("filter[]=name=['shop/acb', tools/*]", &["shop/acb", "tools/100%"]),
        ("filter[]=tag!=[x,y]", &["shop/cart"]),
        ("filter[]=architecture!=[amd64,arm64]&filter[]=id>1", &["shop/a_b", "shop/acb", "tools/100%"]),
        ("filter[]=name='shop/*'&filter[]=or tag='1.2'&filter[]=tag='x'", &["shop/a_b", "shop/cart"]),
        ("filter[]=or tag='y'&filter[]=or tag='1.2'", &["shop/acb", "shop/cart"]),
        ("filter[]=last_scan_result.scan_status='error'", &["shop/cart"]),
        ("filter[]=ext_management_system.name='lab'&filter[]=name=~'^t'", &["tools/100%"]),
        ("filter[]=archived=true", &["old"]),
        ("filter[]=deleted_on=NULL&filter[]=tag='z'", &[]),
    ];
    for (query, names) in cases {
        assert_eq!(api.names(&format!("sort_by=name&{query}")).await, names, "{query}");
    }
    assert_eq!(api.names("sort_by=tag,name&sort_order=desc,asc").await, ["shop/acb", "shop/a_b", "tools/100%", "shop/cart"]);
    assert_eq!(api.names("sort_by=tag,name&sort_order=asc,desc").await, ["shop/cart", "tools/100%", "shop/a_b", "shop/acb"]);
    assert_eq!(api.get("/api/container_images/5").await.good()["archived"], json!(true));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_list_with_large_attributes_is_short_and_says_so(pool: PgPool) {
    let api = Api::filled(pool).await;
    api.run(
        "INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at)
         SELECT 1, 1, 'many', '', 'sha256:' || LPAD(n::TEXT, 64, '0'), NOW(), NOW() FROM GENERATE_SERIES(1, 60) AS n",
    )
    .await;
    for (query, limit, pages) in
        [("", 1000, 1), ("&attributes=guest_applications", 50, 2), ("&attributes=openscap_rule_results&limit=500", 50, 2), ("&limit=7", 7, 9)]
    {
        let list = api.get(&format!("/api/container_images?expand=resources{query}")).await.good();
        assert_eq!((&list["limit"], &list["pages"], &list["count"]), (&json!(limit), &json!(pages), &json!(61)), "{query}");
        assert_eq!(list["subcount"], json!(limit.min(61)));
        let next = list["links"]["next"].as_str().map(|next| next.contains(&format!("offset={limit}&limit={limit}")));
        assert_eq!(next, (pages > 1).then_some(true), "{query}: {}", list["links"]);
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn providers_are_refreshed_and_created_all_or_none(pool: PgPool) {
    let api = Api::filled(pool).await;
    let tasks = "SELECT COUNT(*) FROM tasks WHERE kind = 'provider_refresh'";
    let unknown = api.post("/api/providers", json!({"action": "refresh", "resources": [{"id": 1}, {"id": 99}]})).await;
    assert_eq!(unknown.refusal(), (404, "Couldn't find a resource with id 99 in providers"));
    assert_eq!(api.count(tasks).await, 0);
    let done = api.post("/api/providers", json!({"action": "refresh", "resources": [{"id": 1}, {"id": 1}]})).await.good();
    assert_eq!(done["results"][0], done["results"][1]);
    assert_eq!(api.count(tasks).await, 1);
    let new = |name: &str| json!({"name": name, "endpoint": "https://10.0.0.2:6443", "credentials": {"auth_key": "t"}});
    let taken = api.post("/api/providers", json!({"action": "create", "resources": [new("second"), new("lab")]})).await;
    assert_eq!(taken.refusal().0, 400);
    assert_eq!(api.count("SELECT COUNT(*) FROM providers").await, 1);
    let made = api.post("/api/providers", new("second")).await.good();
    assert_eq!((&made["results"][0]["name"], made.to_string().contains("auth_key")), (&json!("second"), false));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_provider_is_paused_and_resumed(pool: PgPool) {
    let api = Api::filled(pool).await;
    let act = |action: &str| api.post("/api/providers/1", json!({ "action": action }));
    act("pause").await.good();
    act("pause").await.good();
    let paused = api.get("/api/providers/1").await.good();
    assert_eq!((&paused["authentication_status"], &paused["enabled"]), (&json!("paused"), &json!(false)));
    assert!(paused["paused_on"].is_string(), "{paused}");
    assert_eq!(act("refresh").await.refusal(), (409, "Provider lab is paused"));
    let refused = api.post("/api/container_images/1", json!({"action": "scan"})).await;
    assert!(refused.refusal().1.contains("is paused"), "{:?}", refused.refusal());
    act("resume").await.good();
    assert_eq!(api.get("/api/providers/1").await.good()["enabled"], json!(true));
    act("refresh").await.good();
    assert_eq!(api.post("/api/providers/99", json!({"action": "pause"})).await.refusal().0, 404);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn tasks_are_cancelled_one_by_one_or_several(pool: PgPool) {
    let api = Api::filled(pool).await;
    let many = api.post("/api/tasks", json!({"action": "cancel", "resources": [{"id": 2}, {"id": 1}, {"id": 77}]})).await.good();
    let success: Vec<_> = many["results"].as_array().unwrap().iter().map(|result| result["success"] == json!(true)).collect();
    assert_eq!(success, [false, true, false]);
    assert_eq!(api.count("SELECT COUNT(*) FROM tasks WHERE cancel_requested_at IS NOT NULL").await, 1);
    assert_eq!(api.post("/api/tasks/1", json!({"action": "cancel"})).await.good()["success"], json!(true), "asked twice");
    assert_eq!(api.post("/api/tasks/2", json!({"action": "cancel"})).await.refusal().0, 400);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn each_role_may_do_what_it_may_do_on_the_pages(pool: PgPool) {
    let api = Api::filled(pool).await;
    let calls = [
        ("/api/providers/1", json!({"action": "refresh"}), "operator"),
        ("/api/container_images/1", json!({"action": "scan"}), "operator"),
        ("/api/tasks/1", json!({"action": "cancel"}), "operator"),
        ("/api/providers", json!({"name": "x"}), "super_administrator"),
        ("/api/providers/1", json!({"action": "pause"}), "super_administrator"),
        ("/api/providers/1", json!({"action": "resume"}), "super_administrator"),
        ("/api/providers/1", json!({"action": "delete"}), "super_administrator"),
    ];
    for role in ["auditor", "operator"] {
        sqlx::query("UPDATE users SET role = $1").bind(role).execute(&api.pool).await.unwrap();
        api.get("/api/providers/1").await.good();
        for (path, body, needs) in &calls {
            let answer = api.post(path, body.clone()).await;
            assert_eq!(answer.status == StatusCode::FORBIDDEN, *needs != role, "{role}: {path} {body}: {}", answer.body);
        }
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn values_that_look_like_secrets_are_masked_for_all_but_administrators(pool: PgPool) {
    let api = Api::filled(pool).await;
    api.run(r#"UPDATE inspections SET config = config || '{"env": ["DB_PASSWORD=Kq7xT2mN", "LANG=C"], "cmd": ["app", "--token", "Kq7xT2mN"], "labels": {"token": "Kq7xT2mN"}}'"#).await;
    let paths = ["/api/container_images/1?attributes=configuration,labels", "/api/container_images?expand=resources&attributes=configuration,labels"];
    for (role, sees) in [("super_administrator", true), ("operator", false), ("auditor", false)] {
        sqlx::query("UPDATE users SET role = $1").bind(role).execute(&api.pool).await.unwrap();
        for path in paths {
            let answer = api.get(path).await.good();
            assert_eq!(answer.to_string().contains("Kq7xT2mN"), sees, "{role}: {path}");
            assert!(answer.to_string().contains("LANG=C"), "{role}: {path}: {answer}");
        }
    }
}

/// Every value that is there is described, whatever depth it has.
fn described(value: &Value, schema: &Value, at: &str) {
    if let (Value::Object(fields), Some(properties)) = (value, schema["properties"].as_object()) {
        for (name, value) in fields {
            described(value, properties.get(name).unwrap_or_else(|| panic!("{at}.{name} is not in the OpenAPI document")), &format!("{at}.{name}"));
        }
    }
    if let (Value::Array(values), false) = (value, schema["items"]["properties"].is_null()) {
        values.iter().for_each(|value| described(value, &schema["items"], at));
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn the_openapi_document_describes_every_answer(pool: PgPool) {
    let api = Api::filled(pool).await;
    for sql in [
        "INSERT INTO rules (fingerprint, rule_id, title, description, rationale, fix, identifiers) VALUES ('x', 'r', 't', 'd', '', 'f', '[{\"text\":\"CVE-2026-1\"}]')",
        "INSERT INTO rule_results (scan_id, ordinal, rule_key, layer, outcome, severity) VALUES (1, 1, 1, 'benchmark', 'fail', 'high')",
        "INSERT INTO packages (scan_id, ordinal, kind, name, version, architecture, source, vendor, summary) VALUES (1, 1, 'deb', 'bash', '5', 'amd64', '', '', '')",
        "INSERT INTO scan_layers (scan_id, layer, state, rules, failed, duration_millis) VALUES (1, 'benchmark', 'evaluated', 1, 1, 1)",
        "INSERT INTO scan_layers (scan_id, layer, state, rules, failed, duration_millis, definitions, definitions_evaluated, definitions_passed, definitions_not_applicable, definitions_undecided) VALUES (1, 'vulnerabilities', 'evaluated', 7, 5, 1, 40005, 7, 2, 39998, 0)",
    ] {
        api.run(sql).await;
    }
    let document = api.send(Request::get("/api/openapi.json").body(Body::empty()).unwrap()).await.good();
    for collection in ["container_images", "providers", "tasks"] {
        let schema = &document["components"]["schemas"][collection];
        let names: Vec<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let whole = api.get(&format!("/api/{collection}/1?attributes={}", names.join(","))).await.good();
        described(&whole, schema, collection);
        assert_eq!(whole.as_object().unwrap().len(), names.len());
        let list = api.get(&format!("/api/{collection}?expand=resources")).await.good();
        described(&list, &document["components"]["schemas"]["Collection"], "list");
        for path in [format!("/api/{collection}"), format!("/api/{collection}/{{id}}")] {
            for method in ["get", "post"] {
                assert!(document["paths"][&path][method]["responses"]["200"].is_object(), "{method} {path}");
            }
        }
    }
    let image = api.get("/api/container_images/1?attributes=openscap_rule_results,guest_applications,last_scan_result").await.good();
    assert_eq!((&image["openscap_rule_results"][0]["cves"], &image["guest_applications"][0]["name"]), (&json!("CVE-2026-1"), &json!("bash")));
    let layers = &image["last_scan_result"]["layers"];
    assert_eq!((&layers[0]["state"], &layers[0]["definitions"]), (&json!("evaluated"), &json!(null)));
    assert_eq!(
        (&layers[1]["definitions"], &layers[1]["definitions_evaluated"], &layers[1]["definitions_not_applicable"]),
        (&json!(40005), &json!(7), &json!(39998))
    );
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_password_that_somebody_else_set_is_refused_until_it_is_changed(pool: PgPool) {
    let api = Api::new(pool).await;
    sqlx::query("UPDATE users SET must_change_password = TRUE").execute(&api.pool).await.unwrap();
    let answer = api.get("/api").await;
    let (status, message) = answer.refusal();
    assert_eq!(status, 403);
    assert!(message.contains("set by somebody else") && message.contains("choose another"), "{message}");
    sqlx::query("UPDATE users SET must_change_password = FALSE").execute(&api.pool).await.unwrap();
    api.get("/api").await.good();
}
