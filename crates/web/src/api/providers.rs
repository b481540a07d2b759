//! `/api/providers`.

use super::attribute::{Attribute, Kind};
use super::body::{self, Sent};
use super::collection::Collection;
use super::error::ApiError;
use super::{Caller, host};
use crate::State;
use access::Permission;
use axum::Json;
use axum::extract::{Path, RawQuery};
use axum::http::HeaderMap;
use inventory::provider::{self, NewProvider, SaveError};
use inventory::{Connection, Kind as ProviderKind, pause, removal};
use model::ids::{ProviderId, TaskId};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// All providers; credentials are never part of an answer.
pub(crate) const PROVIDERS: Collection = Collection {
    name: "providers",
    from: "FROM providers p",
    base: "TRUE",
    lifted_by: &[],
    id: "p.id",
    attributes: &[
        Attribute::extra("id", "p.id", Kind::Integer),
        Attribute::plain("name", "p.name", Kind::Text),
        Attribute::plain(
            "type",
            "CASE p.kind WHEN 'openshift' THEN 'ManageIQ::Providers::Openshift::ContainerManager' \
             ELSE 'ManageIQ::Providers::Kubernetes::ContainerManager' END",
            Kind::Text,
        ),
        Attribute::plain("kind", "p.kind", Kind::Text),
        Attribute::plain("endpoint", "p.endpoint", Kind::Text),
        Attribute::plain("api_version", "p.api_version", Kind::Text),
        Attribute::plain("openshift_version", "p.openshift_version", Kind::Text),
        Attribute::plain(
            "authentication_status",
            "CASE WHEN p.removing_at IS NOT NULL THEN 'removing' WHEN p.paused_at IS NOT NULL THEN 'paused' ELSE p.status END",
            Kind::Text,
        ),
        Attribute::plain("authentication_message", "p.status_message", Kind::Text),
        Attribute::plain("shares_results", "p.shares_results", Kind::Boolean),
        Attribute::plain("last_refresh_date", "p.refreshed_at", Kind::Time),
        Attribute::plain("last_refresh_error", "p.refresh_error", Kind::Text),
        Attribute::plain("last_inventory_date", "p.seen_at", Kind::Time),
        Attribute::plain("last_check_date", "p.checked_at", Kind::Time),
        Attribute::plain("enabled", "p.paused_at IS NULL", Kind::Boolean),
        Attribute::plain("paused_on", "p.paused_at", Kind::Time),
        Attribute::plain("removing_on", "p.removing_at", Kind::Time),
        Attribute::plain("created_on", "p.created_at", Kind::Time),
        Attribute::plain("updated_on", "p.updated_at", Kind::Time),
        Attribute::extra("counts", "", Kind::One(COUNTS)),
    ],
    actions: &["refresh", "edit", "pause", "resume", "delete"],
    collection_actions: &["create", "refresh"],
};

const COUNTS: &[Attribute] = &[
    Attribute::plain("container_projects", "(SELECT COUNT(*) FROM projects WHERE provider_id = p.id AND archived_at IS NULL)", Kind::Integer),
    Attribute::plain("container_nodes", "(SELECT COUNT(*) FROM nodes WHERE provider_id = p.id AND archived_at IS NULL)", Kind::Integer),
    Attribute::plain("container_groups", "(SELECT COUNT(*) FROM pods WHERE provider_id = p.id AND archived_at IS NULL)", Kind::Integer),
    Attribute::plain("container_images", "(SELECT COUNT(*) FROM container_images WHERE provider_id = p.id AND archived_at IS NULL)", Kind::Integer),
];

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

/// `POST /api/providers`: a resource (or `{"action": "create", "resource": {…}}`) is created; `{"action": "refresh", "resources": […]}` refreshes. All or none.
pub(super) async fn act_on_many(state: axum::extract::State<State>, caller: Caller, headers: HeaderMap, Sent(request): Sent) -> Result<Json<Value>, ApiError> {
    let host = host(&headers);
    let results = match request.get("action") {
        None => create(&state, &caller, &host, &request).await?,
        Some(_) if body::expect_action(&request, &["create", "refresh"])? == "create" => create(&state, &caller, &host, &request).await?,
        Some(_) => refresh(&state, &caller, &host, &body::resources(&request, &PROVIDERS)?).await?,
    };
    Ok(Json(json!({ "results": results })))
}

