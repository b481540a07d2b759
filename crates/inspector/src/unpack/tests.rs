mod streams;

use super::limits::Refusal;
use super::{Limits, Tree, apply, complete};
use crate::config;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// A root with a witness beside it, which must stay as it is.
struct Bench {
    dir: tempfile::TempDir,
    tree: Option<Tree>,
}

/// Builds one layer's tar.
struct Layer(Builder<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An entry with exactly this name, however hostile.
    fn entry(mut self, kind: EntryType, path: &str, link: &str, content: &[u8], mode: u32, owner: (u64, u64)) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_size(content.len() as u64);
        if path.len() > 100 {
            self = self.entry(EntryType::GNULongName, "././@LongLink", "", path.as_bytes(), 0, (0, 0));
        }
        if link.len() > 100 {
            self = self.entry(EntryType::GNULongLink, "././@LongLink", "", link.as_bytes(), 0, (0, 0));
        }
        let gnu = header.as_gnu_mut().unwrap();
        let short = |text: &str| text.as_bytes()[..text.len().min(100)].to_vec();
        gnu.name[..short(path).len()].copy_from_slice(&short(path));
        gnu.linkname[..short(link).len()].copy_from_slice(&short(link));
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, path, "", content.as_bytes(), 0o644, (0, 0))
    }

    fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, "", b"", 0o755, (0, 0))
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, b"", 0o777, (0, 0))
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, b"", 0o644, (0, 0))
    }

    fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

impl Bench {
    fn new() -> Self {
        Self::limited(Limits::default())
    }

    fn limited(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/witness"), "untouched").unwrap();
        let tree = Tree::create(&dir.path().join("root"), limits).unwrap();
        Self { dir, tree: Some(tree) }
    }

