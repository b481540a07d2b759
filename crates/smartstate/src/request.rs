//! Asking for analyses, in sets.

use anyhow::Context;
use model::Clock;
use model::ids::{ImageId, ProviderId, ScanId, TaskId};
use queue::job::{Job, enqueue_many};
use queue::role::{self, Role, any_server_has};
use queue::task::{self, NewTask, Target, TaskKind, TaskState, Update};
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};

use crate::reason::Reason;
use crate::{reference, sharing};

/// What became of one image of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    pub image: ImageId,
    pub scan: ScanId,
    /// The task to follow; `None` when a person removed it.
    pub task: Option<TaskId>,
    /// Its digest was being analysed already (or is asked for twice here): no second pod is made.
    pub existing: bool,
}

/// What became of a request.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    /// The task to follow: of the one image, or the bulk task of several; `None` when none of the images exists.
    pub task: Option<TaskId>,
    /// One per image that exists, by digest.
    pub images: Vec<Requested>,
}

struct Image {
    id: ImageId,
    provider: ProviderId,
    digest: String,
    registry: String,
    name: String,
    pulled_from: String,
    title: String,
    shares_results: bool,
}

/// Of what there is one open scan at most: a digest, at the provider alone when that does not share its results.
type Subject<'a> = (&'a str, Option<i64>);

fn subject(digest: &str, provider: ProviderId, shares_results: bool) -> Subject<'_> {
    (digest, (!shares_results).then_some(provider.0))
}

impl Image {
    fn reference(&self) -> String {
        reference::all(&self.registry, &self.name, &self.pulled_from, &self.digest).swap_remove(0)
    }

    fn subject(&self) -> Subject<'_> {
        subject(&self.digest, self.provider, self.shares_results)
    }
}

/// Asks for an analysis of each image: one scan per digest among the providers that share results, whatever it is called and wherever it runs, and one
/// per digest and provider elsewhere.
///
/// What has an open scan gets that scan. Images of a provider that is being removed count as gone. Scans, tasks and jobs are made in the caller's transaction, in a fixed number of statements.
///
/// # Errors
/// The database.
pub async fn request(conn: &mut PgConnection, clock: &Clock, userid: &str, images: &[ImageId]) -> anyhow::Result<Accepted> {
    sharing::hold(conn).await?;
    let images = find_images(conn, images).await?;
    if images.is_empty() {
        return Ok(Accepted::default());
    }
    let bulk = images.len() > 1;
    let new = insert_scans(conn, clock, userid, &images, bulk).await?;
    let parent = if bulk && !new.is_empty() { Some(create_parent(conn, clock, userid, images.len(), new.len()).await?) } else { None };
    let by_id: HashMap<i64, &Image> = images.iter().map(|image| (image.id.0, image)).collect();
    let tasks = new.iter().filter_map(|(_, image)| by_id.get(&image.0)).map(|image| new_task(image, userid, parent)).collect::<Vec<_>>();
    let tasks = task::create_many(conn, clock, &tasks).await?;
    join_tasks(conn, &new, &tasks).await?;
    let jobs: Vec<Job> = new.iter().map(|(scan, _)| Job::AnalyzeImage { scan: *scan }).collect();
    enqueue_many(conn, &jobs).await?;
    if let Some(reason) = missing_role(conn, clock).await? {
        // The rest hear it from the servers' loop: `work` says it in portions.
        let first: Vec<TaskId> = parent.into_iter().chain(tasks.iter().copied()).take(100).collect();
        say_waiting(conn, clock, &first, &reason).await?;
    }
    adopt(conn, clock, userid, &images).await?;
    let images = results(conn, &images, &new).await?;
    let task = parent.or_else(|| images.iter().find_map(|image| image.task));
    Ok(Accepted { task, images })
}

/// Asks again for what a finished task did not bring about: its image, or the images of its children that did not end well.
///
/// # Errors
/// The database. `None`: the task is not finished, is no analysis, or its images are gone.
pub async fn retry(conn: &mut PgConnection, clock: &Clock, userid: &str, task: TaskId) -> anyhow::Result<Option<TaskId>> {
    let images = sqlx::query_scalar!(
        r#"SELECT target_id AS "image!: ImageId"
           FROM tasks
           WHERE (id = $1 OR parent_id = $1 AND status <> 'ok')
             AND kind = 'image_scan'
             AND state = 'finished'
             AND target_id IS NOT NULL"#,
        task.0
    )
    .fetch_all(&mut *conn)
    .await?;
    Ok(request(conn, clock, userid, &images).await?.task)
}

