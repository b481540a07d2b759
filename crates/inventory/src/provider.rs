//! Providers as people manage them: add, change, remove, ask for a refresh.

use crate::connection::{Connection, Kind};
use crate::{positions, save};
use anyhow::{Context, ensure};
use model::ids::{ProviderId, TaskId};
use model::{Clock, Sealer};
use queue::task::{self, NewTask, Target, TaskKind};
use queue::{Job, enqueue};
use sqlx::PgConnection;

const NAME_CHARS_MAX: usize = 100;

/// What a person gives to add a provider.
#[derive(Debug, Clone)]
pub struct NewProvider {
    /// Shown everywhere; unique without regard to case.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// How to reach it.
    pub connection: Connection,
}

/// Why a provider was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The name is empty, too long or taken; a sentence for the form.
    #[error("{0}")]
    Name(String),
    /// There is no such provider.
    #[error("there is no such provider")]
    NotFound,
    /// Tidewaiter's own trouble.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

/// Adds a provider and asks for its first refresh, with a task of `userid`. Validate the connection before.
///
/// # Errors
/// See [`SaveError`].
pub async fn create(conn: &mut PgConnection, clock: &Clock, sealer: &Sealer, userid: &str, new: &NewProvider) -> Result<(ProviderId, TaskId), SaveError> {
    let name = checked_name(&new.name)?;
    let inserted = sqlx::query_scalar!(
        r#"INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at)
           VALUES ($1, $2, $3, '', $4, $4)
           ON CONFLICT (LOWER(name)) DO NOTHING
           RETURNING id"#,
        name,
        new.kind.as_str(),
        new.connection.server,
        clock.now()
    )
    .fetch_optional(&mut *conn)
    .await
    .context("adding a provider")?;
    let id = ProviderId(inserted.ok_or_else(|| taken(&name))?);
    // The secret is bound to the row's number, which is known only now.
    save_credentials(conn, sealer, id, &new.connection).await?;
    let task = request_refresh(conn, clock, userid, id).await?;
    Ok((id, task))
}

/// Changes name and kind, and the connection when one is given (else it stays). Watching starts anew within seconds.
///
/// # Errors
/// See [`SaveError`].
pub async fn update(
    conn: &mut PgConnection,
    clock: &Clock,
    sealer: &Sealer,
    id: ProviderId,
    name: &str,
    kind: Kind,
    connection: Option<&Connection>,
) -> Result<(), SaveError> {
    let name = checked_name(name)?;
    let other = sqlx::query_scalar!("SELECT id FROM providers WHERE LOWER(name) = LOWER($1) AND id <> $2", name, id.0)
        .fetch_optional(&mut *conn)
        .await
        .context("looking for a provider of the same name")?;
    if other.is_some() {
        return Err(taken(&name));
    }
    let changed = sqlx::query!(
        "UPDATE providers
         SET name = $2, kind = $3, endpoint = COALESCE($4, endpoint), updated_at = $5
         WHERE id = $1",
        id.0,
        name,
        kind.as_str(),
        connection.map(|connection| connection.server.as_str()),
        clock.now()
    )
    .execute(&mut *conn)
    .await
    .context("changing a provider")?;
    if changed.rows_affected() == 0 {
        return Err(SaveError::NotFound);
    }
    if let Some(connection) = connection {
        save_credentials(conn, sealer, id, connection).await?;
        // It may be another cluster, or the same one restored from a backup: versions count from the start again.
        save::rewind(conn, id).await?;
        positions::clear(conn, id).await?;
    }
    Ok(())
}

/// Whether what was found at a provider counts for the same digest elsewhere, and the other way round; `None` when there is no such provider.
///
/// # Errors
/// The database.
pub async fn shares_results(conn: &mut PgConnection, id: ProviderId) -> anyhow::Result<Option<bool>> {
    Ok(sqlx::query_scalar!("SELECT shares_results FROM providers WHERE id = $1", id.0).fetch_optional(conn).await?)
}