    fn tree(&mut self) -> &mut Tree {
        self.tree.as_mut().unwrap()
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn try_add(&mut self, stored: &[u8], tar: &[u8]) -> Result<(), Refusal> {
        let file = self.dir.path().join("layer");
        fs::write(&file, stored).unwrap();
        let diff_id = format!("sha256:{}", hex::encode(Sha256::digest(tar)));
        apply(self.tree(), &file, stored.len() as u64, &diff_id)
    }

    fn add(&mut self, layer: Layer) -> &mut Self {
        let tar = layer.tar();
        self.try_add(&tar, &tar).unwrap();
        self
    }

    /// All paths below the root, folders with a slash.
    fn listing(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for child in fs::read_dir(folder).unwrap() {
                let child = child.unwrap();
                let path = child.path().strip_prefix(self.root()).unwrap().to_str().unwrap().to_owned();
                if child.file_type().unwrap().is_dir() {
                    folders.push(child.path());
                    paths.push(format!("{path}/"));
                } else {
                    paths.push(path);
                }
            }
        }
        paths.sort();
        paths
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    /// Mode, owner and group that fakeroot will tell.
    fn owned(&mut self, path: &str) -> (String, String, String) {
        let state = self.dir.path().join("state");
        let root = self.root();
        self.tree().state.write(&root, &state).unwrap();
        let inode = format!(",ino={},", root.join(path).symlink_metadata().unwrap().ino());
        let text = fs::read_to_string(state).unwrap();
        let line = text.lines().find(|line| line.contains(&inode)).unwrap_or_else(|| panic!("{path} has no owner"));
        let field = |name: &str| line.split(',').find_map(|field| field.strip_prefix(name)).unwrap().to_owned();
        (field("mode="), field("uid="), field("gid="))
    }

    fn warnings(&mut self) -> String {
        self.tree().notes.sentences().join(" ")
    }

    fn outside_is_untouched(&self) {
        let outside: Vec<_> = fs::read_dir(self.dir.path().join("outside")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(outside, ["witness"]);
        assert_eq!(fs::read_to_string(self.dir.path().join("outside/witness")).unwrap(), "untouched");
        assert_eq!(fs::metadata(self.dir.path().join("outside/witness")).unwrap().nlink(), 1);
    }
}

#[test]
fn whiteouts_hide_lower_layers_and_spare_their_own_in_any_order() {
    let mut bench = Bench::new();
    bench.add(
        Layer::new()
            .folder("etc/")
            .file("etc/old", "1")
            .file("etc/gone", "1")
            .folder("opt/a/")
            .file("opt/a/x", "1")
            .file("opt/a/y", "1")
            .file("var/tree/deep/z", "1")
            .link("bin", "etc"),
    );
    bench.add(
        Layer::new()
            .file("etc/.wh.gone", "")
            .file("etc/old", "2")
            .file("etc/.wh.old", "")
            .file("opt/a/new", "2")
            .file("opt/a/sub/new", "2")
            .file("opt/a/.wh..wh..opq", "")
            .file("var/.wh.tree", "")
            .file("var/tree/deep/fresh", "2")
            .file(".wh.bin", "")
            .file(".wh.never-there", "")
            .file("etc/.wh..wh.plnk", ""),
    );
    assert_eq!(
        bench.listing(),
        ["etc/", "etc/old", "opt/", "opt/a/", "opt/a/new", "opt/a/sub/", "opt/a/sub/new", "var/", "var/tree/", "var/tree/deep/", "var/tree/deep/fresh"]
    );
    assert_eq!(bench.text("etc/old"), "2");
    assert_eq!(bench.tree().bytes, 4);
}

#[test]
fn owners_and_modes_are_in_the_state_and_every_file_can_be_read() {
    let mut bench = Bench::new();
    bench.add(
        Layer::new()
            .entry(EntryType::Directory, "./", "", b"", 0o700, (7, 8))
            .entry(EntryType::Regular, "etc/shadow", "", b"root:x", 0o000, (0, 42))
            .entry(EntryType::Regular, "bin/su", "", b"elf", 0o4755, (0, 0))
            .entry(EntryType::Directory, "secret/", "", b"", 0o000, (1000, 1000))
            .file("secret/file", "hidden")
            .hard_link("bin/su2", "bin/su")
            .entry(EntryType::Symlink, "l", "bin/su", b"", 0o777, (5, 6)),
    );
    let owned = |mode: &str, uid: &str, gid: &str| (mode.to_owned(), uid.to_owned(), gid.to_owned());
    assert_eq!(bench.owned(""), owned("40700", "7", "8"));
    assert_eq!(bench.owned("etc/shadow"), owned("100000", "0", "42"));
    assert_eq!(bench.owned("bin/su2"), owned("104755", "0", "0"));
    assert_eq!(bench.owned("secret"), owned("40000", "1000", "1000"));
    assert_eq!(bench.owned("l"), owned("120777", "5", "6"));
    assert_eq!(bench.owned("etc"), owned("40755", "0", "0"));
    assert_eq!(bench.text("etc/shadow"), "root:x");
    assert_eq!(bench.text("secret/file"), "hidden");
    let real = fs::metadata(bench.root().join("bin/su")).unwrap();
    assert_eq!((real.permissions().mode() & 0o6000, real.nlink()), (0, 2));
    bench.add(Layer::new().file("bin/su", "plain"));
    assert_eq!(bench.owned("bin/su"), owned("100644", "0", "0"));
    assert_eq!(bench.text("bin/su2"), "elf");
}

#[test]
fn no_entry_leads_out_of_the_root() {
    let mut bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    let outside = outside.to_str().unwrap();
    let up = "../".repeat(40);
    bench.add(
        Layer::new()
            .file(&format!("{up}{}", &outside[1..]), "clamped")
            .file("/absolute", "x")
            .link("door", outside)
            .file("door/through", "x")
            .link("back", &format!("{up}{}", &outside[1..]))
            .file("back/through2", "x")
            .folder("a/b/c/")
            .link("a/b/c/up", "../../../outside")
            .hard_link("shallow", "a/b/c/up")
            .file("shallow/x", "x")
            .link("s", "/")
            .link("a/b/climb", "c/../../../../outside")
            .link("a/climb2", "../s/../../outside")
            .file("a/climb2/y", "x")
            .hard_link("stolen", &format!("{up}{}/witness", &outside[1..]))
            .hard_link("stolen2", &format!("{outside}/witness"))
            .link("loop1", "loop2")
            .link("loop2", "loop1")
            .file("loop1/x", "x")
            .file("a/.wh...", "")
            .file(".wh...", "")
            .file("door/.wh.witness", "")
            .file("back/.wh..wh..opq", ""),
    );
    bench.outside_is_untouched();
    let root = bench.root().canonicalize().unwrap();
    for path in bench.listing() {
        if let Ok(real) = root.join(&path).canonicalize() {
            assert!(real.starts_with(&root), "{path} leads to {}", real.display());
        }
    }
    let warnings = bench.warnings();
    for words in ["path out of the image", "target out of the image", "Hard links without a target", "no file system takes"] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
}

#[test]
fn entries_may_change_their_kind_from_layer_to_layer() {
    let mut bench = Bench::new();
    bench.add(Layer::new().folder("dir/").file("dir/x", "1").file("file", "1").link("link", "dir").file("link/through", "1"));
    assert_eq!(bench.text("dir/through"), "1");
    bench.add(Layer::new().file("dir", "now a file").folder("file/").file("file/x", "2").folder("link/").file("link/y", "2"));
    assert_eq!(bench.listing(), ["dir", "file/", "file/x", "link/", "link/y"]);
    assert_eq!(bench.tree().bytes, "now a file".len() as u64 + 2);
}

#[test]
fn absolute_links_mean_the_image_and_long_names_are_whole() {
    let mut bench = Bench::new();
    let long = format!("very/{}/{}", "long".repeat(50), "name".repeat(50));
    bench.add(Layer::new().file(&long, "far").link("usr/bin/far", &format!("/{long}")));
    assert_eq!(bench.text("usr/bin/far"), "far");
}

#[test]
fn pipes_devices_and_sockets_are_never_made() {
    let mut bench = Bench::new();
    let special = |layer: Layer, kind, path| layer.entry(kind, path, "", b"", 0o666, (0, 0));
    bench.add(Layer::new().file("etc/passwd", "root"));
    let layer = special(Layer::new(), EntryType::Fifo, "etc/passwd");
    let layer = special(special(layer, EntryType::Char, "dev/null"), EntryType::Block, "dev/sda");
    bench.add(layer);
    assert!(bench.listing().iter().all(|path| !path.contains("passwd") && !path.contains("null")));
    assert!(bench.warnings().contains("3, the first is etc/passwd"), "{}", bench.warnings());
    assert!(!fs::metadata(bench.root()).unwrap().file_type().is_fifo());
}

#[test]
fn sparse_files_get_their_holes() {
    let mut bench = Bench::new();
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"head", 0).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"tail", 3 << 20).unwrap();
    drop(file);
    for format in ["--format=gnu", "--sparse-version=1.0", "--sparse-version=0.1", "--sparse-version=0.0"] {
        let made = std::process::Command::new("tar").args(["-S", format, "-cf", "-", "-C"]).arg(dir.path()).arg("sparse").output().unwrap();
        assert!(made.status.success() && made.stdout.len() < 1 << 20);
        bench.try_add(&made.stdout, &made.stdout).unwrap();
        let bytes = fs::read(bench.root().join("sparse")).unwrap();
        assert_eq!((bytes.len(), &bytes[..4], &bytes[3 << 20..]), ((3 << 20) + 4, &b"head"[..], &b"tail"[..]), "{format}");
        assert!(bytes[4..3 << 20].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn layers_are_known_by_their_bytes_whether_gzip_zstd_or_plain() {
    let tar = Layer::new().file("x", "same").tar();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let unpadded = tar[..512 + 4].to_vec();
    for (stored, tar) in [(gzip.finish().unwrap(), &tar), (zstd::encode_all(&tar[..], 1).unwrap(), &tar), (tar.clone(), &tar), (unpadded.clone(), &unpadded)] {
        let mut bench = Bench::new();
        bench.try_add(&stored, tar).unwrap();
        assert_eq!(bench.text("x"), "same");
    }
}

#[test]
fn damaged_and_swapped_layers_are_refused() {
    let tar = Layer::new().file("x", &"y".repeat(5000)).tar();
    let damaged = |stored: &[u8], tar: &[u8]| match Bench::new().try_add(stored, tar) {
        Err(Refusal::Damaged(what)) => what,
        other => panic!("{other:?}"),
    };
    assert!(damaged(&tar, b"something else").contains("diff_id"));
    assert!(damaged(&tar[..3000], &tar[..3000]).contains("ends within a file"));
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    damaged(&zstd[..zstd.len() / 2], &tar);
    let noise = [0x42; 2048];
    damaged(&noise, &noise);
    let mut huge_name = Layer::new().entry(EntryType::GNULongName, "././@LongLink", "", &vec![b'a'; (1 << 20) + 1], 0, (0, 0)).tar();
    huge_name.truncate(huge_name.len() - 1024);
    assert!(damaged(&huge_name, &huge_name).contains("larger than 1 MiB"));
    let record = |key: &str| format!("{:07} {key}={}\n", 400_000, "v".repeat(400_000 - 10 - key.len()));
    let flood = ["a", "b", "c"].into_iter().fold(Layer::new(), |layer, key| layer.entry(EntryType::XHeader, "x", "", record(key).as_bytes(), 0, (0, 0)));
    let flood = flood.file("f", "").tar();
    assert!(damaged(&flood, &flood).contains("larger than 1 MiB"), "headers add up");
}

#[test]
fn extended_headers_may_leave_a_value_to_the_header_or_name_an_owner_below_zero() {
    let mut bench = Bench::new();
    bench.add(Layer::new().entry(EntryType::XHeader, "x", "", b"8 path=\n10 uid=-1\n8 gid=5\n", 0, (0, 0)).entry(
        EntryType::Regular,
        "name",
        "",
        b"",
        0o600,
        (1, 2),
    ));
    assert_eq!(bench.owned("name"), ("100600".into(), "65534".into(), "5".into()));
}

#[test]
fn bombs_are_stopped() {
    let too_large = |limits: Limits, stored: &[u8]| match Bench::limited(limits).try_add(stored, b"") {
        Err(Refusal::TooLarge(what)) => what,
        other => panic!("{other:?}"),
    };
    let many = Layer::new().file("1", "").file("2", "").file("3", "").tar();
    assert!(too_large(Limits { entries: 2, ..Limits::default() }, &many).contains("more than 2 files"));
    let deep = Layer::new().file("a/b/c/d/e/f", "").tar();
    assert!(too_large(Limits { entries: 5, ..Limits::default() }, &deep).contains("more than 5 files"), "folders that no entry names count");
    assert!(too_large(Limits { unpacked_bytes: 4 * 4096, ..Limits::default() }, &deep).contains("unpacks to more"), "and take room");
    let large = Layer::new().file("1", &"x".repeat(600)).file("2", &"x".repeat(600)).tar();
    assert!(too_large(Limits { unpacked_bytes: 1000, ..Limits::default() }, &large).contains("unpacks to more"));
    // A header that promises 3 GiB, and zeros that go on for ever behind it.
    let mut header = Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(3 << 30);
    header.set_cksum();
    assert!(too_large(Limits::default(), header.as_bytes()).contains("far larger"));
}

#[test]
fn room_is_what_files_and_waiting_layers_take_at_a_time() {
    let mut bench = Bench::limited(Limits { unpacked_bytes: 3 * 4096, ..Limits::default() });
    for _ in 0..3 {
        bench.add(Layer::new().file("same", &"x".repeat(5000)));
    }
    bench.add(Layer::new().file(".wh.same", "").folder("d"));
    bench.add(Layer::new().file(".wh.d", "").file("a", &"x".repeat(8192)));
    bench.tree().keep_room_for(4096);
    let tar = Layer::new().file("b", "x").tar();
    assert!(matches!(bench.try_add(&tar, &tar), Err(Refusal::TooLarge(what)) if what.contains("smartstate.storage_limit")));
}

#[test]
fn our_own_files_replace_whatever_is_in_their_way() {
    let mut bench = Bench::new();
    let outside = bench.dir.path().join("outside").to_str().unwrap().to_owned();
    bench.add(Layer::new().link("run", &outside).file("proc", "a file").file("etc/passwd", &"x".repeat(2 << 20)));
    fs::remove_file(bench.root().join("run")).unwrap();
    // As if a link had escaped the unpacker after all.
    std::os::unix::fs::symlink(&outside, bench.root().join("run")).unwrap();
    let blob = r#"{"architecture":"amd64","os":"linux","config":{"User":"app","Env":["A=1\n2"],"ExposedPorts":{"22/tcp":{}},"Labels":null,"Cmd":["a","b"],"Healthcheck":{"Test":["NONE"]}},"rootfs":{"diff_ids":["x"]}}"#;
    let config = config::parse(blob.as_bytes(), 1).unwrap();
    complete(bench.tree(), &config).unwrap();
    bench.outside_is_untouched();
    assert_eq!(bench.text("proc/mounts"), "/dev/root / ext4 rw,relatime 0 0\n");
    assert_eq!(bench.text("run/tidewaiter/facts/image_no_remote_shell_port"), "found: EXPOSE 22/tcp\nchecked: all\n");
    assert_eq!(bench.owned("run/tidewaiter/facts/image_not_root").0, "100644");
    assert_eq!(bench.owned("run/.containerenv").0, "100644");
    assert!(bench.warnings().contains("/etc/passwd is larger"), "{}", bench.warnings());
}

#[test]
fn account_files_that_a_probe_would_choke_on_are_cut_wherever_they_are() {
    let mut bench = Bench::new();
    let huge = format!("root:x:0:0\n{}\nlast:x:1:1\n", "x".repeat(3 << 20));
    bench.add(
        Layer::new()
            .entry(EntryType::Regular, "opt/accounts", "", huge.as_bytes(), 0o666, (7, 8))
            .hard_link("opt/other-name", "opt/accounts")
            .link("etc/passwd", "/opt/accounts")
            .file("etc/group", "root:x:0:\n")
            .file("etc/shadow", &"a:*:1::::::\n".repeat(1001)),
    );
    let config = config::parse(br#"{"architecture":"amd64","os":"linux","rootfs":{"diff_ids":["x"]}}"#, 1).unwrap();
    complete(bench.tree(), &config).unwrap();
    assert_eq!(bench.text("etc/passwd"), "root:x:0:0\nlast:x:1:1\n");
    assert_eq!(bench.owned("opt/accounts"), ("100666".into(), "7".into(), "8".into()));
    assert_eq!(bench.text("opt/other-name"), huge);
    assert_eq!(bench.text("etc/shadow").lines().count(), 1000);
    assert_eq!(bench.text("etc/group"), "root:x:0:\n");
    assert_eq!(bench.tree().notes.cut_files, ["/etc/passwd", "/etc/shadow"]);
}

#[test]
fn thousands_of_nested_folders_are_removed_without_trouble() {
    let mut bench = Bench::new();
    let deep = "d/".repeat(900);
    bench.add(Layer::new().folder(&deep).file(&format!("{deep}x"), "1"));
    bench.add(Layer::new().file(".wh.d", ""));
    assert!(bench.listing().is_empty());
    assert_eq!((bench.tree().bytes, bench.tree().state.len()), (0, 1));
    assert!(Path::new(&bench.root()).is_dir());
}
