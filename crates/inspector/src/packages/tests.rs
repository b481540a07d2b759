use super::{ndb, read, rpm};
use flate2::read::GzDecoder;
use scap::report::{Package, PackageDatabase, PackageKind};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use tempfile::TempDir;

fn testdata(name: &str) -> File {
    File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)).unwrap()
}

fn unpacked(archive: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    tar::Archive::new(GzDecoder::new(testdata(archive))).unpack(dir.path()).unwrap();
    dir
}

fn image(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

fn gunzipped(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(testdata(name)).read_to_end(&mut bytes).unwrap();
    bytes
}

fn names(packages: &[Package]) -> Vec<String> {
    packages.iter().map(|p| format!("{} {}", p.name, p.version)).collect()
}

fn unreadable(image: &TempDir) -> String {
    match read(image.path()).0 {
        PackageDatabase::Unreadable { path, reason } => format!("{path}: {reason}"),
        other => panic!("expected an unreadable database, found {other:?}"),
    }
}

const RPMS: [&str; 4] = ["bash 1:4.2.46-31.el7", "openssl 1:1.0.1e-42.el7", "redhat-release 1:9.2-0.1.el9", "setup 1:2.13.7-9.el9"];

#[test]
fn dpkg_lists_the_packages_of_a_debian_image() {
    let (database, packages) = read(unpacked("debian-12-tiny.tar.gz").path());
    assert_eq!(database, PackageDatabase::Read { paths: vec!["var/lib/dpkg/status".into()] });
    assert_eq!(packages.len(), 91);
    let libc = packages.iter().find(|p| p.name == "libc6").unwrap();
    assert_eq!((libc.kind, libc.source.as_str(), libc.architecture.as_str()), (PackageKind::Deb, "glibc", "amd64"));
    assert_eq!(libc.summary, "GNU C Library: Shared libraries");
    assert!(packages.is_sorted_by_key(|p| &p.name));
}

#[test]
fn packages_that_were_removed_are_not_listed_and_unpacked_ones_are() {
    let status = b"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\nStatus: install ok unpacked\nVersion: 1:2-3\nArchitecture: amd64\nDescription: first line\n more\n .\n text\nSource: whole (2-2)\n\nPackage: held\nStatus: hold ok installed\nVersion: 4\n";
    let (_, packages) = read(image(&[("var/lib/dpkg/status", status)]).path());
    assert_eq!(names(&packages), ["half 1:2-3", "held 4"]);
    assert_eq!((packages[0].source.as_str(), packages[0].summary.as_str()), ("whole", "first line"));
}

#[test]
fn fields_that_somebody_invented_are_passed_over() {
    let status = b"Package: agent\r\nStatus: install ok installed\r\nVersion: 1.2\r\nGit_Commit: abc\r\nX.Team+Name : core\r\n";
    assert_eq!(names(&read(image(&[("var/lib/dpkg/status", status)]).path()).1), ["agent 1.2"]);
}

#[test]
fn distroless_images_have_their_packages_in_status_d() {
    let netbase = b"Package: netbase\nVersion: 6.4\nArchitecture: all\n";
    let dir = image(&[("var/lib/dpkg/status.d/netbase", netbase), ("var/lib/dpkg/status.d/netbase.md5sums", b"0123  etc/protocols\n")]);
    let (database, packages) = read(dir.path());
    assert_eq!(database, PackageDatabase::Read { paths: vec!["var/lib/dpkg/status.d".into()] });
    assert_eq!(names(&packages), ["netbase 6.4"]);
}

#[test]
fn a_status_file_out_of_form_is_unreadable_and_not_an_image_without_packages() {
    let garbage = image(&[("var/lib/dpkg/status", b"this is not a dpkg status file\n\0\0\n\nPackage bash\n")]);
    assert_eq!(unreadable(&garbage), "var/lib/dpkg/status: it is not a text file");
    let text = image(&[("var/lib/dpkg/status", b"Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage bash\n")]);
    assert_eq!(unreadable(&text), "var/lib/dpkg/status: line 5 is not of the form \"Field: value\"");
    assert_eq!(unreadable(&image(&[("var/lib/dpkg/status", b"")])), "var/lib/dpkg/status: it names no installed package");
}

#[test]
fn a_database_that_leads_out_of_the_image_is_unreadable() {
    let dir = image(&[("root/var/lib/dpkg/info/x", b""), ("status", b"Package: host\nStatus: install ok installed\nVersion: 1\n")]);
    std::os::unix::fs::symlink("../../../../status", dir.path().join("root/var/lib/dpkg/status")).unwrap();
    let (database, packages) = read(&dir.path().join("root"));
    assert!(matches!(database, PackageDatabase::Unreadable { reason, .. } if reason.contains("out of the image")));
    assert!(packages.is_empty());
}

#[test]
fn apk_lists_the_packages_of_an_alpine_image() {
    let installed = b"C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nT:the musl c library (libc) implementation\no:musl\nm:Somebody <s@example.org>\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1zz=\n\nP:busybox\nV:1.36.1-r2\nA:x86_64\n";
    let (database, packages) = read(image(&[("lib/apk/db/installed", installed)]).path());
    assert_eq!(database, PackageDatabase::Read { paths: vec!["lib/apk/db/installed".into()] });
    assert_eq!(names(&packages), ["busybox 1.36.1-r2", "musl 1.2.4-r2"]);
    assert_eq!(packages[1].vendor, "Somebody");
    assert!(unreadable(&image(&[("lib/apk/db/installed", b"P:musl\nrubbish\n")])).contains("line 2"));
}

#[test]
fn rpm_packages_are_read_from_sqlite_without_touching_the_image() {
    let dir = unpacked("rpm-sqlite.tar.gz");
    let (database, packages) = read(dir.path());
    assert_eq!(database, PackageDatabase::Read { paths: vec!["var/lib/rpm/rpmdb.sqlite".into()] });
    assert_eq!(names(&packages), RPMS);
    assert_eq!((packages[2].kind, packages[2].source.as_str(), packages[2].architecture.as_str()), (PackageKind::Rpm, "redhat-release", "x86_64"));
    assert_eq!(fs::read_dir(dir.path().join("var/lib/rpm")).unwrap().count(), 1);
}

#[test]
fn rpm_packages_are_read_from_berkeley_db_inline_and_over_many_pages() {
    for file in ["rpm-berkeley-512.gz", "rpm-berkeley-16384.gz"] {
        let bytes = gunzipped(file);
        let (_, packages) = read(image(&[("var/lib/rpm/Packages", &bytes)]).path());
        assert_eq!(names(&packages), RPMS, "{file}");
        let cut = image(&[("var/lib/rpm/Packages", &bytes[..bytes.len() / 2])]);
        assert!(unreadable(&cut).starts_with("var/lib/rpm/Packages: "), "{file}");
    }
}

#[test]
fn of_several_rpm_databases_the_one_that_rpm_takes_is_read() {
    let dir = unpacked("rpm-sqlite.tar.gz");
    fs::write(dir.path().join("var/lib/rpm/Packages"), gunzipped("rpm-berkeley-512.gz")).unwrap();
    assert_eq!(names(&read(dir.path()).1), RPMS, "each once, though an older format is left beside it");

    let newer = dir.path().join("usr/lib/sysimage/rpm");
    fs::create_dir_all(&newer).unwrap();
    let (database, _) = read(dir.path());
    let PackageDatabase::Read { paths } = &database else { panic!("{database:?}") };
    rpm::show(dir.path(), paths).unwrap();
    rpm::show(dir.path(), paths).unwrap();
    assert!(!newer.exists() && read(dir.path()).0 == database, "OpenSCAP would look into the empty folder");

    fs::create_dir_all(&newer).unwrap();
    fs::copy(dir.path().join("var/lib/rpm/rpmdb.sqlite"), newer.join("rpmdb.sqlite")).unwrap();
    assert_eq!(names(&read(dir.path()).1), RPMS, "a copy is no contradiction");
    let connection = rusqlite::Connection::open(newer.join("rpmdb.sqlite")).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection.execute("DELETE FROM Packages WHERE hnum = (SELECT MIN(hnum) FROM Packages)", []).unwrap();
    drop(connection);
    assert!(unreadable(&dir).contains("lists other packages"), "{}", unreadable(&dir));
}

#[test]
fn a_database_that_names_no_package_does_not_vouch_for_another() {
    let installed = b"P:musl\nV:1.2.4-r2\nA:x86_64\n\n";
    let (database, _) = read(image(&[("var/lib/dpkg/status", b""), ("lib/apk/db/installed", installed)]).path());
    assert_eq!(database, PackageDatabase::Read { paths: vec!["lib/apk/db/installed".into()] });
    assert_eq!(super::kind("lib/apk/db/installed"), PackageKind::Apk);
}

#[test]
fn rpm_packages_are_read_from_suse_s_own_format() {
    let sqlite = unpacked("rpm-sqlite.tar.gz");
    let connection = rusqlite::Connection::open(sqlite.path().join("var/lib/rpm/rpmdb.sqlite")).unwrap();
    let mut statement = connection.prepare("SELECT blob FROM Packages").unwrap();
    let blobs: Vec<Vec<u8>> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let file = ndb_file(&blobs);
    let (database, packages) = read(image(&[("usr/lib/sysimage/rpm/Packages.db", &file)]).path());
    assert_eq!(database, PackageDatabase::Read { paths: vec!["usr/lib/sysimage/rpm/Packages.db".into()] });
    assert_eq!(names(&packages), RPMS);
    assert!(unreadable(&image(&[("usr/lib/sysimage/rpm/Packages.db", &file[..5000])])).contains("damaged"));
}

/// A database as rpm writes it: one page of slots, then the headers, each on a border of 16 bytes.
fn ndb_file(blobs: &[Vec<u8>]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut slots = [b"RpmP".to_vec(), words(&[0, 1, 1, 9, 0, 0, 0])].concat();
    let mut data = Vec::new();
    for (index, blob) in (1u32..).zip(blobs) {
        let block = u32::try_from((4096 + data.len()) / 16).unwrap();
        let length = u32::try_from(blob.len()).unwrap();
        data.extend([b"BlbS".to_vec(), words(&[index, 0, length]), blob.clone(), words(&[0, length]), b"BlbE".to_vec()].concat());
        data.resize(data.len().next_multiple_of(16), 0);
        slots.extend([b"Slot".to_vec(), words(&[index, block, (length + 43) / 16])].concat());
    }
    while slots.len() < 4096 {
        slots.extend([b"Slot".to_vec(), words(&[0, 0, 0])].concat());
    }
    slots.extend(data);
    slots
}

#[test]
fn damaged_databases_of_every_kind_end_in_a_reason_and_never_in_a_panic() {
    let whole = gunzipped("rpm-berkeley-512.gz");
    for at in (0..whole.len()).step_by(37) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        let _ = read(image(&[("var/lib/rpm/Packages", &bytes)]).path());
    }
    let nonsense = image(&[("nonsense", b"RpmP\0\0\0\0\0\0\0\0\xff\xff\xff\xff")]);
    assert!(ndb::headers(&nonsense.path().join("nonsense")).is_err());
    assert!(unreadable(&image(&[("var/lib/rpm/rpmdb.sqlite", b"SQLite format 3\0rubbish")])).contains("rpmdb.sqlite"));
}