/// `None` when some living server may drive scans, for which it needs both roles.
pub(crate) async fn missing_role(conn: &mut PgConnection, clock: &Clock) -> anyhow::Result<Option<Reason>> {
    let [one, other] = [Role::SmartState, Role::SmartProxy];
    let since = clock.now() - chrono::Duration::seconds(role::ALIVE_SECS);
    let complete = sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM servers
             WHERE seen_at >= $3
               AND EXISTS (SELECT FROM server_roles WHERE server_id = servers.id AND role = $1 AND enabled)
               AND EXISTS (SELECT FROM server_roles WHERE server_id = servers.id AND role = $2 AND enabled)
           ) AS "complete!""#,
        one.as_str(),
        other.as_str(),
        since
    )
    .fetch_one(&mut *conn)
    .await?;
    if complete {
        return Ok(None);
    }
    let has = (any_server_has(conn, clock, one).await?, any_server_has(conn, clock, other).await?);
    Ok(Some(Reason::NoServerRole(match has {
        (true, false) => format!("the role {}", other.label()),
        (false, true) => format!("the role {}", one.label()),
        (false, false) => format!("the roles {} and {}", one.label(), other.label()),
        (true, true) => format!("both roles, {} and {}: each is another server's", one.label(), other.label()),
    })))
}

/// Lets tasks say why they wait.
pub(crate) async fn say_waiting(conn: &mut PgConnection, clock: &Clock, tasks: &[TaskId], reason: &Reason) -> anyhow::Result<()> {
    for id in tasks {
        let update = Update {
            state: Some(TaskState::Waiting),
            message: Some(reason.message()),
            reason_code: Some(reason.code().into()),
            advice: Some(reason.advice().into()),
            ..Update::default()
        };
        task::set(conn, clock, *id, update).await?;
    }
    Ok(())
}

/// Ordered by digest, so that two requests lock scans in the same order.
async fn find_images(conn: &mut PgConnection, ids: &[ImageId]) -> anyhow::Result<Vec<Image>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let images = sqlx::query_as!(
        Image,
        r#"SELECT container_images.id AS "id: ImageId", container_images.provider_id AS "provider: ProviderId", digest,
                  image_registries.name AS registry, container_images.name, pulled_from,
                  image_registries.name || '/' || container_images.name || CASE WHEN tag = '' THEN '' ELSE ':' || tag END AS "title!",
                  shares_results
           FROM container_images
           JOIN image_registries ON image_registries.id = registry_id
           JOIN providers ON providers.id = container_images.provider_id
           WHERE container_images.id = ANY($1)
             AND removing_at IS NULL
             AND paused_at IS NULL
           ORDER BY digest, container_images.id"#,
        &ids
    )
    .fetch_all(conn)
    .await
    .context("reading the images to analyse")?;
    Ok(images)
}

/// The scans that were made, with their images. What has an open scan is left out.
async fn insert_scans(conn: &mut PgConnection, clock: &Clock, userid: &str, images: &[Image], bulk: bool) -> anyhow::Result<Vec<(ScanId, ImageId)>> {
    let mut seen = HashSet::new();
    let first: Vec<&Image> = images.iter().filter(|image| seen.insert(image.subject())).collect();
    let column = |of: fn(&Image) -> String| first.iter().map(|image| of(image)).collect::<Vec<String>>();
    let (digests, references) = (column(|i| i.digest.clone()), column(Image::reference));
    let ids: Vec<i64> = first.iter().map(|image| image.id.0).collect();
    let providers: Vec<i64> = first.iter().map(|image| image.provider.0).collect();
    let share: Vec<bool> = first.iter().map(|image| image.shares_results).collect();
    let rows = sqlx::query!(
        r#"INSERT INTO scans (digest, image_id, provider_id, userid, reference, state, requested_at, bulk, shares_results)
           SELECT new.digest, new.image_id, new.provider_id, $5, new.reference, 'waiting', $6, $7, new.shares_results
           FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::text[], $8::boolean[])
             AS new (digest, image_id, provider_id, reference, shares_results)
           ON CONFLICT DO NOTHING
           RETURNING id AS "id: ScanId", image_id AS "image!: ImageId""#,
        &digests,
        &ids,
        &providers,
        &references,
        userid,
        clock.now(),
        bulk,
        &share
    )
    .fetch_all(conn)
    .await
    .context("inserting scans")?;
    Ok(rows.into_iter().map(|row| (row.id, row.image)).collect())
}

