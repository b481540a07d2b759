use super::{Target, evaluate};
use flate2::read::GzDecoder;
use scap::feed::Answer;
use scap::protocol::{Chosen, Request, Source};
use scap::report::{Definitions, Layer, LayerReport, LayerState, OUT_OF_MEMORY, Outcome, PackageDatabase, PackageKind, Severity};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tokio::sync::watch;

/// An unpacked image with everything around it, as the inspector leaves it before the evaluation.
struct Bench {
    target: Target,
    messages: watch::Receiver<String>,
    dir: tempfile::TempDir,
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

impl Bench {
    /// Unpacks `archive`; modes and owners go to the state file alone, and every file is readable for us.
    fn new(archive: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            fs::create_dir(dir.path().join(name)).unwrap();
            dir.path().join(name)
        };
        let (progress, messages) = watch::channel(String::new());
        let mut target = Target {
            root: at("root"),
            state_file: dir.path().join("state"),
            work: at("work"),
            content_dir: at("content"),
            results_dir: at("results"),
            image: "registry.example/sample@sha256:00".into(),
            env: vec!["PATH=/usr/bin:/bin".into()],
            os: None,
            debian_architecture: "amd64".into(),
            package_database: PackageDatabase::Absent,
            packages: std::sync::Arc::default(),
            memory_bytes: None,
            progress,
        };
        fs::write(&target.state_file, unpack(archive, &target.root)).unwrap();
        target.os = crate::os::read(&target.root);
        let (database, packages) = crate::packages::read(&target.root);
        (target.package_database, target.packages) = (database, packages.into());
        Self { target, messages, dir }
    }

    fn content(&self, name: &str, bytes: &[u8]) {
        fs::write(self.target.content_dir.join(name), bytes).unwrap();
    }

    fn sample(&self) -> Request {
        self.content("aa", &fs::read(testdata("sample-ds.xml.bz2")).unwrap());
        request(Source::DataStream { sha256: "aa".into() })
    }

    fn stored(&self, name: &str) -> Vec<u8> {
        zstd::decode_all(File::open(self.target.results_dir.join(name)).unwrap()).unwrap()
    }
}

fn request(source: Source) -> Request {
    Request {
        layer: Layer::Benchmark,
        source: Some(source),
        reason: String::new(),
        profile: String::new(),
        title: "Sample".into(),
        needs_packages: vec![PackageKind::Deb, PackageKind::Rpm],
        limit_secs: 60,
        chosen: None,
    }
}

fn unpack(archive: &str, root: &Path) -> String {
    let mut state = String::new();
    let mut seen = HashSet::new();
    let mut tar = tar::Archive::new(GzDecoder::new(File::open(testdata(archive)).unwrap()));
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        entry.set_preserve_permissions(false);
        entry.unpack_in(root).unwrap();
        let (header, path) = (entry.header(), root.join(entry.path().unwrap()));
        let kind = match header.entry_type() {
            tar::EntryType::Directory => 0o040_000,
            tar::EntryType::Symlink => 0o120_000,
            _ => 0o100_000,
        };
        let file = path.symlink_metadata().unwrap();
        if seen.insert(file.ino()) {
            let (mode, uid, gid) = (kind | header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
            writeln!(state, "dev={:x},ino={},mode={mode:o},uid={uid},gid={gid},nlink={},rdev=0", file.dev(), file.ino(), file.nlink()).unwrap();
        }
    }
    state
}

/// Outcome by short rule name.
fn outcomes(report: &LayerReport) -> BTreeMap<String, Outcome> {
    let short = |id: &str| id.trim_start_matches("xccdf_com.example.image_rule_").to_owned();
    report.rules.iter().map(|rule| (short(&rule.rule_id), rule.outcome)).collect()
}

