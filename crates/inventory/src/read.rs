//! Reads all objects of a provider, page by page, and saves each page.

use crate::failure::{ConnectError, explain};
use crate::shape::{Namespace, Node, Object, Page, Pod};
use crate::{Inventory, parse, positions, save};
use chrono::{DateTime, Utc};
use http::Request;
use model::ids::{ProviderId, TaskId};
use queue::task::{self, TaskState, Update};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use std::time::Duration;

/// One page must have come by then.
const PAGE_LIMIT_SECS: u64 = 60;
/// How often a list is started anew because its continue token ran out.
const RESTARTS_MAX: usize = 3;

/// Why reading or watching stopped.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The provider cannot be used.
    Provider(ConnectError),
    /// The API server no longer knows the position or the page: read everything anew.
    Expired,
    /// A person cancelled the task.
    Cancelled,
    /// The provider was removed, or is about to be.
    Gone,
    /// Tidewaiter's own: mostly the database.
    Internal(anyhow::Error),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// One provider, with a client that is logged in to it.
pub(crate) struct Reader<'a> {
    pub(crate) ctx: &'a Inventory,
    pub(crate) provider: ProviderId,
    pub(crate) client: kube::Client,
    /// Its address, for sentences.
    pub(crate) server: String,
}

/// An object with its tables.
pub(crate) trait Stored: Object + Sync {
    /// Where on the way from 0 to 100 % its list starts and ends.
    const PROGRESS: (i64, i64);
    fn save(reader: &Reader<'_>, objects: &[Self]) -> impl Future<Output = Result<(), Trouble>> + Send;
    fn sweep(
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        provider: ProviderId,
        seen: &[String],
        version: i64,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Stored for Namespace {
    const PROGRESS: (i64, i64) = (0, 3);
    async fn save(reader: &Reader<'_>, objects: &[Self]) -> Result<(), Trouble> {
        let rows: Vec<_> = objects.iter().map(|object| parse::project(object, false)).collect();
        let mut tx = save::begin(&reader.ctx.pool, reader.provider).await?;
        save::projects(&mut tx, reader.ctx.clock.now(), reader.provider, &rows).await?;
        Ok(tx.commit().await?)
    }
    async fn sweep(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, seen: &[String], version: i64) -> anyhow::Result<()> {
        save::sweep_projects(conn, now, provider, seen, version).await
    }
}

impl Stored for Node {
    const PROGRESS: (i64, i64) = (3, 5);
    async fn save(reader: &Reader<'_>, objects: &[Self]) -> Result<(), Trouble> {
        let rows: Vec<_> = objects.iter().map(|object| parse::node(object, false)).collect();
        let mut tx = save::begin(&reader.ctx.pool, reader.provider).await?;
        save::nodes(&mut tx, reader.ctx.clock.now(), reader.provider, &rows).await?;
        Ok(tx.commit().await?)
    }
    async fn sweep(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, seen: &[String], version: i64) -> anyhow::Result<()> {
        save::sweep_nodes(conn, now, provider, seen, version).await
    }
}

impl Stored for Pod {
    const PROGRESS: (i64, i64) = (5, 99);
    async fn save(reader: &Reader<'_>, objects: &[Self]) -> Result<(), Trouble> {
        let rows: Vec<_> = objects.iter().filter_map(|object| parse::pod(object, false, &reader.ctx.settings.scan_namespace)).collect();
        reader.read_unknown(rows.iter().map(|row| (row.project.as_str(), row.node.as_str()))).await?;
        let mut tx = save::begin(&reader.ctx.pool, reader.provider).await?;
        save::pods(&mut tx, reader.ctx.clock.now(), reader.provider, &rows).await?;
        Ok(tx.commit().await?)
    }
    async fn sweep(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, seen: &[String], version: i64) -> anyhow::Result<()> {
        save::sweep_pods(conn, now, provider, seen, version).await
    }
}

impl Reader<'_> {
    /// Reads everything, then notes from where watching can go on.
    pub(crate) async fn read_all(&self, task: Option<TaskId>) -> Result<(), Trouble> {
        self.read::<Namespace>(task).await?;
        self.read::<Node>(task).await?;
        self.read::<Pod>(task).await
    }

    async fn read<T: Stored>(&self, task: Option<TaskId>) -> Result<(), Trouble> {
        for _ in 0..RESTARTS_MAX {
            match self.read_once::<T>(task).await {
                Err(Trouble::Expired) => {}
                other => return other,
            }
        }
        Err(Trouble::Provider(ConnectError::new(
            crate::Reason::Error,
            format!("{} gives up its lists of {} before they are read to the end.", self.server, T::PLURAL),
            "The API server compacts its history faster than a list takes; look at its --etcd-compaction-interval.",
        )))
    }

    /// The next page comes while this one is saved. Archives what the list did not have only after it was read to its end.
    async fn read_once<T: Stored>(&self, task: Option<TaskId>) -> Result<(), Trouble> {
        let known = self.position::<T>().await?;
        let mut page = self.page::<T>("").await?;
        let version = page.metadata.resource_version.clone();
        if parse::version(&version) < known {
            self.rewind().await?;
        }
        let total = page.items.len() as i64 + page.metadata.remaining_item_count.unwrap_or(0);
        let mut seen = Vec::new();
        loop {
            seen.extend(page.items.iter().map(|object| object.metadata().uid.clone()));
            self.progress::<T>(task, seen.len() as i64, total).await?;
            let next = std::mem::take(&mut page.metadata.next);
            if next.is_empty() {
                T::save(self, &page.items).await?;
                break;
            }
            let ((), following) = futures::future::try_join(T::save(self, &page.items), self.page::<T>(&next)).await?;
            page = following;
        }
        let mut tx = save::begin(&self.ctx.pool, self.provider).await?;
        T::sweep(&mut tx, self.ctx.clock.now(), self.provider, &seen, parse::version(&version)).await?;
        positions::save(&mut tx, self.provider, [(T::PLURAL.to_owned(), version.into())].into_iter().collect()).await?;
        Ok(tx.commit().await?)
    }

    async fn page<T: Object>(&self, next: &str) -> Result<Page<T>, Trouble> {
        self.ask(&page_path(T::PATH, self.ctx.settings.page_size, next)).await
    }

    async fn ask<T: Object>(&self, path: &str) -> Result<Page<T>, Trouble> {
        let request = Request::get(path).body(Vec::new()).map_err(|error| self.explain(&kube::Error::HttpError(error)))?;
        match tokio::time::timeout(Duration::from_secs(PAGE_LIMIT_SECS), self.client.request(request)).await {
            Ok(answer) => answer.map_err(|error| self.explain(&error)),
            Err(_) => Err(Trouble::Provider(ConnectError::timeout(&self.server, PAGE_LIMIT_SECS))),
        }
    }

    /// Up to which version the tables have objects of this kind; 0 when they have none.
    async fn position<T: Object>(&self) -> Result<i64, Trouble> {
        let mut conn = self.ctx.pool.acquire().await?;
        let known = positions::find(&mut conn, self.provider).await?;
        Ok(known.get(T::PLURAL).and_then(serde_json::Value::as_str).map_or(0, parse::version))
    }

    /// The cluster's history is shorter than what the tables have of it: its etcd was restored from a backup. What is read now counts as newer.
    pub(crate) async fn rewind(&self) -> Result<(), Trouble> {
        tracing::warn!(provider = %self.provider, "the versions of the cluster's objects went back, as after a restored backup; everything is read anew");
        let mut tx = save::begin(&self.ctx.pool, self.provider).await?;
        save::rewind(&mut tx, self.provider).await?;
        positions::clear(&mut tx, self.provider).await?;
        Ok(tx.commit().await?)
    }

    /// Whether the API server's history ends before `version`. A page of one object tells the present end of it.
    pub(crate) async fn went_back<T: Object>(&self, version: &str) -> Result<bool, Trouble> {
        let path = page_path(T::PATH, 1, "");
        let page: Page<T> = self.ask(&path).await?;
        Ok(parse::version(&page.metadata.resource_version) < parse::version(version))
    }

    pub(crate) fn explain(&self, error: &kube::Error) -> Trouble {
        match error {
            kube::Error::Api(status) if status.code == 410 || is_too_large(status) => Trouble::Expired,
            kube::Error::SerdeError(_) => Trouble::Provider(ConnectError::unreadable(&self.server, &error.to_string())),
            other => Trouble::Provider(explain(other, &self.server)),
        }
    }

    /// Reads the projects and nodes that pods name before their own lists or watches have brought them. One that is gone already stays unknown.
    pub(crate) async fn read_unknown<'b>(&self, names: impl Iterator<Item = (&'b str, &'b str)>) -> Result<(), Trouble> {
        let (projects, nodes): (BTreeSet<_>, BTreeSet<_>) = names.map(|(project, node)| (project.to_owned(), node.to_owned())).unzip();
        let mut conn = self.ctx.pool.acquire().await?;
        let projects = save::unknown_projects(&mut conn, self.provider, &Vec::from_iter(projects)).await?;
        let nodes = save::unknown_nodes(&mut conn, self.provider, &Vec::from_iter(nodes)).await?;
        drop(conn);
        let projects = self.read_named::<Namespace>(&projects).await?;
        let nodes = self.read_named::<Node>(&nodes).await?;
        if !projects.is_empty() {
            Namespace::save(self, &projects).await?;
        }
        if !nodes.is_empty() {
            Node::save(self, &nodes).await?;
        }
        Ok(())
    }

    async fn read_named<T: Object>(&self, names: &[String]) -> Result<Vec<T>, Trouble> {
        let mut found = Vec::new();
        for name in names {
            let request = Request::get(format!("{}/{name}", T::PATH)).body(Vec::new()).map_err(|error| self.explain(&kube::Error::HttpError(error)))?;
            match tokio::time::timeout(Duration::from_secs(PAGE_LIMIT_SECS), self.client.request(request)).await {
                Ok(Ok(object)) => found.push(object),
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
                Ok(Err(error)) => return Err(self.explain(&error)),
                Err(_) => return Err(Trouble::Provider(ConnectError::timeout(&self.server, PAGE_LIMIT_SECS))),
            }
        }
        Ok(found)
    }

    async fn progress<T: Stored>(&self, task: Option<TaskId>, done: i64, total: i64) -> Result<(), Trouble> {
        let Some(task) = task else { return Ok(()) };
        let (from, to) = T::PROGRESS;
        let total = total.max(done);
        let percent = if total == 0 { to } else { from + (to - from) * done / total };
        let mut conn = self.ctx.pool.acquire().await?;
        if task::find(&mut conn, task).await?.is_some_and(|task| task.cancel_requested_at.is_some()) {
            return Err(Trouble::Cancelled);
        }
        let update = Update {
            state: Some(TaskState::Active),
            message: Some(format!("Reading {}", T::PLURAL)),
            progress: i16::try_from(percent).ok(),
            ..Update::default()
        };
        task::set(&mut conn, &self.ctx.clock, task, update).await?;
        Ok(())
    }
}

/// The API server does not know a version that it is asked for yet.
///
/// Source: apiserver, `pkg/storage/errors.go` (`NewTooLargeResourceVersionError`).
pub(crate) fn is_too_large(status: &kube::core::Status) -> bool {
    status.code == 504 && status.message.contains("Too large resource version")
}

fn page_path(path: &str, limit: u32, next: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.max(1).to_string());
    if !next.is_empty() {
        query.append_pair("continue", next);
    }
    format!("{path}?{}", query.finish())
}
