//! What is done with providers, but for their forms and their removal.

use super::{SPEC, get_provider};
use crate::error::{Error, Result};
use crate::extract::{Form, Path, Selected};
use crate::list::List;
use crate::page::{Flash, local, redirect};
use crate::session::Visit;
use crate::{State, show};
use access::Permission;
use axum::extract;
use axum::response::Response;
use model::ids::ProviderId;

pub(super) async fn refresh_selected(visit: Visit, extract::State(state): extract::State<State>, Form(selected): Form<Selected>) -> Result<Response> {
    visit.must(Permission::ScanImages)?;
    let list = List::parse(&SPEC, &selected.query);
    let mut tx = state.pool.begin().await?;
    let ids = sqlx::query_scalar!(
        "SELECT p.id
         FROM providers p
         WHERE CASE WHEN $4 THEN ($1::TEXT IS NULL OR p.name ILIKE $1 OR p.endpoint ILIKE $1)
                             AND ($2::TEXT IS NULL OR p.kind = $2)
                             AND ($3::TEXT IS NULL OR p.removing_at IS NULL AND CASE WHEN p.paused_at IS NULL THEN p.status ELSE 'paused' END = $3)
               ELSE p.id = ANY($5) END
           AND p.removing_at IS NULL
           AND p.paused_at IS NULL",
        list.pattern(),
        list.filter("kind"),
        list.filter("status"),
        selected.all.is_some(),
        &selected.id
    )
    .fetch_all(&mut *tx)
    .await?;
    for id in &ids {
        inventory::provider::request_refresh(&mut tx, &state.clock, &visit.user.userid, ProviderId(*id)).await?;
    }
    tx.commit().await?;
    if ids.is_empty() {
        let none = selected.id.is_empty() && selected.all.is_none();
        let why = if none {
            "No provider was selected: tick the providers to refresh first."
        } else {
            "What was selected is paused or being removed: there is nothing to refresh."
        };
        return Ok(redirect(local(&selected.back), Flash::warning(why)));
    }
    let flash = Flash::success(format!("Refresh of {} requested.", if ids.len() == 1 { "1 provider".to_owned() } else { format!("{} providers", ids.len()) }));
    Ok(redirect(local(&selected.back), flash.link("Follow it under My Tasks", "/tasks?tab=my")))
}

pub(super) async fn refresh(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    visit.must(Permission::ScanImages)?;
    let mut tx = state.pool.begin().await?;
    let provider = get_provider(&mut tx, id).await?;
    if provider.removing_at.is_some() {
        return Err(Error::Conflict(format!("The provider {} is being removed.", provider.name)));
    }
    if provider.paused_at.is_some() {
        return Err(Error::Conflict(format!("The provider {} is paused: resume it first.", provider.name)));
    }
    let task = inventory::provider::request_refresh(&mut tx, &state.clock, &visit.user.userid, ProviderId(id)).await?;
    tx.commit().await?;
    let flash = Flash::success(format!("Refresh of {} requested.", provider.name)).link("Follow its task", format!("/tasks/{task}"));
    Ok(redirect(&format!("/providers/{id}"), flash))
}

pub(super) async fn validate(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    visit.must(Permission::ManageProviders)?;
    let mut conn = state.pool.acquire().await?;
    get_provider(&mut conn, id).await?;
    drop(conn);
    let result = inventory::validate_stored(&state.pool, &state.clock, &state.sealer, ProviderId(id), &state.settings.scan_namespace).await?;
    let flash = match result {
        Ok(valid) if valid.warnings.is_empty() => Flash::success(format!("The connection works. The cluster is {}.", valid.versions)),
        Ok(valid) => Flash::warning(format!("The connection works, but: {}", valid.warnings.join(" "))),
        Err(error) => Flash::danger(error.to_string()),
    };
    Ok(redirect(&format!("/providers/{id}"), flash))
}

pub(super) async fn pause(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    visit.must(Permission::ManageProviders)?;
    let mut tx = state.pool.begin().await?;
    let provider = get_provider(&mut tx, id).await?;
    if provider.removing_at.is_some() {
        return Err(Error::Conflict(format!("The provider {} is being removed.", provider.name)));
    }
    inventory::pause::pause(&mut tx, &state.clock, ProviderId(id)).await?;
    tx.commit().await?;
    access::audit::provider_paused(visit.by(), &provider.name, true);
    let text = format!("{} is paused: nothing is asked of it any more, and its analyses end.", provider.name);
    Ok(redirect(&format!("/providers/{id}"), Flash::success(text)))
}

pub(super) async fn resume(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    visit.must(Permission::ManageProviders)?;
    let mut tx = state.pool.begin().await?;
    let provider = get_provider(&mut tx, id).await?;
    inventory::pause::resume(&mut tx, ProviderId(id)).await?;
    tx.commit().await?;
    access::audit::provider_paused(visit.by(), &provider.name, false);
    Ok(redirect(&format!("/providers/{id}"), Flash::success(format!("{} is resumed; it is watched again within seconds.", provider.name))))
}

pub(super) async fn share(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    share_results(&visit, &state, id, true).await
}

pub(super) async fn keep_apart(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    share_results(&visit, &state, id, false).await
}

/// The setting alone: the form saves only what it could connect with, and a provider that does not answer may be the one not to believe.
async fn share_results(visit: &Visit, state: &State, id: i64, shares: bool) -> Result<Response> {
    visit.must(Permission::ManageProviders)?;
    let mut tx = state.pool.begin().await?;
    let changed = smartstate::share_results(&mut tx, &state.clock, ProviderId(id), shares).await?.ok_or(Error::NotFound("This provider"))?;
    let name = get_provider(&mut tx, id).await?.name;
    tx.commit().await?;
    access::audit::provider_changed(visit.by(), &name);
    let what = if shares { "count for the same images at other providers, too" } else { "count for its own images alone" };
    let number = |count: usize| show::thousands(i64::try_from(count).unwrap_or(i64::MAX));
    let images = |count: usize| if count == 1 { "1 image".to_owned() } else { format!("{} images", number(count)) };
    let mut said = format!("What is found on {name} will {what}. {} changed", images(changed.images));
    if changed.lost > 0 {
        said += &format!(", {} of them not analysed any more", number(changed.lost));
    }
    if changed.asked_again > 0 {
        said += &format!("; {} asked for again elsewhere", number(changed.asked_again));
    }
    Ok(redirect(&format!("/providers/{id}"), Flash::success(said + ".")))
}