/// What fails on the image that was made bad on purpose and passes on the other.
const BAD: [&str; 15] = [
    "cve-2099-0001",
    "cve-2099-0002",
    "cve-2099-0003",
    "cve-2099-0004",
    "cve-2099-0005",
    "cve-2099-0006",
    "cve-2099-0007",
    "cve-2099-0009",
    "empty_password",
    "etc_world_writable",
    "only_root_uid0",
    "passwd_mode",
    "passwd_probe",
    "shadow_mode",
    "sshd_root_login",
];

#[tokio::test]
async fn an_image_with_faults_fails_its_rules_and_a_clean_one_passes_them() {
    for (archive, expected) in [("debian-12-bad.tar.gz", Outcome::Fail), ("debian-12-tiny.tar.gz", Outcome::Pass)] {
        let bench = Bench::new(archive);
        let report = evaluate(&bench.sample(), &bench.target).await;
        assert_eq!(report.state, LayerState::Evaluated, "{}", report.reason);
        let outcomes = outcomes(&report);
        assert_eq!(outcomes.len(), 30);
        for rule in BAD {
            assert_eq!(outcomes[rule], expected, "{rule} on {archive}");
        }
        assert_eq!((outcomes["no_suid"], outcomes["passwd_owner"], outcomes["symlink_probe"]), (Outcome::Fail, Outcome::Pass, Outcome::Pass));
        assert_eq!(outcomes["cve-2099-0011"], Outcome::Fail, "a fault that no version mends");
        assert_eq!(outcomes["env_probe"], Outcome::Pass, "the image's environment is known");
        assert!(report.has_arf && report.has_html, "{}", report.html_reason);
        assert_eq!(scap::arf::parse(&bench.stored("benchmark.arf.zst")[..]).unwrap().rules, report.rules);
        assert!(String::from_utf8(bench.stored("benchmark.html.zst")).unwrap().contains("<html"));
        assert_eq!(*bench.messages.borrow(), "benchmark: report");
        assert_eq!(fs::read_dir(&bench.target.work).unwrap().count(), 0, "the work folder is clean again");
    }
}

#[tokio::test]
async fn oval_definitions_are_evaluated_and_judged_by_their_class() {
    let bench = Bench::new("debian-12-bad.tar.gz");
    bench.content("bb", &fs::read(testdata("sample-oval.xml.bz2")).unwrap());
    let request = Request { layer: Layer::Vulnerabilities, ..request(Source::Oval { sha256: "bb".into() }) };
    let report = evaluate(&request, &bench.target).await;
    assert_eq!(report.state, LayerState::Evaluated, "{}", report.reason);
    let rule = |id: &str| report.rules.iter().find(|rule| rule.rule_id == format!("oval:com.example.image:def:{id}")).unwrap();
    assert_eq!(
        (rule("1").outcome, rule("8").outcome, rule("900003").outcome, rule("900001").outcome),
        (Outcome::Fail, Outcome::Pass, Outcome::Pass, Outcome::Fail)
    );
    assert_eq!(rule("2").severity, Severity::Critical);
    assert_eq!(rule("1").fix, "Upgrade bash to 5.2.15-2 or later.");
    assert!(report.has_arf && report.has_html, "{}", report.html_reason);
    assert!(bench.stored("vulnerabilities.arf.zst").starts_with(b"<?xml"));
}

/// Definitions that hold for a package of `name` below version 99.
fn definitions(id: &str, name: &str) -> String {
    format!(
        r##"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5"
        xmlns:linux="http://oval.mitre.org/XMLSchema/oval-definitions-5#linux"><generator><oval:schema_version>5.11.1</oval:schema_version>
        <oval:timestamp>2026-11-24T00:00:00</oval:timestamp></generator><definitions><definition id="oval:x:def:{id}" version="1" class="vulnerability">
        <metadata><title>{name}</title><description>x</description>
        <through xmlns="https://tidewaiter.io/oval">Through libc6 (of the source package glibc 2.36).</through></metadata><criteria><criterion test_ref="oval:x:tst:1"/></criteria></definition></definitions>
        <tests><linux:dpkginfo_test id="oval:x:tst:1" version="1" check="all" comment="x"><linux:object object_ref="oval:x:obj:1"/>
        <linux:state state_ref="oval:x:ste:1"/></linux:dpkginfo_test></tests><objects><linux:dpkginfo_object id="oval:x:obj:1" version="1">
        <linux:name>{name}</linux:name></linux:dpkginfo_object></objects><states><linux:dpkginfo_state id="oval:x:ste:1" version="1">
        <linux:evr datatype="debian_evr_string" operation="less than">0:99</linux:evr></linux:dpkginfo_state></states></oval_definitions>"##
    )
}

