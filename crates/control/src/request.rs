//! A person asks for analyses.

use anyhow::Context;
use model::Clock;
use model::ids::{ImageId, TaskId};
use queue::{Event, Job, RaisedEvent, enqueue_many};
use smartstate::Accepted;
use sqlx::PgConnection;

/// Why no analysis was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// A policy forbids it, or the provider is paused or being removed; a sentence.
    #[error("{0}")]
    Prevented(String),
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Asks for an analysis of each image, in the caller's transaction; gives the task to follow: the image's, or the bulk task of several. `userid`: who asks.
///
/// # Errors
/// `Prevented` by a policy (none can yet), or because the provider is paused or being removed; `Failed`: the database, or none of the images exists.
pub async fn request_scan(conn: &mut PgConnection, clock: &Clock, userid: &str, images: &[ImageId]) -> Result<TaskId, Denied> {
    let accepted = request_scans(conn, clock, userid, images).await?;
    Ok(accepted.task.context("none of these images exists any more")?)
}

/// As [`request_scan`]; says of each image which task covers it.
///
/// # Errors
/// As [`request_scan`], but that none of the images exists is an empty answer.
pub async fn request_scans(conn: &mut PgConnection, clock: &Clock, userid: &str, images: &[ImageId]) -> Result<Accepted, Denied> {
    let accepted = smartstate::request(conn, clock, userid, images).await?;
    if accepted.task.is_none()
        && let Some(why) = unavailable(conn, images).await?
    {
        return Err(Denied::Prevented(why.into()));
    }
    let events: Vec<Job> = accepted
        .images
        .iter()
        .filter(|requested| !requested.existing)
        .map(|requested| {
            Job::RaiseEvent(RaisedEvent {
                event: Event::RequestContainerImageScan,
                target_kind: "container_image".into(),
                target: requested.image.0,
                provider: None,
                details: serde_json::json!({ "userid": userid, "scan": requested.scan }),
            })
        })
        .collect();
    enqueue_many(conn, &events).await?;
    Ok(accepted)
}

/// Why none of these images can be analysed, where their provider is why.
async fn unavailable(conn: &mut PgConnection, images: &[ImageId]) -> anyhow::Result<Option<&'static str>> {
    let ids: Vec<i64> = images.iter().map(|id| id.0).collect();
    let found = sqlx::query!(
        r#"SELECT COALESCE(BOOL_OR(removing_at IS NOT NULL), FALSE) AS "removed!", COALESCE(BOOL_OR(paused_at IS NOT NULL), FALSE) AS "paused!"
           FROM container_images
           JOIN providers ON providers.id = provider_id
           WHERE container_images.id = ANY($1)"#,
        &ids
    )
    .fetch_one(conn)
    .await?;
    Ok(match (found.removed, found.paused) {
        (true, _) => Some("The provider is being removed: no analysis can be started on it any more."),
        (_, true) => Some("The provider is paused: resume it to analyse its images."),
        _ => None,
    })
}