#[test]
fn an_image_without_a_database_has_none() {
    assert_eq!(read(image(&[("busybox", b"x")]).path()), (PackageDatabase::Absent, Vec::new()));
}

/// The headers of the sample database.
fn blobs() -> Vec<Vec<u8>> {
    let sqlite = unpacked("rpm-sqlite.tar.gz");
    let connection = rusqlite::Connection::open(sqlite.path().join("var/lib/rpm/rpmdb.sqlite")).unwrap();
    let mut statement = connection.prepare("SELECT blob FROM Packages").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// A database without indexes.
fn bare_sqlite(blobs: &[Vec<u8>]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rpmdb.sqlite");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE IF NOT EXISTS 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)").unwrap();
    for blob in blobs {
        connection.execute("INSERT INTO Packages (blob) VALUES (?1)", [blob]).unwrap();
    }
    drop(connection);
    fs::read(path).unwrap()
}

fn link(image: &TempDir, at: &str, to: &str) {
    let at = image.path().join(at);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(to, at).unwrap();
}

#[test]
fn rpm_databases_are_found_where_distributions_keep_them() {
    let db = bare_sqlite(&blobs());
    for folder in ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm", "usr/lib/sysimage/rpm-ostree-base-db"] {
        let image = image(&[(&format!("{folder}/rpmdb.sqlite"), &db)]);
        let (database, packages) = read(image.path());
        assert_eq!((database, names(&packages)), (PackageDatabase::Read { paths: vec![format!("{folder}/rpmdb.sqlite")] }, RPMS.map(str::to_owned).to_vec()));
    }
    let linked = image(&[("usr/share/rpm/rpmdb.sqlite", &db), ("usr/lib/sysimage/rpm-ostree-base-db/rpmdb.sqlite", &bare_sqlite(&blobs()[..1]))]);
    link(&linked, "var/lib/rpm", "../../usr/share/rpm");
    link(&linked, "usr/lib/sysimage/rpm", "../../share/rpm");
    assert_eq!(names(&read(linked.path()).1), RPMS, "links are one database, and what was before layering is not asked");
    let own = image(&[
        ("usr/lib/rpm/macros", b"%_dbpath %{_var}/packages\n"),
        ("var/packages/Packages", &gunzipped("rpm-berkeley-512.gz")),
        ("var/lib/rpm/rpmdb.sqlite", &bare_sqlite(&blobs()[..1])),
    ]);
    assert_eq!(read(own.path()).0, PackageDatabase::Read { paths: vec!["var/packages/Packages".into()] }, "rpm's own settings tell which");
    assert_eq!(names(&read(own.path()).1), RPMS);
    let hollow = image(&[("usr/lib/rpm/macros", b"%_dbpath /nowhere\n"), ("var/lib/rpm/rpmdb.sqlite", &db)]);
    assert_eq!(names(&read(hollow.path()).1), RPMS);
}