fn chosen(in_feed: u32, evaluated: u32, undecided: u32) -> Chosen {
    let undecided_reason = if undecided > 0 { "nobody knows".to_owned() } else { String::new() };
    Chosen { definitions: Definitions { in_feed, evaluated, undecided, ..Definitions::default() }, undecided_reason }
}

#[tokio::test]
async fn vulnerability_definitions_see_source_packages_and_no_other_content_does() {
    let bench = Bench::new("debian-12-bad.tar.gz");
    let before = fs::read(bench.target.root.join("var/lib/dpkg/status")).unwrap();
    let name = scap::feed::source_entry("bash");
    bench.content("aa", definitions("1", &name).as_bytes());
    let plain = request(Source::Oval { sha256: "aa".into() });
    let request = Request { layer: Layer::Vulnerabilities, chosen: Some(chosen(40_000, 1, 0)), ..plain.clone() };
    let report = evaluate(&request, &bench.target).await;
    assert_eq!((report.state, report.rules.len()), (LayerState::Evaluated, 1), "{}", report.reason);
    assert_eq!((report.rules[0].outcome, report.rules[0].message.as_str()), (Outcome::Fail, "Through libc6 (of the source package glibc 2.36)."));
    assert_eq!(report.definitions.unwrap().left_out(), 39_999);
    assert!(report.has_arf && report.has_html, "{}", report.html_reason);
    let after = fs::read_to_string(bench.target.root.join("var/lib/dpkg/status")).unwrap();
    assert!(!after.contains(&name) && !before.is_empty());

    let unseen = evaluate(&plain, &bench.target).await;
    assert_eq!(unseen.rules[0].outcome, Outcome::Pass, "the benchmark's layer finds no package of that name");

    bench.content("ab", definitions("2", "no-such-package").as_bytes());
    let passed = evaluate(&Request { source: Some(Source::Oval { sha256: "ab".into() }), ..request }, &bench.target).await;
    assert_eq!((passed.state, passed.rules.len()), (LayerState::Evaluated, 0), "what passed has no row: {}", passed.reason);
    assert_eq!(passed.definitions.unwrap().passed, 1);
}

#[tokio::test]
async fn a_feed_of_which_nothing_concerns_the_image_is_a_result_and_one_that_cannot_be_judged_is_none() {
    let mut bench = Bench::new("debian-12-tiny.tar.gz");
    let nothing =
        Request { layer: Layer::Vulnerabilities, source: None, chosen: Some(chosen(40_000, 0, 0)), ..request(Source::Oval { sha256: String::new() }) };
    let report = evaluate(&nothing, &bench.target).await;
    assert_eq!((report.state, report.reason.as_str(), report.definitions.unwrap().left_out()), (LayerState::Evaluated, "", 40_000));
    let undecided = Request { chosen: Some(chosen(40_000, 0, 7)), ..nothing.clone() };
    let report = evaluate(&undecided, &bench.target).await;
    assert_eq!((report.state, report.reason.as_str()), (LayerState::NotPossible, "7 of 40000 definitions cannot be decided here: nobody knows."));
    bench.target.package_database = PackageDatabase::Absent;
    assert_eq!(evaluate(&nothing, &bench.target).await.state, LayerState::NotPossible, "without packages nothing is known");
}

