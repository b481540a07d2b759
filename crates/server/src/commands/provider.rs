//! `tidewaiter provider …`

use crate::cli::{AddProvider, ProviderCommand};
use crate::key;
use crate::settings::Settings;
use access::{By, audit};
use anyhow::{Context, bail};
use inventory::provider::{self, NewProvider};
use inventory::{Connection, Kind, removal};
use model::ids::{ProviderId, TaskId};
use model::{Clock, Sealer};
use queue::task::{self, Task, TaskState, TaskStatus};
use sqlx::{PgConnection, PgPool};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

pub async fn run(pool: &PgPool, settings: &Settings, by: By<'_>, command: ProviderCommand) -> anyhow::Result<()> {
    match command {
        ProviderCommand::Add(new) => add(pool, settings, by, new).await,
        ProviderCommand::List => list(pool).await,
        ProviderCommand::Set { name, share_results } => set(pool, by, &name, share_results).await,
        ProviderCommand::Pause { name } => pause(pool, by, &name, true).await,
        ProviderCommand::Resume { name } => pause(pool, by, &name, false).await,
        ProviderCommand::Refresh { name, wait } => refresh(pool, by, &name, wait).await,
        ProviderCommand::Delete { name } => delete(pool, by, &name).await,
    }
}

async fn add(pool: &PgPool, settings: &Settings, by: By<'_>, new: AddProvider) -> anyhow::Result<()> {
    let kind = Kind::parse(&new.kind).with_context(|| format!("there is no kind {:?}; there are kubernetes and openshift", new.kind))?;
    let text = read(&new.kubeconfig)?;
    let connection = Connection::read_kubeconfig(text, new.context.clone()).await?;
    let validated = inventory::validate(&connection, kind, &settings.smartstate.namespace).await?;
    for warning in &validated.warnings {
        eprintln!("warning: {warning}");
    }
    let sealer = key::load_or_make(&settings.secrets.key_file)?;
    let (id, task) = save(pool, &sealer, by, NewProvider { name: new.name.clone(), kind, connection }, new.replace, new.share_results).await?;
    println!("Provider {} (number {id}, {}) is saved; task {task} refreshes it.", new.name, validated.versions);
    Ok(())
}

async fn save(
    pool: &PgPool,
    sealer: &Sealer,
    by: By<'_>,
    new: NewProvider,
    replace: bool,
    share_results: Option<bool>,
) -> anyhow::Result<(ProviderId, TaskId)> {
    let clock = Clock::default();
    let mut tx = pool.begin().await?;
    let old = if replace { provider::find_by_name(&mut tx, &new.name).await? } else { None };
    let saved = match old {
        None => {
            let (id, task) = provider::create(&mut tx, &clock, sealer, by.userid, &new).await?;
            share(&mut tx, &clock, id, share_results).await?;
            (id, task)
        }
        Some(id) => {
            share(&mut tx, &clock, id, share_results).await?;
            provider::update(&mut tx, &clock, sealer, id, &new.name, new.kind, Some(&new.connection)).await?;
            (id, provider::request_refresh(&mut tx, &clock, by.userid, id).await?)
        }
    };
    tx.commit().await?;
    if old.is_none() {
        audit::provider_added(by, &new.name)
    } else {
        audit::provider_changed(by, &new.name)
    }
    Ok(saved)
}

async fn share(conn: &mut PgConnection, clock: &Clock, id: ProviderId, share_results: Option<bool>) -> anyhow::Result<()> {
    if let Some(shares) = share_results {
        smartstate::share_results(conn, clock, id, shares).await?;
    }
    Ok(())
}

async fn set(pool: &PgPool, by: By<'_>, name: &str, share_results: bool) -> anyhow::Result<()> {
    let mut tx = pool.begin().await?;
    let id = find(&mut tx, name).await?;
    let changed = smartstate::share_results(&mut tx, &Clock::default(), id, share_results).await?.unwrap_or_default();
    tx.commit().await?;
    audit::provider_changed(by, name);
    let what = if share_results { "at other providers, too" } else { "for its own images alone" };
    println!("What is found on {name} counts {what}; {} images changed, {} of them not analysed any more.", changed.images, changed.lost);
    Ok(())
}

async fn pause(pool: &PgPool, by: By<'_>, name: &str, pauses: bool) -> anyhow::Result<()> {
    let mut tx = pool.begin().await?;
    let id = find(&mut tx, name).await?;
    if pauses {
        inventory::pause::pause(&mut tx, &Clock::default(), id).await?;
    } else {
        inventory::pause::resume(&mut tx, id).await?;
    }
    tx.commit().await?;
    audit::provider_paused(by, name, pauses);
    println!("{name} {}.", if pauses { "is paused: nothing is asked of it any more, and its analyses end" } else { "is watched again within seconds" });
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("reading standard input")?;
    Ok(text)
}

async fn list(pool: &PgPool) -> anyhow::Result<()> {
    let rows = sqlx::query!(
        r#"SELECT name, kind, CASE WHEN removing_at IS NOT NULL THEN 'removing' WHEN paused_at IS NOT NULL THEN 'paused' ELSE status END AS "status!", endpoint, refreshed_at,
                  shares_results
           FROM providers
           ORDER BY name"#
    )
    .fetch_all(pool)
    .await?;
    for row in rows {
        let refreshed = row.refreshed_at.map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        let results = if row.shares_results { "shared" } else { "apart" };
        println!("{}\t{}\t{}\t{}\t{refreshed}\t{results}", row.name, row.kind, row.status, row.endpoint);
    }
    Ok(())
}

async fn refresh(pool: &PgPool, by: By<'_>, name: &str, wait: bool) -> anyhow::Result<()> {
    let mut tx = pool.begin().await?;
    let id = find(&mut tx, name).await?;
    let task = provider::request_refresh(&mut tx, &Clock::default(), by.userid, id).await?;
    tx.commit().await?;
    if !wait {
        println!("Task {task} refreshes {name}.");
        return Ok(());
    }
    let ended = wait_for(pool, task).await?;
    println!("{}", ended.message);
    match ended.status {
        Some(TaskStatus::Ok | TaskStatus::Warn) => Ok(()),
        _ => bail!("the refresh of {name} failed: {} {}", ended.message, ended.advice),
    }
}

/// Shows each new message until the task has ended.
async fn wait_for(pool: &PgPool, id: TaskId) -> anyhow::Result<Task> {
    let mut shown = String::new();
    loop {
        let task = task::find(&mut *pool.acquire().await?, id).await?.context("the task was removed")?;
        if task.state == TaskState::Finished {
            return Ok(task);
        }
        if task.message != shown {
            eprintln!("{}", task.message);
            shown = task.message;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn delete(pool: &PgPool, by: By<'_>, name: &str) -> anyhow::Result<()> {
    let mut tx = pool.begin().await?;
    let id = find(&mut tx, name).await?;
    removal::request(&mut tx, &Clock::default(), id).await?;
    tx.commit().await?;
    audit::provider_removed(by, name);
    println!("{name} is being removed; a running server ends its analyses and forgets it.");
    Ok(())
}

async fn find(conn: &mut PgConnection, name: &str) -> anyhow::Result<ProviderId> {
    provider::find_by_name(conn, name).await?.with_context(|| format!("there is no provider {name:?}; see: tidewaiter provider list"))
}