async fn create_parent(conn: &mut PgConnection, clock: &Clock, userid: &str, asked: usize, new: usize) -> anyhow::Result<TaskId> {
    let parent = NewTask {
        kind: TaskKind::ImageScanBulk,
        name: format!("Container Image Analysis: {asked} images"),
        userid: userid.into(),
        target: Target::several(format!("{asked} images")),
        provider: None,
        parent: None,
    };
    let message = match asked - new {
        0 => format!("{new} images queued"),
        already => format!("{new} images queued; {already} are already being analysed or are the same image under another name"),
    };
    task::create(conn, clock, &parent, &message).await
}

fn new_task(image: &Image, userid: &str, parent: Option<TaskId>) -> NewTask {
    NewTask {
        kind: TaskKind::ImageScan,
        name: format!("Container Image Analysis: {}", image.title),
        userid: userid.into(),
        target: Target::image(image.id, &image.title),
        provider: Some(image.provider),
        parent,
    }
}

async fn join_tasks(conn: &mut PgConnection, scans: &[(ScanId, ImageId)], tasks: &[TaskId]) -> anyhow::Result<()> {
    let scans: Vec<i64> = scans.iter().map(|(scan, _)| scan.0).collect();
    let tasks: Vec<i64> = tasks.iter().map(|task| task.0).collect();
    sqlx::query!(
        "UPDATE scans
         SET task_id = pair.task_id
         FROM UNNEST($1::bigint[], $2::bigint[]) AS pair (scan_id, task_id)
         WHERE scans.id = pair.scan_id",
        &scans,
        &tasks
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Open scans whose tasks a person removed get new ones, so that whoever asks has one to follow.
async fn adopt(conn: &mut PgConnection, clock: &Clock, userid: &str, images: &[Image]) -> anyhow::Result<()> {
    let digests: Vec<String> = images.iter().map(|image| image.digest.clone()).collect();
    let left = sqlx::query!(
        r#"SELECT id AS "id: ScanId", digest, provider_id AS "provider!: ProviderId", shares_results
           FROM scans
           WHERE digest = ANY($1)
             AND state <> 'finished'
             AND task_id IS NULL
           FOR UPDATE"#,
        &digests
    )
    .fetch_all(&mut *conn)
    .await?;
    let by_subject: HashMap<Subject<'_>, &Image> = images.iter().rev().map(|image| (image.subject(), image)).collect();
    let image = |digest, provider, shares| by_subject.get(&subject(digest, provider, shares)).copied();
    let left: Vec<(ScanId, &Image)> = left.iter().filter_map(|scan| Some((scan.id, image(&scan.digest, scan.provider, scan.shares_results)?))).collect();
    let tasks: Vec<NewTask> = left.iter().map(|(_, image)| new_task(image, userid, None)).collect();
    let tasks = task::create_many(conn, clock, &tasks).await?;
    join_tasks(conn, &left.iter().map(|(scan, image)| (*scan, image.id)).collect::<Vec<_>>(), &tasks).await
}

/// For each image its newest scan: that made now, the open one, or (when it ended this moment) the last.
async fn results(conn: &mut PgConnection, images: &[Image], new: &[(ScanId, ImageId)]) -> anyhow::Result<Vec<Requested>> {
    let ids: Vec<i64> = images.iter().map(|image| image.id.0).collect();
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (image_scans.image_id) image_scans.image_id AS "image!", scans.id AS "id: ScanId", task_id AS "task: TaskId"
           FROM image_scans
           JOIN scans ON scans.id = scan_id
           WHERE image_scans.image_id = ANY($1)
           ORDER BY image_scans.image_id, scans.id DESC"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let by_image: HashMap<i64, (ScanId, Option<TaskId>)> = rows.iter().map(|row| (row.image, (row.id, row.task))).collect();
    let made: HashSet<i64> = new.iter().map(|(_, image)| image.0).collect();
    Ok(images
        .iter()
        .filter_map(|image| {
            let (scan, task) = *by_image.get(&image.id.0)?;
            Some(Requested { image: image.id, scan, task, existing: !made.contains(&image.id.0) })
        })
        .collect())
}

#[cfg(test)]
pub(crate) mod tests;
