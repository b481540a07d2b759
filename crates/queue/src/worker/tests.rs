use super::*;
use crate::job::{enqueue, setup};
use model::ids::ScanId;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{mpsc, oneshot};

type Answer = fn(u32) -> Result<(), JobError>;

/// Tells the test of each run; the n-th (from 0) ends as `answer` says, or never while `stuck`.
struct Told {
    runs: mpsc::UnboundedSender<Job>,
    gave_up: mpsc::UnboundedSender<String>,
    count: AtomicU32,
    stuck: bool,
    answer: Answer,
}

impl Handler for Told {
    fn run(&self, job: Job, _: DateTime<Utc>) -> BoxFuture<'_, Result<(), JobError>> {
        async move {
            self.runs.send(job).unwrap();
            if self.stuck {
                std::future::pending::<()>().await;
            }
            (self.answer)(self.count.fetch_add(1, Ordering::SeqCst))
        }
        .boxed()
    }

    fn gave_up(&self, _: Job, error: String) -> BoxFuture<'_, ()> {
        async move { self.gave_up.send(error).unwrap() }.boxed()
    }
}

struct Worker {
    runs: mpsc::UnboundedReceiver<Job>,
    gave_up: mpsc::UnboundedReceiver<String>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

fn start(pool: &PgPool, stuck: bool, answer: Answer) -> Worker {
    let (runs, runs_seen) = mpsc::unbounded_channel();
    let (gave_up, gave_up_seen) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let handler = Arc::new(Told { runs, gave_up, count: AtomicU32::new(0), stuck, answer });
    let task = tokio::spawn(work(pool.clone(), Queue::SmartState, "test".into(), handler, 2, stopped.map(|_| ())));
    Worker { runs: runs_seen, gave_up: gave_up_seen, stop, task }
}

async fn soon<T>(secs: u64, what: impl Future<Output = Option<T>>) -> T {
    tokio::time::timeout(Duration::from_secs(secs), what).await.expect("it happens in time").expect("the worker lives")
}

async fn ask(pool: &PgPool, scan: i64) -> Job {
    let job = Job::AnalyzeImage { scan: ScanId(scan) };
    enqueue(&mut pool.acquire().await.unwrap(), &job).await.unwrap();
    job
}

async fn unfinished(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM apalis.jobs WHERE status <> 'Done'").fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_job_lives_and_dies_with_the_transaction_that_asked_for_it(pool: PgPool) {
    setup(&pool).await.unwrap();
    let mut worker = start(&pool, false, |_| Ok(()));
    let mut tx = pool.begin().await.unwrap();
    enqueue(&mut tx, &Job::AnalyzeImage { scan: ScanId(1) }).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(unfinished(&pool).await, 0);

    let job = ask(&pool, 2).await;
    assert_eq!(soon(10, worker.runs.recv()).await, job);
    worker.stop.send(()).unwrap();
    worker.task.await.unwrap();
    assert_eq!(unfinished(&pool).await, 0);
    assert!(worker.runs.recv().await.is_none());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_job_that_asks_for_it_runs_again_and_one_that_fails_is_given_up(pool: PgPool) {
    setup(&pool).await.unwrap();
    let mut worker = start(&pool, false, |count| match count {
        0 => Err(JobError::retry(anyhow::anyhow!("not yet"))),
        1 => Ok(()),
        2 => panic!("a defect"),
        _ => Err(JobError::fail(anyhow::anyhow!("never"))),
    });
    let job = ask(&pool, 1).await;
    assert_eq!(soon(10, worker.runs.recv()).await, job);
    assert_eq!(soon(20, worker.runs.recv()).await, job);
    ask(&pool, 2).await;
    assert!(soon(10, worker.gave_up.recv()).await.contains("unexpectedly"));
    ask(&pool, 3).await;
    assert_eq!(soon(10, worker.gave_up.recv()).await, "never");
    worker.stop.send(()).unwrap();
    worker.task.await.unwrap();
    assert_eq!(unfinished(&pool).await, 0);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_killed_workers_job_is_taken_over(pool: PgPool) {
    setup(&pool).await.unwrap();
    let job = ask(&pool, 1).await;
    let mut killed = start(&pool, true, |_| Ok(()));
    soon(10, killed.runs.recv()).await;
    killed.task.abort();
    let mut other = start(&pool, false, |_| Ok(()));
    assert_eq!(soon(25, other.runs.recv()).await, job);
    other.stop.send(()).unwrap();
    other.task.await.unwrap();
    assert_eq!(unfinished(&pool).await, 0);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_stopped_worker_gives_its_job_back_at_once(pool: PgPool) {
    setup(&pool).await.unwrap();
    let job = ask(&pool, 1).await;
    let mut stuck = start(&pool, true, |_| Ok(()));
    soon(10, stuck.runs.recv()).await;
    stuck.stop.send(()).unwrap();
    soon(10, stuck.task.map(Result::ok)).await;
    let mut other = start(&pool, false, |_| Ok(()));
    assert_eq!(soon(5, other.runs.recv()).await, job);
    other.stop.send(()).unwrap();
    other.task.await.unwrap();
}

#[test]
fn retries_come_ever_later() {
    let delays: Vec<u64> = [1, 2, 3, 8, 9, 60].into_iter().map(|retries| retry_delay(retries).as_secs()).collect();
    assert_eq!(delays, [2, 4, 8, 256, 300, 300]);
}
