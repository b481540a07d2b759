use super::*;

/// Under /var/tmp and not under the temporary directory of the test run, which may lie where the user postgres cannot enter.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("tidewaiter-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

#[tokio::test]
async fn a_private_postgres_starts_as_whoever_we_are_is_adopted_restarted_and_stopped() {
    let dir = directory();
    let wanted = dir.path().join("postgres");
    let first = start(&wanted).await.unwrap();
    let pid = first.place.postmaster().unwrap().expect("it runs");
    let pool = model::database::connect(&first.url(), 2).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, String>("SHOW listen_addresses").fetch_one(&pool).await.unwrap(), "");

    // As after a SIGKILL of the server: nobody waits for the child any more.
    drop(first);
    let adopted = start(&wanted).await.unwrap();
    assert!(adopted.child.is_none());
    assert_eq!(adopted.place.postmaster().unwrap(), Some(pid));

    let place = adopted.place.clone();
    let (stop, stopping) = watch::channel(false);
    let supervisor = tokio::spawn(adopted.supervise(stopping));
    kill(pid, Signal::SIGQUIT).unwrap();
    let back = async {
        while place.postmaster().unwrap().is_none_or(|new| new == pid) || connect(&place, DATABASE).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.expect("it is started again");

    stop.send(true).unwrap();
    supervisor.await.unwrap();
    assert_eq!(place.postmaster().unwrap(), None);
}

#[test]
fn what_cannot_be_read_is_not_gone() {
    let of = |error: i32| present::<()>(Err(io::Error::from_raw_os_error(error))).map_err(|error| error.raw_os_error());
    assert_eq!(of(nix::Error::ENOENT as i32), Ok(None));
    assert_eq!(of(nix::Error::ESRCH as i32), Ok(None));
    for unknown in [nix::Error::EMFILE, nix::Error::ENFILE, nix::Error::EIO] {
        assert_eq!(of(unknown as i32), Err(Some(unknown as i32)));
    }
}

#[test]
fn a_missing_postgres_is_said_with_the_packages_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("postgresql");
    let error = place::matching(&place::installed(&[root.to_str().unwrap()]), dir.path()).unwrap_err().to_string();
    assert!(error.contains("apt install postgresql") && error.contains("dnf install postgresql-server") && error.contains("DATABASE_URL"), "{error}");
}

#[test]
fn data_is_run_by_the_version_that_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/PG_VERSION"), "15\n").unwrap();
    let bins = [(17, "/seventeen".into()), (15, "/fifteen".into())];
    assert_eq!(place::matching(&bins, dir.path()).unwrap(), Path::new("/fifteen"));
    assert!(place::matching(&bins[..1], dir.path()).unwrap_err().to_string().contains("postgresql-15"));
}
