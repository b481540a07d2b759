//! The roles that this server has at the moment.

use model::ids::ServerId;
use queue::role::{self, Role};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;

/// Finds what a notification missed.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Always up to date; clones are the same.
#[derive(Debug, Clone)]
pub struct Roles(watch::Receiver<BTreeSet<Role>>);

impl Roles {
    /// Whether the server has `role` now.
    pub fn has(&self, role: Role) -> bool {
        self.0.borrow().contains(&role)
    }

    /// Ends when the server has all (`on`), or no longer has all, of `roles`.
    pub async fn wait(&self, roles: &'static [Role], on: bool) {
        let mut receiver = self.0.clone();
        let reached = receiver.wait_for(|now| roles.iter().all(|role| now.contains(role)) == on).await.is_ok();
        if !reached {
            std::future::pending::<()>().await;
        }
    }
}

/// Reads the roles of `server`, and keeps them up to date until the returned task is aborted.
///
/// # Errors
/// The database.
pub async fn follow(pool: PgPool, server: ServerId) -> anyhow::Result<(Roles, tokio::task::JoinHandle<()>)> {
    let (sender, receiver) = watch::channel(read(&pool, server).await?);
    let task = tokio::spawn(async move {
        let mut listener = None;
        loop {
            hear(&pool, &mut listener).await;
            match read(&pool, server).await {
                Ok(now) => {
                    sender.send_if_modified(|old| std::mem::replace(old, now.clone()) != now);
                }
                Err(error) => tracing::warn!(error = format!("{error:#}"), "this server's roles could not be read; they stay as they are"),
            }
        }
    });
    Ok((Roles(receiver), task))
}

/// Ends after a change of `server_roles`, or after two seconds.
async fn hear(pool: &PgPool, listener: &mut Option<PgListener>) {
    if listener.is_none() {
        *listener = listen(pool).await.ok();
    }
    let heard = async {
        let Some(listening) = listener.as_mut() else { return std::future::pending().await };
        loop {
            match listening.try_recv().await {
                Ok(Some(change)) if change.payload() != "server_roles" => {}
                Ok(Some(_)) => return,
                Ok(None) | Err(_) => return std::future::pending().await,
            }
        }
    };
    // Without a notification the roles are read anyway; a listener that lost its connection connects again by itself.
    let _ = tokio::time::timeout(LOOK_AGAIN, heard).await;
}

async fn listen(pool: &PgPool) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(model::database::CHANGES).await?;
    Ok(listener)
}

async fn read(pool: &PgPool, server: ServerId) -> anyhow::Result<BTreeSet<Role>> {
    let roles = role::list(&mut *pool.acquire().await?, server).await?;
    Ok(roles.into_iter().filter_map(|(role, on)| on.then_some(role)).collect())
}