#[tokio::test]
async fn definitions_are_asked_before_the_evaluation() {
    let bench = Bench::new("debian-12-bad.tar.gz");
    bench.content("aa", definitions("1", "bash").as_bytes());
    let answered = super::answer("aa", &bench.target).await;
    assert_eq!(answered.failure, "");
    assert_eq!(answered.answers.0, BTreeMap::from([("oval:x:def:1".to_owned(), Answer::True)]));
    bench.content("bb", b"<oval");
    let failed = super::answer("bb", &bench.target).await;
    assert!(failed.answers.0.is_empty() && !failed.failure.is_empty());
    assert_eq!(fs::read_dir(&bench.target.work).unwrap().count(), 0, "the work folder is clean again");
}

#[tokio::test]
async fn content_that_cannot_be_evaluated_fails_the_layer_with_a_reason() {
    let bench = Bench::new("debian-12-tiny.tar.gz");
    let unknown = evaluate(&Request { profile: "nope".into(), ..bench.sample() }, &bench.target).await;
    assert_eq!((unknown.state, unknown.reason.as_str()), (LayerState::Failed, "The content has no profile \"nope\"."));

    let whole = fs::read(testdata("sample-ds.xml.bz2")).unwrap();
    bench.content("cc", &whole[..whole.len() / 2]);
    let cut = evaluate(&request(Source::DataStream { sha256: "cc".into() }), &bench.target).await;
    assert_eq!(cut.state, LayerState::Failed);
    assert!(!cut.reason.is_empty() && !cut.has_arf && cut.rules.is_empty());

    let absent = evaluate(&request(Source::DataStream { sha256: "dd".into() }), &bench.target).await;
    assert_eq!((absent.state, absent.reason.as_str()), (LayerState::Failed, "The evaluation could not be run: its content is missing."));
}

