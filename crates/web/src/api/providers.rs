//! `/api/providers`.

use super::collection::{Attribute, Collection, Kind};
use super::error::ApiError;
use super::{Caller, body, host};
use crate::State;
use access::Permission;
use axum::Json;
use axum::extract::{Path, RawQuery};
use axum::http::HeaderMap;
use inventory::provider::{self, NewProvider, SaveError};
use inventory::{Connection, Kind as ProviderKind, removal};
use model::ids::ProviderId;
use serde_json::{Value, json};

const fn plain(name: &'static str, sql: &'static str, kind: Kind) -> Attribute {
    Attribute { name, sql, kind, default: true }
}

/// All providers; credentials are never part of an answer.
pub(crate) const PROVIDERS: Collection = Collection {
    name: "providers",
    from: "FROM providers p",
    base: "TRUE",
    id: "p.id",
    attributes: &[
        Attribute { name: "id", sql: "p.id", kind: Kind::Integer, default: false },
        plain("name", "p.name", Kind::Text),
        plain(
            "type",
            "CASE p.kind WHEN 'openshift' THEN 'ManageIQ::Providers::Openshift::ContainerManager' \
             ELSE 'ManageIQ::Providers::Kubernetes::ContainerManager' END",
            Kind::Text,
        ),
        plain("kind", "p.kind", Kind::Text),
        plain("endpoint", "p.endpoint", Kind::Text),
        plain("api_version", "p.api_version", Kind::Text),
        plain("authentication_status", "p.status", Kind::Text),
        plain("authentication_message", "p.status_message", Kind::Text),
        plain("last_refresh_date", "p.refreshed_at", Kind::Time),
        plain("last_refresh_error", "p.refresh_error", Kind::Text),
        plain("last_inventory_date", "p.seen_at", Kind::Time),
        plain("created_on", "p.created_at", Kind::Time),
        plain("updated_on", "p.updated_at", Kind::Time),
        Attribute {
            name: "counts",
            sql: "(SELECT jsonb_build_object(\
                  'container_projects', (SELECT COUNT(*) FROM projects WHERE provider_id = p.id AND archived_at IS NULL), \
                  'container_nodes', (SELECT COUNT(*) FROM nodes WHERE provider_id = p.id AND archived_at IS NULL), \
                  'container_groups', (SELECT COUNT(*) FROM pods WHERE provider_id = p.id AND archived_at IS NULL), \
                  'container_images', (SELECT COUNT(*) FROM container_images WHERE provider_id = p.id AND archived_at IS NULL)))",
            kind: Kind::Document,
            default: false,
        },
    ],
    actions: &["refresh", "delete"],
};

/// `GET /api/providers`.
pub(super) async fn list(state: axum::extract::State<State>, caller: Caller, headers: HeaderMap, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    caller.list(&state, &PROVIDERS, &headers, query).await
}

/// `GET /api/providers/{id}`.
pub(super) async fn show(
    state: axum::extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    caller.show(&state, &PROVIDERS, &headers, &id, query).await
}

/// `POST /api/providers`: a resource (or `{"action": "create", "resource": {…}}`) is created; `{"action": "refresh", "resources": […]}` refreshes.
pub(super) async fn act_on_many(
    state: axum::extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    bytes: axum::body::Bytes,
) -> Result<Json<Value>, ApiError> {
    caller.must(Permission::ManageProviders)?;
    let request = body::read(&bytes)?;
    match request["action"].as_str().unwrap_or("create") {
        "create" => {
            let one = request.get("resource").cloned().into_iter();
            let many = request["resources"].as_array().cloned().unwrap_or_default();
            let mut wanted: Vec<Value> = one.chain(many).collect();
            if wanted.is_empty() {
                wanted.push(request.clone());
            }
            let mut results = Vec::with_capacity(wanted.len());
            for resource in &wanted {
                results.push(create(&state, &caller, &headers, resource).await?);
            }
            Ok(Json(json!({ "results": results })))
        }
        _ => {
            body::expect_action(&request, &["create", "refresh"])?;
            let mut results = Vec::new();
            for id in body::resources(&request, &PROVIDERS)? {
                results.push(refresh(&state, &caller, &headers, id).await?);
            }
            Ok(Json(json!({ "results": results })))
        }
    }
}