/// `POST /api/providers/{id}` with the action `refresh`, `edit` (`"resource": {"shares_results": …}`), `pause`, `resume` or `delete`.
pub(super) async fn act_on_one(
    state: axum::extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    Sent(request): Sent,
) -> Result<Json<Value>, ApiError> {
    let action = body::expect_action(&request, &["refresh", "edit", "pause", "resume", "delete"])?;
    let id = body::id(&id, &PROVIDERS)?;
    match action {
        "refresh" => Ok(Json(refresh(&state, &caller, &host(&headers), &[id]).await?.remove(0))),
        "edit" => Ok(Json(edit(&state, &caller, &host(&headers), id, &request).await?)),
        "pause" | "resume" => pause(&state, &caller, &host(&headers), id, action == "pause").await.map(Json),
        _ => {
            caller.must(Permission::ManageProviders)?;
            let name = must_exist(&state, id).await?;
            let mut tx = state.pool.begin().await?;
            removal::request(&mut tx, &state.clock, ProviderId(id)).await?;
            tx.commit().await?;
            access::audit::provider_removed(caller.by(), &name);
            Ok(Json(
                json!({"success": true, "message": format!("Provider {id} is being deleted"), "href": format!("{}{}", host(&headers), PROVIDERS.path(&id.to_string()))}),
            ))
        }
    }
}

/// Stops asking anything of a provider, or begins again.
async fn pause(state: &State, caller: &Caller, host: &str, id: i64, pauses: bool) -> Result<Value, ApiError> {
    caller.must(Permission::ManageProviders)?;
    let name = must_exist(state, id).await?;
    let mut tx = state.pool.begin().await?;
    if removal::asked_at(&mut tx, ProviderId(id)).await?.is_some() {
        return Err(ApiError::Conflict(format!("Provider {name} is being deleted")));
    }
    let message = if pauses {
        pause::pause(&mut tx, &state.clock, ProviderId(id)).await?;
        format!("Pausing provider {name}")
    } else {
        pause::resume(&mut tx, ProviderId(id)).await?;
        format!("Resuming provider {name}")
    };
    tx.commit().await?;
    access::audit::provider_paused(caller.by(), &name, pauses);
    Ok(json!({ "success": true, "message": message, "href": format!("{host}{}", PROVIDERS.path(&id.to_string())) }))
}

/// Changes whether the provider's results count elsewhere; gives the provider as it is shown.
async fn edit(state: &State, caller: &Caller, host: &str, id: i64, request: &Value) -> Result<Value, ApiError> {
    caller.must(Permission::ManageProviders)?;
    let resource = request.get("resource").unwrap_or(request);
    let known = |name: &str| matches!(name, "action" | "id" | "href" | "shares_results");
    if let Some(name) = resource.as_object().and_then(|fields| fields.keys().find(|name| !known(name.as_str()))) {
        return Err(ApiError::BadRequest(format!("{name:?} of a provider cannot be edited; \"shares_results\" can")));
    }
    let shares = shares_results(resource)?.ok_or_else(|| ApiError::BadRequest("\"resource\" changes nothing: give \"shares_results\"".into()))?;
    let mut tx = state.pool.begin().await?;
    smartstate::share_results(&mut tx, &state.clock, ProviderId(id), shares).await?.ok_or_else(|| ApiError::NotFound(PROVIDERS.missing(id)))?;
    let shown = PROVIDERS.show(&mut tx, host, id, &[]).await?;
    tx.commit().await?;
    access::audit::provider_changed(caller.by(), shown["name"].as_str().unwrap_or_default());
    Ok(shown)
}

/// Whether the results of `resource` count elsewhere; `None` when it does not say.
fn shares_results(resource: &Value) -> Result<Option<bool>, ApiError> {
    match &resource["shares_results"] {
        Value::Null => Ok(None),
        Value::Bool(shares) => Ok(Some(*shares)),
        other => Err(ApiError::BadRequest(format!("\"shares_results\" must be true or false, not {other}"))),
    }
}

async fn must_exist(state: &State, id: i64) -> Result<String, ApiError> {
    let name = sqlx::query_scalar!("SELECT name FROM providers WHERE id = $1", id).fetch_optional(&state.pool).await?;
    name.ok_or_else(|| ApiError::NotFound(PROVIDERS.missing(id)))
}

