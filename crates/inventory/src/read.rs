//! Reads all objects of a provider, page by page, and saves each page.

mod size;

use crate::bounded::Limits;
use crate::failure::{ConnectError, Reason, explain, is_late};
use crate::room::{self, Share};
use crate::shape::{ITEMS_MAX, Metadata, Namespace, Node, Object, Page, Pod};
use crate::{Inventory, ask, parse, positions, save};
use chrono::{DateTime, Utc};
use model::ids::{ProviderId, TaskId};
use queue::task::{self, TaskState, Update};
use size::{PageKind, PageSize};
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// One page must have come by then.
const PAGE_LIMIT_SECS: u64 = 60;
/// How often a list is started anew because its continue token ran out.
const RESTARTS_MAX: usize = 3;
/// Projects and nodes that pods name before they are known: most that are read one by one, and the time for all.
const UNKNOWN_MAX: usize = 200;
const UNKNOWN_LIMIT_SECS: u64 = 60;
/// Rows of containers that are made at once: a page can have a hundred times as many as pods.
const CONTAINERS_AT_ONCE: usize = 2_000;
/// Longest uid, name or version. Kubernetes' own limit of names.
const NAME_BYTES_MAX: usize = 253;
/// All labels, or all annotations, of an object; Kubernetes' own limit for annotations is half of it.
const TEXTS_BYTES_MAX: usize = 512 << 10;
/// Of 36 bytes everywhere; those of static pods have 32.
const UID_BYTES_MAX: usize = 64;