/// `POST /api/providers/{id}` with `{"action": "refresh"}` or `{"action": "delete"}`.
pub(super) async fn act_on_one(
    state: axum::extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    bytes: axum::body::Bytes,
) -> Result<Json<Value>, ApiError> {
    caller.must(Permission::ManageProviders)?;
    let request = body::read(&bytes)?;
    let action = body::expect_action(&request, &["refresh", "delete"])?;
    let id = body::id(&id, &PROVIDERS)?;
    match action {
        "refresh" => Ok(Json(refresh(&state, &caller, &headers, id).await?)),
        _ => {
            must_exist(&state, id).await?;
            let mut tx = state.pool.begin().await?;
            removal::request(&mut tx, &state.clock, ProviderId(id)).await?;
            tx.commit().await?;
            Ok(Json(
                json!({"success": true, "message": format!("Provider {id} is being deleted"), "href": format!("{}{}", host(&headers), PROVIDERS.path(&id.to_string()))}),
            ))
        }
    }
}

async fn must_exist(state: &State, id: i64) -> Result<String, ApiError> {
    sqlx::query_scalar!("SELECT name FROM providers WHERE id = $1", id)
        .fetch_optional(&state.pool)
        .await?
        .ok_or_else(|| ApiError::NotFound(format!("Couldn't find a resource with id {id} in providers")))
}

async fn refresh(state: &State, caller: &Caller, headers: &HeaderMap, id: i64) -> Result<Value, ApiError> {
    let name = must_exist(state, id).await?;
    let mut tx = state.pool.begin().await?;
    if removal::asked_at(&mut tx, ProviderId(id)).await?.is_some() {
        return Err(ApiError::Conflict(format!("Provider {name} is being deleted")));
    }
    let task = provider::request_refresh(&mut tx, &state.clock, &caller.user.userid, ProviderId(id)).await?;
    tx.commit().await?;
    let host = host(headers);
    Ok(json!({
        "success": true,
        "message": format!("Refreshing provider {name}"),
        "task_id": task.to_string(),
        "task_ids": [task.to_string()],
        "task_href": format!("{host}/api/tasks/{task}"),
        "href": format!("{host}{}", PROVIDERS.path(&id.to_string())),
    }))
}

async fn create(state: &State, caller: &Caller, headers: &HeaderMap, resource: &Value) -> Result<Value, ApiError> {
    let new = new_provider(resource)?;
    let mut tx = state.pool.begin().await?;
    let (id, _) = provider::create(&mut tx, &state.clock, &state.sealer, &caller.user.userid, &new).await.map_err(|error| match error {
        SaveError::Name(text) => ApiError::BadRequest(text),
        SaveError::NotFound => ApiError::NotFound(error.to_string()),
        SaveError::Internal(error) => ApiError::Internal(error),
    })?;
    tx.commit().await?;
    let mut conn = state.pool.acquire().await?;
    PROVIDERS.show(&mut conn, &host(headers), id.0, &[]).await
}

/// Reads `name`, `type` or `kind`, and either `kubeconfig` or `endpoint` (or `hostname` and `port`) with `credentials.auth_key` and `certificate_authority`.
fn new_provider(resource: &Value) -> Result<NewProvider, ApiError> {
    let text = |name: &str| resource[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let missing = |what: &str| ApiError::BadRequest(format!("the provider needs {what}"));
    let name = text("name").ok_or_else(|| missing("a \"name\""))?.to_owned();
    let kind = match text("kind").or(text("type")).unwrap_or("kubernetes") {
        "kubernetes" | "ManageIQ::Providers::Kubernetes::ContainerManager" => ProviderKind::Kubernetes,
        "openshift" | "ManageIQ::Providers::Openshift::ContainerManager" => ProviderKind::Openshift,
        other => return Err(ApiError::BadRequest(format!("unknown provider type {other:?}; known are kubernetes and openshift"))),
    };
    let connection = match text("kubeconfig") {
        Some(kubeconfig) => Connection::from_kubeconfig(kubeconfig, None),
        None => {
            let endpoint = match (text("endpoint"), text("hostname")) {
                (Some(endpoint), _) => endpoint.to_owned(),
                (None, Some(host)) => format!("https://{host}:{}", port(&resource["port"])?),
                (None, None) => return Err(missing("an \"endpoint\" (or \"hostname\" and \"port\"), or a \"kubeconfig\"")),
            };
            let token = resource["credentials"]["auth_key"].as_str().ok_or_else(|| missing("\"credentials\": {\"auth_key\": \"TOKEN\"}"))?;
            Connection::from_token(&endpoint, token, text("certificate_authority").unwrap_or_default())
        }
    };
    let connection = connection.map_err(|error| ApiError::BadRequest(error.to_string()))?;
    Ok(NewProvider { name, kind, connection })
}

fn port(value: &Value) -> Result<u16, ApiError> {
    let number = match value {
        Value::Null => Some(6443),
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| ApiError::BadRequest("\"port\" must be a number from 1 to 65535".into()))
}
