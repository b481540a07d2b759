//! Compute → Containers → Container Images: what runs, what its last analysis found, and the button that analyses.

mod download;
mod list;
pub mod show_one;

pub(crate) use list::{FAILED, SCAN};

use crate::State;
use crate::error::{Error, Result};
use crate::extract::{Form, Path, Selected};
use crate::page::{Flash, local, redirect};
use crate::session::Visit;
use access::Permission;
use axum::Router;
use axum::extract;
use axum::response::Response;
use axum::routing::{get, post};
use model::ids::{ImageId, TaskId};
use sqlx::PgConnection;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/images", get(list::list))
        .route("/images.csv", get(download::csv))
        .route("/images/scan", post(scan_selected))
        .route("/images/{id}", get(show_one::show_one))
        .route("/images/{id}/scan", post(scan))
}

/// Why nobody would do an analysis now; `None` when a server has the roles.
pub(super) async fn no_server(conn: &mut PgConnection, state: &State) -> Result<Option<&'static str>> {
    for (role, why) in [
        (queue::role::Role::SmartState, "No running server has the role SmartState Analysis"),
        (queue::role::Role::SmartProxy, "No running server has the role SmartProxy"),
    ] {
        if !queue::role::any_server_has(conn, &state.clock, role).await? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

async fn scan_selected(visit: Visit, extract::State(state): extract::State<State>, Form(form): Form<Selected>) -> Result<Response> {
    visit.must(Permission::ScanImages)?;
    let mut tx = state.pool.begin().await?;
    let images: Vec<ImageId> = list::selected(&mut tx, &form).await?.into_iter().map(ImageId).collect();
    if images.is_empty() {
        return Ok(redirect(local(&form.back), Flash::warning("No image was selected: tick the images to analyse first.")));
    }
    let task = request(&mut tx, &state, &visit, &images).await?;
    tx.commit().await?;
    let what = if images.len() == 1 { "1 image".to_owned() } else { format!("{} images", images.len()) };
    let flash = Flash::success(format!("SmartState Analysis of {what} requested.")).link("Open its task", format!("/tasks/{task}"));
    Ok(redirect("/tasks?tab=all", flash))
}

async fn scan(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    visit.must(Permission::ScanImages)?;
    let mut tx = state.pool.begin().await?;
    let archived = sqlx::query_scalar!(r#"SELECT archived_at IS NOT NULL AS "archived!" FROM container_images WHERE id = $1"#, id)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::NotFound("This image"))?;
    if archived {
        return Err(Error::Conflict("The image is gone from the cluster: no container runs it any more, so it cannot be analysed there.".to_owned()));
    }
    let task = request(&mut tx, &state, &visit, &[ImageId(id)]).await?;
    tx.commit().await?;
    let flash = Flash::success("SmartState Analysis requested.").link("Follow its task", format!("/tasks/{task}"));
    Ok(redirect(&format!("/images/{id}"), flash))
}

async fn request(conn: &mut PgConnection, state: &State, visit: &Visit, images: &[ImageId]) -> Result<TaskId> {
    control::request_scan(conn, &state.clock, &visit.user.userid, images).await.map_err(|denied| match denied {
        control::Denied::Prevented(why) => Error::Conflict(why),
        control::Denied::Failed(error) => Error::Internal(error),
    })
}