/// Why reading or watching stopped.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The provider cannot be used.
    Provider(ConnectError),
    /// The API server no longer knows the position or the page: read everything anew.
    Expired,
    /// A person cancelled the task.
    Cancelled,
    /// A person paused the provider.
    Paused,
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
        for some in objects.chunk_by(few_containers()) {
            let rows: Vec<_> = some.iter().filter_map(|object| parse::pod(object, false, &reader.ctx.settings.scan_namespace)).collect();
            reader.read_unknown(rows.iter().map(|row| (row.project.as_str(), row.node.as_str()))).await?;
            let mut tx = save::begin(&reader.ctx.pool, reader.provider).await?;
            save::pods(&mut tx, reader.ctx.clock.now(), reader.provider, &rows).await?;
            tx.commit().await?;
        }
        Ok(())
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
        let mut size = PageSize::new(self.ctx.settings.page_size);
        let (mut page, mut share) = self.page::<T>("", &mut size).await?;
        let version = page.metadata.resource_version.clone();
        if parse::version(&version) < known {
            self.rewind().await?;
        }
        let total = self.total(&page);
        let mut seen = HashSet::new();
        loop {
            let next = std::mem::take(&mut page.metadata.next);
            self.note_seen(&mut seen, &mut page, &next)?;
            self.progress::<T>(task, seen.len() as i64, total).await?;
            if next.is_empty() {
                T::save(self, &page.items).await?;
                break;
            }
            let items = std::mem::take(&mut page.items);
            let save = async move {
                let saved = T::save(self, &items).await;
                drop((items, share)); // before the next page is there: it may wait for this room
                saved
            };
            let ((), following) = futures::future::try_join(save, self.page::<T>(&next, &mut size)).await?;
            (page, share) = following;
        }
        let seen = Vec::from_iter(seen);
        let mut tx = save::begin(&self.ctx.pool, self.provider).await?;
        T::sweep(&mut tx, self.ctx.clock.now(), self.provider, &seen, parse::version(&version)).await?;
        positions::save(&mut tx, self.provider, [(T::PLURAL.to_owned(), version.into())].into_iter().collect()).await?;
        Ok(tx.commit().await?)
    }

    /// How many there are, as far as the first page says so.
    fn total<T: Object>(&self, first: &Page<T>) -> i64 {
        let most = i64::try_from(self.ctx.settings.objects_max).unwrap_or(i64::MAX);
        let here = i64::try_from(first.items.len()).unwrap_or(i64::MAX);
        first.metadata.remaining_item_count.unwrap_or(0).clamp(0, most).saturating_add(here)
    }

    /// Notes the page's uids and drops what came before.
    ///
    /// # Errors
    /// A list that does not end, or objects that no API server has.
    fn note_seen<T: Object>(&self, seen: &mut HashSet<String>, page: &mut Page<T>, next: &str) -> Result<(), Trouble> {
        if page.items.iter().any(|object| !is_plausible(object.metadata())) {
            return Err(Trouble::Provider(ConnectError::unreadable(
                &self.server,
                &format!("one of the {} has no proper name, uid or version, or more labels or annotations than Kubernetes allows", T::PLURAL),
            )));
        }
        page.items.retain(|object| seen.insert(object.metadata().uid.clone()));
        if page.items.is_empty() && !next.is_empty() {
            return Err(Trouble::Provider(ConnectError::new(
                Reason::TooLarge,
                format!("{} goes on with its list of {} without anything new in it.", self.server, T::PLURAL),
                "Look at what answers at that address; pause the provider until this is clear.",
            )));
        }
        if seen.len() > self.ctx.settings.objects_max {
            let what = format!("more than {} {}", self.ctx.settings.objects_max, T::PLURAL);
            return Err(Trouble::Provider(ConnectError::too_large(&self.server, &what)));
        }
        Ok(())
    }

    /// At most `size.limit` objects from `next` on; what makes a page too large for them makes the limit smaller, down to one object.
    ///
    /// Who sends little, or drips, waits for nobody and keeps nobody waiting: only a page that turned out to be large takes of the shared room.
    async fn page<T: Object>(&self, next: &str, size: &mut PageSize) -> Result<(Page<T>, Option<Share>), Trouble> {
        loop {
            let path = page_path(T::PATH, size.limit, next);
            let large = size.kind == PageKind::Large;
            let (mut share, limits) = if large { (Some(room::page().await), Limits::PAGE) } else { (None, Limits::SMALL_PAGE) };
            match self.within(ask::page::<Page<T>>(&self.client, &path, limits)).await {
                Ok(Ok((page, ..))) if page.items.len() > ITEMS_MAX => {
                    let what = format!("more than {ITEMS_MAX} {} where {} were asked for", T::PLURAL, size.limit);
                    return Err(Trouble::Provider(ConnectError::too_large(&self.server, &what)));
                }
                Ok(Ok((page, bytes, nodes))) => {
                    if let Some(share) = &mut share {
                        share.keep(bytes, nodes);
                    }
                    return Ok((page, share));
                }
                Ok(Err(error)) => {
                    let trouble = self.explain(&error);
                    let too_large = matches!(&trouble, Trouble::Provider(error) if error.reason == Reason::TooLarge);
                    if !too_large || !size.shrink(is_late(&error)) {
                        return Err(trouble);
                    }
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    async fn within<T>(&self, asked: impl Future<Output = T>) -> Result<T, Trouble> {
        let answer = tokio::time::timeout(Duration::from_secs(PAGE_LIMIT_SECS), asked).await;
        answer.map_err(|_| Trouble::Provider(ConnectError::timeout(&self.server, PAGE_LIMIT_SECS)))
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
        let _turn = room::object().await;
        let page: Page<T> = self.within(ask::get(&self.client, &path, Limits::ONE)).await?.map_err(|error| self.explain(&error))?;
        Ok(parse::version(&page.metadata.resource_version) < parse::version(version))
    }

    pub(crate) fn explain(&self, error: &kube::Error) -> Trouble {
        match error {
            kube::Error::Api(status) if status.code == 410 || is_too_large(status) => Trouble::Expired,
            kube::Error::SerdeError(error) => Trouble::Provider(ConnectError::unreadable(&self.server, &where_it_ends(error))),
            other => Trouble::Provider(explain(other, &self.server)),
        }
    }

    /// Reads the projects and nodes that pods name before their own lists or watches have brought them. One that is gone already stays unknown.
    ///
    /// # Errors
    /// `Expired`: they are so many that everything is to be read anew. `Provider`: it took too long.
    pub(crate) async fn read_unknown<'b>(&self, names: impl Iterator<Item = (&'b str, &'b str)>) -> Result<(), Trouble> {
        let (projects, nodes): (BTreeSet<_>, BTreeSet<_>) = names.map(|(project, node)| (project.to_owned(), node.to_owned())).unzip();
        let mut conn = self.ctx.pool.acquire().await?;
        let projects = save::unknown_projects(&mut conn, self.provider, &Vec::from_iter(projects)).await?;
        let nodes = save::unknown_nodes(&mut conn, self.provider, &Vec::from_iter(nodes)).await?;
        drop(conn);
        if projects.len() + nodes.len() > UNKNOWN_MAX {
            return Err(Trouble::Expired);
        }
        let reading = async {
            self.read_named::<Namespace>(&projects).await?;
            self.read_named::<Node>(&nodes).await
        };
        let read = tokio::time::timeout(Duration::from_secs(UNKNOWN_LIMIT_SECS), reading).await;
        read.unwrap_or_else(|_| Err(Trouble::Provider(ConnectError::timeout(&self.server, UNKNOWN_LIMIT_SECS))))
    }

    /// Each is saved before the next is read: together they may be large.
    async fn read_named<T: Stored>(&self, names: &[String]) -> Result<(), Trouble> {
        for name in names {
            let path = format!("{}/{}", T::PATH, url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>());
            let _turn = room::object().await;
            let asked = async {
                match ask::get::<T>(&self.client, &path, Limits::ONE).await {
                    Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                    answer => answer.map(Some),
                }
            };
            let found = self.within(asked).await?.map_err(|error| self.explain(&error))?;
            if let Some(object) = found.filter(|object| is_plausible(T::metadata(object))) {
                T::save(self, &[object]).await?;
            }
        }
        Ok(())
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

/// Where in an answer the trouble is. What it says there is not repeated.
fn where_it_ends(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it is cut off",
        serde_json::error::Category::Syntax => "it is no JSON",
        _ => "a field has another type than Kubernetes gives it",
    };
    format!("{what} at line {}, column {}", error.line(), error.column())
}

/// As every API server has it; also short enough to be kept by the hundred thousand.
pub(crate) fn is_plausible(metadata: &Metadata) -> bool {
    let proper = |text: &str, bytes_max: usize| !text.is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control);
    proper(&metadata.uid, UID_BYTES_MAX)
        && proper(&metadata.name, NAME_BYTES_MAX)
        && metadata.resource_version.len() <= NAME_BYTES_MAX
        && metadata.namespace.len() <= NAME_BYTES_MAX
        && [&metadata.labels, &metadata.annotations]
            .iter()
            .all(|texts| texts.iter().map(|(key, text)| key.len() + text.len()).sum::<usize>() <= TEXTS_BYTES_MAX)
}

/// Whether a pod goes with those before it into one transaction.
fn few_containers() -> impl FnMut(&Pod, &Pod) -> bool {
    let mut sum = 0;
    move |before, _| {
        sum += 1 + before.spec.containers.len() + before.spec.init_containers.len() + before.spec.ephemeral_containers.len();
        let room = sum < CONTAINERS_AT_ONCE;
        if !room {
            sum = 0;
        }
        room
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

#[cfg(test)]
mod tests;
