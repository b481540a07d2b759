use super::*;
use chrono::Duration;
use model::Clock;
use model::ids::ImageId;
use sqlx::PgPool;

fn new(kind: TaskKind, parent: Option<TaskId>) -> NewTask {
    NewTask { kind, name: "Analysis".into(), userid: "admin".into(), target: Target::image(ImageId(1), "nginx"), provider: None, parent }
}

async fn get(conn: &mut PgConnection, id: TaskId) -> Task {
    find(conn, id).await.unwrap().unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_finished_task_never_changes_again(pool: PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    let clock = Clock::at(DateTime::UNIX_EPOCH);
    let id = create(&mut conn, &clock, &new(TaskKind::ImageScan, None), "Queued").await.unwrap();
    let active = Update { state: Some(TaskState::Active), message: Some("Pulling".into()), progress: Some(20), ..Update::default() };
    assert!(set(&mut conn, &clock, id, active.clone()).await.unwrap());
    clock.advance(Duration::seconds(9));
    assert!(set(&mut conn, &clock, id, active.clone()).await.unwrap());
    assert!(finish(&mut conn, &clock, id, TaskStatus::Warn, "Done", "no_content", "Wait").await.unwrap());
    assert!(!set(&mut conn, &clock, id, active).await.unwrap());
    assert!(!finish(&mut conn, &clock, id, TaskStatus::Ok, "Late", "", "").await.unwrap());
    event(&mut conn, &clock, id, "Late").await.unwrap();
    assert_eq!(request_cancel(&mut conn, &clock, &[id]).await.unwrap(), 0);

    let task = get(&mut conn, id).await;
    assert_eq!((task.state, task.status, task.message.as_str(), task.progress), (TaskState::Finished, Some(TaskStatus::Warn), "Done", 100));
    assert_eq!((task.started_at.unwrap().timestamp(), task.finished_at.unwrap().timestamp()), (0, 9));
    let messages: Vec<String> = timeline(&mut conn, id).await.unwrap().into_iter().map(|event| event.message).collect();
    assert_eq!(messages, ["Queued", "Pulling", "Done"]);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_parent_sums_its_children_up_and_ends_with_the_last_as_the_worst(pool: PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    let clock = Clock::default();
    let parent = create(&mut conn, &clock, &new(TaskKind::ImageScanBulk, None), "Queued").await.unwrap();
    let children = create_many(&mut conn, &clock, &vec![new(TaskKind::ImageScan, Some(parent)); 2000]).await.unwrap();
    assert_eq!(children.len(), 2000);
    assert!(children.is_sorted());

    let newest: TaskId = sqlx::query_scalar("SELECT id FROM tasks ORDER BY created_at DESC, id DESC LIMIT 1").fetch_one(&mut *conn).await.unwrap();
    assert_eq!(newest, parent, "the parent stands above its children");

    finish_many(&mut conn, &clock, &children[..1997], TaskStatus::Ok, "Done", "", "").await.unwrap();
    finish(&mut conn, &clock, children[1997], TaskStatus::Warn, "Done", "", "").await.unwrap();
    let fail = Update { status: Some(TaskStatus::Error), message: Some("No".into()), ..Update::default() };
    set(&mut conn, &clock, children[1998], fail).await.unwrap();
    let before = get(&mut conn, parent).await;
    assert_eq!((before.state, before.children_finished, before.children_failed, before.progress), (TaskState::Active, 1999, 1, 99));

    assert_eq!(request_cancel(&mut conn, &clock, &[parent]).await.unwrap(), 2, "the parent and its open child");
    finish(&mut conn, &clock, children[1999], TaskStatus::Cancelled, "Cancelled", "cancelled", "").await.unwrap();
    let after = get(&mut conn, parent).await;
    assert_eq!((after.state, after.status), (TaskState::Finished, Some(TaskStatus::Error)));
    assert_eq!(after.message, "2000 finished: 1997 well, 1 with warnings, 1 failed, 1 cancelled");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_parent_is_active_with_its_first_child_and_no_longer_says_what_it_waited_for(pool: PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    let clock = Clock::at(DateTime::UNIX_EPOCH);
    let parent = create(&mut conn, &clock, &new(TaskKind::ImageScanBulk, None), "Queued").await.unwrap();
    let children = create_many(&mut conn, &clock, &vec![new(TaskKind::ImageScan, Some(parent)); 3]).await.unwrap();
    let waiting = Update {
        state: Some(TaskState::Waiting),
        message: Some("No server has the role".into()),
        reason_code: Some("no_server_role".into()),
        advice: Some("Switch it on".into()),
        ..Update::default()
    };
    for id in [parent, children[0]] {
        set(&mut conn, &clock, id, waiting.clone()).await.unwrap();
    }
    assert_eq!(get(&mut conn, parent).await.state, TaskState::Waiting, "a child that waits begins nothing");
    let active = Update { state: Some(TaskState::Active), message: Some("Pulling".into()), ..Update::default() };
    for seconds in [5, 7] {
        clock.advance(Duration::seconds(seconds));
        set(&mut conn, &clock, children[0], active.clone()).await.unwrap();
    }
    let begun = get(&mut conn, parent).await;
    assert_eq!((begun.state, begun.started_at.unwrap().timestamp(), begun.message.as_str()), (TaskState::Active, 5, "0 of 3 finished"));
    assert_eq!((begun.reason_code.as_str(), begun.advice.as_str()), ("", ""));

    set(&mut conn, &clock, parent, waiting).await.unwrap();
    finish(&mut conn, &clock, children[1], TaskStatus::Ok, "Done", "", "").await.unwrap();
    let counted = get(&mut conn, parent).await;
    assert_eq!((counted.state, counted.message.as_str()), (TaskState::Active, "1 of 3 finished"));
    assert_eq!((counted.reason_code.as_str(), counted.advice.as_str()), ("", ""), "nor once a child has ended");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn the_words_in_code_are_those_of_the_table(pool: PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    let clock = Clock::default();
    for kind in TaskKind::ALL {
        let id = create(&mut conn, &clock, &new(*kind, None), "Queued").await.unwrap();
        for state in [TaskState::Waiting, TaskState::Active] {
            set(&mut conn, &clock, id, Update { state: Some(state), ..Update::default() }).await.unwrap();
            assert_eq!(get(&mut conn, id).await.state, state);
        }
        assert_eq!(get(&mut conn, id).await.kind, *kind);
    }
    for status in TaskStatus::ALL {
        let id = create(&mut conn, &clock, &new(TaskKind::ImageScan, None), "Queued").await.unwrap();
        finish(&mut conn, &clock, id, *status, "Done", "", "").await.unwrap();
        assert_eq!(get(&mut conn, id).await.status, Some(*status));
    }
    assert_eq!(TaskState::parse("waiting"), Some(TaskState::Waiting));
}