#[tokio::test]
async fn scripts_in_content_are_never_executed() {
    let bench = Bench::new("debian-12-tiny.tar.gz");
    let trace = bench.dir.path().join("executed");
    bench.content("x.sh", format!("#!/bin/sh\ntouch {}\n", trace.display()).as_bytes());
    let benchmark = r#"<Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2" id="xccdf_x_benchmark_y"><status>draft</status><version>1</version>
        <Rule id="xccdf_x_rule_a" selected="true" severity="high"><title>a</title><check system="http://open-scap.org/page/SCE"><check-content-ref href="x.sh"/></check></Rule></Benchmark>"#;
    bench.content("ee", benchmark.as_bytes());
    fs::set_permissions(bench.target.content_dir.join("x.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let report = evaluate(&request(Source::DataStream { sha256: "ee".into() }), &bench.target).await;
    assert_eq!(
        (report.state, report.reason.as_str()),
        (LayerState::NotPossible, "None of the 1 rules could be judged (the first: a: No candidate or applicable check found).")
    );
    assert_eq!(report.rules[0].outcome, Outcome::NotChecked);
    assert!(!trace.exists());
}

#[tokio::test]
async fn without_a_readable_package_database_package_content_is_not_run_at_all() {
    let mut bench = Bench::new("debian-12-tiny.tar.gz");
    let request = bench.sample();
    bench.target.package_database = PackageDatabase::Unreadable { path: "var/lib/dpkg/status".into(), reason: "line 1 is damaged".into() };
    let report = evaluate(&request, &bench.target).await;
    assert_eq!((report.state, report.rules.len(), report.has_arf), (LayerState::NotPossible, 0, false));
    assert!(report.reason.contains("/var/lib/dpkg/status cannot be read (line 1 is damaged)"));
    bench.target.package_database = PackageDatabase::Absent;
    assert_eq!(evaluate(&request, &bench.target).await.state, LayerState::NotPossible);
    bench.target.package_database = PackageDatabase::Read { paths: vec!["lib/apk/db/installed".into()] };
    for needs_packages in [vec![PackageKind::Deb], vec![PackageKind::Apk], vec![PackageKind::Rpm, PackageKind::Deb]] {
        assert_eq!(evaluate(&Request { needs_packages, ..request.clone() }, &bench.target).await.state, LayerState::NotPossible);
    }
    let none = Request { source: None, reason: "There is no guide for Plan 9.".into(), ..request };
    let report = evaluate(&none, &bench.target).await;
    assert_eq!((report.state, report.reason.as_str()), (LayerState::NotCovered, "There is no guide for Plan 9."));
}

#[tokio::test]
async fn a_package_probe_that_does_not_work_makes_the_layer_fail_instead_of_pass() {
    let bench = Bench::new("debian-12-bad.tar.gz");
    let request = bench.sample();
    // Damaged after our own look at it, so that OpenSCAP alone meets it.
    fs::write(bench.target.root.join("var/lib/dpkg/status"), "this is not a dpkg status file\n").unwrap();
    let report = evaluate(&request, &bench.target).await;
    assert_eq!(report.state, LayerState::Failed);
    assert!(report.reason.contains("package probe did not work"), "{}", report.reason);
}

#[tokio::test]
async fn rpm_packages_are_checked_in_formats_that_rpm_cannot_read_whole() {
    let mut bench = Bench::new("rpm-sqlite.tar.gz");
    bench.content("ab", &fs::read(testdata("sample-rpm-oval.xml.bz2")).unwrap());
    let request = request(Source::Oval { sha256: "ab".into() });
    let report = evaluate(&request, &bench.target).await;
    assert_eq!(report.state, LayerState::Evaluated, "{}", report.reason);
    let rule = |id: &str| report.rules.iter().find(|rule| rule.rule_id.ends_with(id)).unwrap().outcome;
    assert_eq!((rule("rpm:def:1"), rule("rpm:def:2")), (Outcome::Fail, Outcome::Pass));

    // The same packages as Berkeley DB without its indexes, in which OpenSCAP by itself finds nothing.
    let rpm = bench.target.root.join("var/lib/rpm");
    fs::remove_dir_all(&rpm).unwrap();
    fs::create_dir(&rpm).unwrap();
    let mut packages = Vec::new();
    GzDecoder::new(File::open(testdata("rpm-berkeley-16384.gz")).unwrap()).read_to_end(&mut packages).unwrap();
    fs::write(rpm.join("Packages"), packages).unwrap();
    let (database, packages) = crate::packages::read(&bench.target.root);
    assert_eq!(packages.len(), 4);
    bench.target.package_database = database;
    let report = evaluate(&request, &bench.target).await;
    assert_eq!(report.state, LayerState::Evaluated, "{}", report.reason);
    let rule = |id: &str| report.rules.iter().find(|rule| rule.rule_id.ends_with(id)).unwrap().outcome;
    assert_eq!((rule("rpm:def:1"), rule("rpm:def:2")), (Outcome::Fail, Outcome::Pass));
}

/// Where a database may be, and what is in it is checked all the same.
#[tokio::test]
async fn rpm_packages_are_checked_wherever_and_however_they_are_kept() {
    let headers = |root: &Path| {
        let connection = rusqlite::Connection::open(root.join("var/lib/rpm/rpmdb.sqlite")).unwrap();
        let mut statement = connection.prepare("SELECT blob FROM Packages").unwrap();
        statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    for (name, in_the_way) in [("usr/share/rpm/rpmdb.sqlite", true), ("usr/lib/sysimage/rpm/rpmdb.sqlite", false), ("var/lib/rpm/rpmdb.sqlite", true)] {
        let mut bench = Bench::new("rpm-sqlite.tar.gz");
        let root = bench.target.root.clone();
        let blobs = headers(&root);
        // Not removed: the state file knows its inodes, which must not become those of others.
        fs::rename(root.join("var/lib/rpm"), bench.dir.path().join("away")).unwrap();
        if in_the_way {
            fs::create_dir_all(root.join("usr/lib/sysimage/rpm")).unwrap();
        }
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        // Without indexes, by which rpm finds packages.
        let connection = rusqlite::Connection::open(root.join(name)).unwrap();
        connection.execute_batch("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)").unwrap();
        for blob in blobs {
            connection.execute("INSERT INTO Packages (blob) VALUES (?1)", [blob]).unwrap();
        }
        drop(connection);
        judged(&mut bench, name).await;
    }
    let mut bench = Bench::new("rpm-sqlite.tar.gz");
    let root = bench.target.root.clone();
    let (_, packages) = crate::packages::read(&root);
    fs::rename(root.join("var/lib/rpm"), bench.dir.path().join("away")).unwrap();
    fs::create_dir_all(root.join("var/lib/rpmmanifest")).unwrap();
    let line = |package: &scap::report::Package| {
        let (epoch, version) = package.version.split_once(':').unwrap_or(("0", &package.version));
        format!("{}\t{version}\t1\t1\t{}\t{epoch}\t1\t{}\t{epoch}\tx-1-1.src.rpm\n", package.name, package.vendor, package.architecture)
    };
    fs::write(root.join("var/lib/rpmmanifest/container-manifest-2"), packages.iter().map(line).collect::<String>()).unwrap();
    judged(&mut bench, "var/lib/rpmmanifest/container-manifest-2").await;
}

async fn judged(bench: &mut Bench, path: &str) {
    bench.content("ab", &fs::read(testdata("sample-rpm-oval.xml.bz2")).unwrap());
    bench.target.package_database = crate::packages::read(&bench.target.root).0;
    assert_eq!(bench.target.package_database, PackageDatabase::Read { paths: vec![path.into()] });
    for _ in 0..2 {
        let report = evaluate(&request(Source::Oval { sha256: "ab".into() }), &bench.target).await;
        assert_eq!(report.state, LayerState::Evaluated, "{path}: {}", report.reason);
        let rule = |id: &str| report.rules.iter().find(|rule| rule.rule_id.ends_with(id)).unwrap().outcome;
        assert_eq!((rule("rpm:def:1"), rule("rpm:def:2")), (Outcome::Fail, Outcome::Pass), "{path}");
    }
}

#[tokio::test]
async fn distroless_images_are_checked_for_the_packages_of_their_status_d() {
    let mut bench = Bench::new("debian-12-bad.tar.gz");
    let dpkg = bench.target.root.join("var/lib/dpkg");
    let status = fs::read_to_string(dpkg.join("status")).unwrap();
    let bash = status.split("\n\n").find(|stanza| stanza.starts_with("Package: bash\n")).unwrap();
    fs::remove_file(dpkg.join("status")).unwrap();
    fs::create_dir(dpkg.join("status.d")).unwrap();
    fs::write(dpkg.join("status.d/bash"), bash.lines().filter(|line| !line.starts_with("Status:")).map(|line| format!("{line}\n")).collect::<String>())
        .unwrap();
    bench.target.package_database = crate::packages::read(&bench.target.root).0;
    let outcomes = outcomes(&evaluate(&bench.sample(), &bench.target).await);
    assert_eq!((outcomes["cve-2099-0001"], outcomes["cve-2099-0002"]), (Outcome::Fail, Outcome::Pass));
}

#[tokio::test]
async fn held_packages_and_oddly_written_ones_are_checked_like_all_others() {
    let mut bench = Bench::new("debian-12-bad.tar.gz");
    let path = bench.target.root.join("var/lib/dpkg/status");
    let status = fs::read_to_string(&path).unwrap();
    let odd = status
        .replace("Package: bash\nStatus: install", "package:  bash \r\nStatus: hold")
        .replace("Status: install ok installed", "Status: hold ok installed");
    fs::write(&path, odd).unwrap();
    bench.target.package_database = crate::packages::read(&bench.target.root).0;
    let outcomes = outcomes(&evaluate(&bench.sample(), &bench.target).await);
    for rule in ["cve-2099-0001", "cve-2099-0002", "cve-2099-0003"] {
        assert_eq!(outcomes[rule], Outcome::Fail, "{rule}");
    }
}

#[tokio::test]
async fn content_made_for_another_system_is_said_to_apply_to_nothing() {
    let bench = Bench::new("debian-12-tiny.tar.gz");
    let mut stream = String::new();
    bzip2::read::BzDecoder::new(File::open(testdata("sample-ds.xml.bz2")).unwrap()).read_to_string(&mut stream).unwrap();
    bench.content("ff", stream.replace("^12(\\..*)?$", "^99$").as_bytes());
    let report = evaluate(&request(Source::DataStream { sha256: "ff".into() }), &bench.target).await;
    assert_eq!(report.state, LayerState::NotCovered);
    assert!(report.reason.starts_with("None of the 30 rules applies"), "{}", report.reason);
}

#[tokio::test]
async fn a_database_that_cannot_be_read_is_the_reason_before_any_other() {
    let mut bench = Bench::new("debian-12-tiny.tar.gz");
    bench.target.package_database = PackageDatabase::Unreadable { path: "var/lib/dpkg/status".into(), reason: "it is not a text file".into() };
    let none = Request { source: None, reason: "They look at packages of the kind deb, of which the image has none.".into(), ..bench.sample() };
    let report = evaluate(&Request { needs_packages: vec![PackageKind::Deb], ..none.clone() }, &bench.target).await;
    assert_eq!(report.state, LayerState::NotPossible);
    assert!(report.reason.contains("/var/lib/dpkg/status cannot be read (it is not a text file)"), "{}", report.reason);
    let report = evaluate(&Request { needs_packages: vec![], ..none.clone() }, &bench.target).await;
    assert_eq!((report.state, report.reason), (LayerState::NotCovered, none.reason));
}

#[tokio::test]
async fn an_evaluation_without_enough_memory_costs_its_layer_and_says_so() {
    let mut bench = Bench::new("debian-12-bad.tar.gz");
    for (mebibytes, state) in [(1536, LayerState::Evaluated), (512, LayerState::Evaluated), (150, LayerState::Failed)] {
        bench.target.memory_bytes = Some(mebibytes << 20);
        let report = evaluate(&bench.sample(), &bench.target).await;
        assert_eq!(report.state, state, "{mebibytes} MiB: {}", report.reason);
        assert_eq!(report.reason.starts_with(OUT_OF_MEMORY), state == LayerState::Failed, "{}", report.reason);
        assert_eq!(report.has_html, state == LayerState::Evaluated, "{}", report.html_reason);
    }
}

#[tokio::test]
async fn an_evaluation_that_takes_too_long_is_ended_and_leaves_nothing_behind() {
    let bench = Bench::new("debian-12-tiny.tar.gz");
    // A pipe keeps its reader waiting for ever; images never bring one, since the unpacker makes none.
    let passwd = bench.target.root.join("etc/passwd");
    fs::remove_file(&passwd).unwrap();
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let report = evaluate(&Request { limit_secs: 2, ..bench.sample() }, &bench.target).await;
    assert_eq!((report.state, report.reason.as_str()), (LayerState::Failed, "OpenSCAP did not end within 2 seconds and was stopped."));
    assert!(report.duration_ms < 20_000);
    let root = bench.target.root.to_string_lossy().into_owned();
    let left =
        || fs::read_dir("/proc").unwrap().flatten().any(|p| fs::read(p.path().join("environ")).is_ok_and(|env| String::from_utf8_lossy(&env).contains(&root)));
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), async {
        while left() {
            tokio::task::yield_now().await;
        }
    });
    assert!(ended.await.is_ok(), "no process of the evaluation is left");
}