#[test]
fn a_write_ahead_log_beside_the_database_counts() {
    let image = image(&[("var/lib/rpm/rpmdb.sqlite", b"")]);
    let path = image.path().join("var/lib/rpm/rpmdb.sqlite");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    connection.execute_batch("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)").unwrap();
    for blob in blobs() {
        connection.execute("INSERT INTO Packages (blob) VALUES (?1)", [blob]).unwrap();
    }
    // As an image has it whose rpm was cut off: nothing closes the database.
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir_all(copy.path().join("var/lib/rpm")).unwrap();
    for file in ["rpmdb.sqlite", "rpmdb.sqlite-wal"] {
        fs::copy(path.with_file_name(file), copy.path().join("var/lib/rpm").join(file)).unwrap();
    }
    let (database, packages) = read(copy.path());
    assert_eq!(names(&packages), RPMS);
    let PackageDatabase::Read { paths } = database else { panic!("{database:?}") };
    rpm::show(copy.path(), &paths).unwrap();
    assert!(!copy.path().join("var/lib/rpm/rpmdb.sqlite-wal").exists());
    assert_eq!(names(&read(copy.path()).1), RPMS, "nothing is lost with the log");
}

#[test]
fn the_list_of_images_without_an_rpm_database_is_read() {
    let newer = b"openssl\t1.1.1k-29.cm2\t1700000000\t1690000000\tMicrosoft Corporation\t(none)\t1000\tx86_64\t0\topenssl-1.1.1k-29.cm2.src.rpm\n\
        bind-utils\t9.16-1.azl3\t1\t1\t(none)\t32\t5\tx86_64\t32\tbind-9.16-1.azl3.src.rpm\n";
    let dir = image(&[("var/lib/rpmmanifest/container-manifest-2", newer), ("var/lib/rpmmanifest/container-manifest-1", b"openssl-1.1.1k-29.cm2.x86_64\n")]);
    let (database, packages) = read(dir.path());
    assert_eq!(database, PackageDatabase::Read { paths: vec!["var/lib/rpmmanifest/container-manifest-2".into()] });
    assert_eq!(names(&packages), ["bind-utils 32:9.16-1.azl3", "openssl 1.1.1k-29.cm2"]);
    let openssl = &packages[1];
    assert_eq!(
        (openssl.kind, openssl.architecture.as_str(), openssl.source.as_str(), openssl.vendor.as_str()),
        (PackageKind::Rpm, "x86_64", "openssl", "Microsoft Corporation")
    );

    let older = image(&[("var/lib/rpmmanifest/container-manifest-1", b"openssl-libs-1.1.1k-29.cm2.x86_64\n\n")]);
    assert_eq!(names(&read(older.path()).1), ["openssl-libs 1.1.1k-29.cm2"]);
    let broken = image(&[("var/lib/rpmmanifest/container-manifest-2", b"openssl\n")]);
    assert_eq!(unreadable(&broken), "var/lib/rpmmanifest/container-manifest-2: line 1 describes no package");
    let beside = image(&[("var/lib/rpmmanifest/container-manifest-2", newer), ("var/lib/rpm/rpmdb.sqlite", &bare_sqlite(&blobs()))]);
    assert_eq!(names(&read(beside.path()).1), RPMS, "a database counts more");
}