/// Notes whether it does. Scans and images follow from it, so this is for `smartstate::share_results` alone, which holds the locks.
///
/// # Errors
/// The database.
pub async fn set_shares_results(conn: &mut PgConnection, id: ProviderId, shares: bool) -> anyhow::Result<()> {
    sqlx::query!("UPDATE providers SET shares_results = $2 WHERE id = $1", id.0, shares).execute(conn).await?;
    Ok(())
}

/// The provider with that name, whatever its case.
///
/// # Errors
/// The database.
pub async fn find_by_name(conn: &mut PgConnection, name: &str) -> anyhow::Result<Option<ProviderId>> {
    let id = sqlx::query_scalar!("SELECT id FROM providers WHERE LOWER(name) = LOWER($1)", name.trim()).fetch_optional(conn).await?;
    Ok(id.map(ProviderId))
}

/// How to reach a stored provider.
///
/// # Errors
/// The database, credentials sealed with another key, or there is no such provider.
pub async fn connection(conn: &mut PgConnection, sealer: &Sealer, id: ProviderId) -> anyhow::Result<Connection> {
    let (_, connection) = find(conn, sealer, id).await?.with_context(|| format!("there is no provider {id}"))?;
    Ok(connection)
}

/// Kind and connection of a stored provider; `None` when there is no such provider.
///
/// # Errors
/// The database, or credentials sealed with another key.
pub async fn find(conn: &mut PgConnection, sealer: &Sealer, id: ProviderId) -> anyhow::Result<Option<(Kind, Connection)>> {
    let row = sqlx::query!("SELECT kind, credentials FROM providers WHERE id = $1", id.0).fetch_optional(conn).await?;
    let Some(row) = row else { return Ok(None) };
    let opened = sealer.open(&row.credentials, &seal_context(id)).with_context(|| format!("opening provider {id}'s login"))?;
    let connection = serde_json::from_slice(&opened).with_context(|| format!("reading provider {id}'s login"))?;
    Ok(Some((Kind::parse(&row.kind).context("a provider has an unknown kind")?, connection)))
}

/// Asks for a refresh; gives the task that follows it.
///
/// # Errors
/// The database, there is no such provider, or it is paused or being removed.
pub async fn request_refresh(conn: &mut PgConnection, clock: &Clock, userid: &str, id: ProviderId) -> anyhow::Result<TaskId> {
    let row = sqlx::query!("SELECT name, removing_at, paused_at FROM providers WHERE id = $1", id.0).fetch_optional(&mut *conn).await?;
    let row = row.context("there is no such provider")?;
    let name = row.name;
    ensure!(row.removing_at.is_none(), "the provider {name} is being removed");
    ensure!(row.paused_at.is_none(), "the provider {name} is paused");
    let new = NewTask {
        kind: TaskKind::ProviderRefresh,
        name: format!("Refresh of {name}"),
        userid: userid.to_owned(),
        target: Target::provider(id, name),
        provider: Some(id),
        parent: None,
    };
    let task = task::create(conn, clock, &new, "Waiting for a server with the Inventory role").await?;
    enqueue(conn, &Job::RefreshProvider { provider: id, task: Some(task) }).await?;
    Ok(task)
}

async fn save_credentials(conn: &mut PgConnection, sealer: &Sealer, id: ProviderId, connection: &Connection) -> anyhow::Result<()> {
    let sealed = sealer.seal(&serde_json::to_vec(connection)?, &seal_context(id))?;
    sqlx::query!("UPDATE providers SET credentials = $2 WHERE id = $1", id.0, sealed).execute(conn).await?;
    Ok(())
}

fn seal_context(id: ProviderId) -> String {
    format!("provider:{id}")
}

fn checked_name(name: &str) -> Result<String, SaveError> {
    let name = name.trim();
    if name.is_empty() {
        return Err(SaveError::Name("A name is missing.".into()));
    }
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(SaveError::Name(format!("A name has at most {NAME_CHARS_MAX} characters, all of them printable.")));
    }
    Ok(name.to_owned())
}

fn taken(name: &str) -> SaveError {
    SaveError::Name(format!("There is already a provider named {name}."))
}
