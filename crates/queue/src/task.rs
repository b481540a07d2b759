//! What people asked for and can follow.

mod change;
mod create;

pub use change::{Update, event, finish, finish_many, request_cancel, set};
pub use create::{NewTask, Target, create, create_many};

use chrono::{DateTime, Utc};
use model::ids::{ProviderId, TaskId};
use sqlx::PgConnection;

macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($variant:ident = $word:literal / $label:literal),+ $(,)? }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::Type)]
        #[sqlx(type_name = "text", rename_all = "snake_case")]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the table.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The inverse of `as_str`.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }

            /// The words on the page.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

words! {
    /// How far a task is. It waits when something must happen first (room in the cluster, a server with the role); the reason says what.
    TaskState { Queued = "queued" / "Queued", Waiting = "waiting" / "Waiting", Active = "active" / "Active", Finished = "finished" / "Finished" }
}
words! {
    /// How a task ended.
    TaskStatus { Ok = "ok" / "Ok", Warn = "warn" / "Warning", Error = "error" / "Error", Cancelled = "cancelled" / "Cancelled" }
}
words! {
    /// What kind of work a task is.
    TaskKind { ImageScan = "image_scan" / "SmartState Analysis", ImageScanBulk = "image_scan_bulk" / "SmartState Analysis of several images", ProviderRefresh = "provider_refresh" / "Refresh" }
}
words! {
    /// What a task is about.
    TargetKind { ContainerImage = "container_image" / "Container Image", Provider = "provider" / "Provider", None = "none" / "" }
}

/// A row of `tasks`.
#[derive(Debug, Clone)]
pub struct Task {
    pub id: TaskId,
    pub parent: Option<TaskId>,
    pub kind: TaskKind,
    pub name: String,
    pub state: TaskState,
    /// Some if and only if it is finished.
    pub status: Option<TaskStatus>,
    pub message: String,
    /// Why it waits or how it failed; empty when neither.
    pub reason_code: String,
    pub advice: String,
    /// 0 to 100.
    pub progress: i16,
    pub userid: String,
    pub server: String,
    pub target_kind: TargetKind,
    pub target_id: Option<i64>,
    pub target_name: String,
    pub provider: Option<ProviderId>,
    pub children_total: i32,
    pub children_finished: i32,
    pub children_failed: i32,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// A line of a task's timeline.
#[derive(Debug, Clone)]
pub struct TaskEvent {
    pub at: DateTime<Utc>,
    pub message: String,
}

/// The task with that number.
///
/// # Errors
/// The database.
pub async fn find(conn: &mut PgConnection, id: TaskId) -> anyhow::Result<Option<Task>> {
    let task = sqlx::query_as!(
        Task,
        r#"SELECT id AS "id: TaskId", parent_id AS "parent: TaskId", kind AS "kind: TaskKind", name, state AS "state: TaskState",
                  status AS "status: TaskStatus", message, reason_code, advice, progress, userid, server,
                  target_kind AS "target_kind: TargetKind", target_id, target_name, provider_id AS "provider: ProviderId",
                  children_total, children_finished, children_failed, cancel_requested_at, created_at, started_at, updated_at, finished_at
           FROM tasks
           WHERE id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(task)
}

/// What happened to a task, oldest first.
///
/// # Errors
/// The database.
pub async fn timeline(conn: &mut PgConnection, id: TaskId) -> anyhow::Result<Vec<TaskEvent>> {
    let events = sqlx::query_as!(TaskEvent, "SELECT at, message FROM task_events WHERE task_id = $1 ORDER BY id", id.0).fetch_all(conn).await?;
    Ok(events)
}

#[cfg(test)]
mod tests;