#[test]
fn packages_of_chiselled_images_are_those_of_their_list() {
    let wall = |lines: &str| zstd::encode_all(lines.as_bytes(), 3).unwrap();
    let lines = "{\"jsonwall\":\"1.0\",\"schema\":\"1.0\",\"count\":4}\n\
        {\"kind\":\"content\",\"slice\":\"libc6_libs\",\"path\":\"/lib/\"}\n\
        {\"kind\":\"package\",\"name\":\"libc6\",\"version\":\"2.39-0ubuntu8.4\",\"sha256\":\"00\",\"arch\":\"amd64\"}\n\
        {\"kind\":\"package\",\"name\":\"base-files\",\"version\":\"13ubuntu10.2\",\"sha256\":\"00\",\"arch\":\"amd64\"}\n";
    let dir = image(&[("var/lib/chisel/manifest.wall", &wall(lines))]);
    let (database, packages) = read(dir.path());
    assert_eq!(database, PackageDatabase::Read { paths: vec!["var/lib/chisel/manifest.wall".into()] });
    assert_eq!(names(&packages), ["base-files 13ubuntu10.2", "libc6 2.39-0ubuntu8.4"]);
    assert_eq!((packages[1].kind, packages[1].architecture.as_str()), (PackageKind::Deb, "amd64"));
    assert_eq!(super::kind("var/lib/chisel/manifest.wall"), PackageKind::Deb);
    for (bytes, word) in [(b"rubbish".to_vec(), "unpacked"), (wall("{}\n"), "no list"), (wall("{\"jsonwall\":\"1.0\"}\nrubbish\n"), "line 2")] {
        let reason = unreadable(&image(&[("var/lib/chisel/manifest.wall", &bytes)]));
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn a_package_manager_that_is_not_known_is_named_and_its_image_not_called_empty() {
    for (path, manager) in [
        ("var/lib/pacman/local/glibc-2.40-1/desc", "pacman"),
        ("usr/lib/opkg/status", "opkg"),
        ("var/db/pkg/sys-libs/glibc-2.39/PF", "Portage"),
        ("nix/store/x", "Nix"),
    ] {
        let reason = unreadable(&image(&[(path, b"x")]));
        assert!(reason.contains(manager) && reason.contains("not known here"), "{reason}");
    }
    let both = image(&[("var/lib/pacman/local/x/desc", b"x"), ("lib/apk/db/installed", b"P:musl\nV:1\n\n")]);
    assert_eq!(names(&read(both.path()).1), ["musl 1"], "one that is known is read");
    assert_eq!(read(image(&[("var/lib/pacman/sync/core.db", b"x"), ("usr/lib/opkg/status", b"")]).path()).0, PackageDatabase::Absent);
}

#[test]
fn apks_list_is_read_where_its_versions_put_it() {
    let newer = image(&[("lib/apk/db/installed", b""), ("usr/lib/apk/db/installed", b"P:musl\nV:1\n\n")]);
    assert_eq!(read(newer.path()).0, PackageDatabase::Read { paths: vec!["usr/lib/apk/db/installed".into()] });
    assert!(unreadable(&image(&[("usr/lib/apk/db/installed", b"ADB.\x01\x02")])).contains("binary form"));
    assert!(unreadable(&image(&[("lib/apk/db/installed", b"")])).contains("no installed package"));
}

#[test]
fn descriptions_of_packages_are_told_from_what_lies_beside_them() {
    let netbase = b"Package: netbase\nVersion: 6.4\nArchitecture: all\n";
    let dir = image(&[
        ("var/lib/dpkg/status.d/netbase", netbase),
        ("var/lib/dpkg/status.d/netbase.list", b"/etc\n"),
        ("var/lib/dpkg/status.d/netbase.postinst", b"#!/bin/sh\n"),
        ("var/lib/dpkg/status.d/folder/x", b"rubbish\n"),
        ("var/lib/dpkg/status.d/libstdc++6.amd64", b"Package: libstdc++6\nVersion: 13\n"),
    ]);
    assert_eq!(names(&read(dir.path()).1), ["libstdc++6 13", "netbase 6.4"]);
}