/// One answer per id, in order; a provider that is named twice is refreshed once.
async fn refresh(state: &State, caller: &Caller, host: &str, ids: &[i64]) -> Result<Vec<Value>, ApiError> {
    caller.must(Permission::ScanImages)?;
    let mut tx = state.pool.begin().await?;
    let names = sqlx::query!("SELECT id, name FROM providers WHERE id = ANY($1)", ids).fetch_all(&mut *tx).await?;
    let names: HashMap<i64, String> = names.into_iter().map(|row| (row.id, row.name)).collect();
    let mut answers: HashMap<i64, Value> = HashMap::new();
    for &id in ids {
        let name = names.get(&id).ok_or_else(|| ApiError::NotFound(PROVIDERS.missing(id)))?;
        if let Entry::Vacant(answer) = answers.entry(id) {
            if removal::asked_at(&mut tx, ProviderId(id)).await?.is_some() {
                return Err(ApiError::Conflict(format!("Provider {name} is being deleted")));
            }
            if pause::paused_at(&mut tx, ProviderId(id)).await?.is_some() {
                return Err(ApiError::Conflict(format!("Provider {name} is paused")));
            }
            let task = provider::request_refresh(&mut tx, &state.clock, &caller.user.userid, ProviderId(id)).await?;
            answer.insert(refreshing(host, id, name, task));
        }
    }
    tx.commit().await?;
    Ok(ids.iter().filter_map(|id| answers.get(id).cloned()).collect())
}

fn refreshing(host: &str, id: i64, name: &str, task: TaskId) -> Value {
    let task_href = format!("{host}/api/tasks/{task}");
    json!({
        "success": true,
        "message": format!("Refreshing provider {name}"),
        "task_id": task.to_string(),
        "task_href": task_href,
        "tasks": [{"id": task.to_string(), "href": task_href}],
        "task_ids": [task.to_string()],
        "href": format!("{host}{}", PROVIDERS.path(&id.to_string())),
    })
}

/// Creates `resource`, each of `resources`, or what the request itself describes; gives them as they are shown.
async fn create(state: &State, caller: &Caller, host: &str, request: &Value) -> Result<Vec<Value>, ApiError> {
    caller.must(Permission::ManageProviders)?;
    let mut wanted: Vec<&Value> = request.get("resource").into_iter().chain(request["resources"].as_array().into_iter().flatten()).collect();
    if wanted.is_empty() {
        wanted.push(request);
    }
    let mut new = Vec::with_capacity(wanted.len());
    for resource in wanted {
        new.push((new_provider(resource).await?, shares_results(resource)?));
    }
    let mut tx = state.pool.begin().await?;
    let mut created = Vec::with_capacity(new.len());
    for (new, shares) in &new {
        let (id, _) = provider::create(&mut tx, &state.clock, &state.sealer, &caller.user.userid, new).await.map_err(|error| match error {
            SaveError::Name(text) => ApiError::BadRequest(text),
            SaveError::NotFound => ApiError::NotFound(error.to_string()),
            SaveError::Internal(error) => error.into(),
        })?;
        if let Some(shares) = shares {
            smartstate::share_results(&mut tx, &state.clock, id, *shares).await?;
        }
        created.push(PROVIDERS.show(&mut tx, host, id.0, &[]).await?);
    }
    tx.commit().await?;
    for (added, _) in &new {
        access::audit::provider_added(caller.by(), &added.name);
    }
    Ok(created)
}

/// Reads `name`, `type` or `kind`, and either `kubeconfig` or `endpoint` (or `hostname` and `port`) with `credentials.auth_key` and `certificate_authority`.
async fn new_provider(resource: &Value) -> Result<NewProvider, ApiError> {
    let text = |name: &str| resource[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let missing = |what: &str| ApiError::BadRequest(format!("the provider needs {what}"));
    let name = text("name").ok_or_else(|| missing("a \"name\""))?.to_owned();
    let kind = match text("kind").or(text("type")).unwrap_or("kubernetes") {
        "kubernetes" | "ManageIQ::Providers::Kubernetes::ContainerManager" => ProviderKind::Kubernetes,
        "openshift" | "ManageIQ::Providers::Openshift::ContainerManager" => ProviderKind::Openshift,
        other => return Err(ApiError::BadRequest(format!("unknown provider type {other:?}; known are kubernetes and openshift"))),
    };
    let connection = match text("kubeconfig") {
        Some(kubeconfig) => Connection::read_kubeconfig(kubeconfig.to_owned(), None).await,
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
