//! A server without its pages: everything in the inventory that happens by itself, on one database.

use inventory::{Connection, Inventory, Kind, Settings, provider};
use model::ids::{ProviderId, TaskId};
use model::{Clock, Sealer};
use queue::task::{Task, TaskState};
use sqlx::PgPool;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Watches and refreshes until it is dropped.
pub struct Worker {
    pub ctx: Inventory,
    watching: Option<JoinHandle<()>>,
}

impl Worker {
    /// Prepares the database (the queue's tables, a server with all roles); nothing runs yet.
    pub async fn new(pool: &PgPool) -> Self {
        queue::setup(pool).await.unwrap();
        let clock = Clock::default();
        let mut conn = pool.acquire().await.unwrap();
        let server = queue::server::register(&mut conn, &clock, "test", "0").await.unwrap();
        let ctx = Inventory { pool: pool.clone(), clock, sealer: Sealer::new(&[7; 32]), settings: Settings::default(), server };
        Self { ctx, watching: None }
    }

    /// Adds a provider; gives it and the task of its first refresh.
    pub async fn add(&self, name: &str, connection: &Connection) -> (ProviderId, TaskId) {
        let new = provider::NewProvider { name: name.into(), kind: Kind::Kubernetes, connection: connection.clone() };
        let mut conn = self.ctx.pool.acquire().await.unwrap();
        provider::create(&mut conn, &self.ctx.clock, &self.ctx.sealer, "admin", &new).await.unwrap()
    }

    /// Runs the job of a refresh and gives the task as it ended.
    pub async fn refresh(&self, provider: ProviderId, task: TaskId) -> Task {
        inventory::refresh(&self.ctx, provider, Some(task)).await.unwrap();
        let mut conn = self.ctx.pool.acquire().await.unwrap();
        let task = queue::task::find(&mut conn, task).await.unwrap().unwrap();
        assert_eq!(task.state, TaskState::Finished, "{task:?}");
        task
    }

    /// Starts to watch all providers.
    pub fn watch(&mut self) {
        self.watching = Some(tokio::spawn(inventory::watch_all(self.ctx.clone(), std::future::pending())));
    }

    /// Status and message of a provider.
    pub async fn status(&self, provider: ProviderId) -> (String, String) {
        let row: (String, String) =
            sqlx::query_as("SELECT status, status_message FROM providers WHERE id = $1").bind(provider.0).fetch_one(&self.ctx.pool).await.unwrap();
        row
    }

    /// Waits until the provider's status is `status`; gives its message.
    pub async fn wait_for_status(&self, provider: ProviderId, status: &str, limit: Duration) -> String {
        super::eventually(&format!("the provider's status is {status}"), limit, || async {
            let (now, message) = self.status(provider).await;
            (now == status).then_some(message)
        })
        .await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(task) = &self.watching {
            task.abort();
        }
    }
}
