//! The command lines and the environment in which OpenSCAP runs.

use super::Target;
use crate::packages;
use scap::protocol::{Request, Source};
use scap::report::{Layer, PackageDatabase};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// A folder of one evaluation; gone with it.
pub(super) struct Workspace {
    /// Also the `HOME` of everything that runs here, by which stray processes are known.
    pub(super) home: PathBuf,
    pub(super) result: PathBuf,
    pub(super) page: PathBuf,
    apt_config: PathBuf,
    _folder: tempfile::TempDir,
}

impl Workspace {
    pub(super) fn new(target: &Target) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("oscap-").tempdir_in(&target.work)?;
        let home = folder.path().to_owned();
        let secret = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let deb = packages::dpkg::read(&target.root).ok().flatten().map(|found| packages::dpkg::architectures(&found.packages)).unwrap_or_default();
        let apt_config = home.join("apt.conf");
        fs::write(&apt_config, apt_config_text(&secret, &deb, &target.debian_architecture))?;
        fs::write(home.join(".rpmmacros"), format!("%_dbpath {}\n", rpm_folder(&target.package_database)))?;
        Ok(Self { result: home.join("result.xml"), page: home.join("report.html"), apt_config, home, _folder: folder })
    }
}

/// Configuration for libapt, through which OpenSCAP before 1.3.10 reads dpkg's database.
///
/// Without it, libapt reads the host's and the image's apt configuration, writes caches into the image, runs the image's own dpkg, and when anything of that
/// fails every package seems not to be installed. All paths lead to a folder that no image can have: its name is random.
fn apt_config_text(secret: &str, architectures: &[String], image: &str) -> String {
    let void = format!("/.{secret}");
    let fallback = [image.to_owned()];
    let architectures = if architectures.is_empty() { &fallback[..] } else { architectures };
    let mut text = String::new();
    for (name, file) in [
        ("Dir::Etc::main", "apt.conf"),
        ("Dir::Etc::parts", "apt.conf.d"),
        ("Dir::Etc::sourcelist", "sources.list"),
        ("Dir::Etc::sourceparts", "sources.list.d"),
        ("Dir::Etc::preferences", "preferences"),
        ("Dir::Etc::preferencesparts", "preferences.d"),
        ("Dir::Etc::trusted", "trusted.gpg"),
        ("Dir::Etc::trustedparts", "trusted.gpg.d"),
        ("Dir::Cache::pkgcache", "pkgcache.bin"),
        ("Dir::Cache::srcpkgcache", "srcpkgcache.bin"),
        ("Dir::State::lists", "lists"),
        ("Dir::State::extended_states", "extended_states"),
    ] {
        text.push_str(&format!("{name} \"{void}/{file}\";\n"));
    }
    text.push_str(&format!("APT::Architecture \"{}\";\n", architectures[0]));
    let all: String = architectures.iter().map(|name| format!("\"{name}\"; ")).collect();
    text.push_str(&format!("APT::Architectures {{ {all}}};\n"));
    text
}

/// Where the image keeps its rpm database. Said plainly, since otherwise Debian's rpm runs the image's shell to find it.
fn rpm_folder(database: &PackageDatabase) -> String {
    match database {
        PackageDatabase::Read { paths } => packages::rpm::folder_for_openscap(paths),
        _ => packages::rpm::folder_for_openscap(&[]),
    }
}

/// `oscap … eval` of `content` on the image, without root: fakeroot tells the owners and modes of the state file, fakechroot lets probes enter the image.
pub(super) fn evaluation(request: &Request, source: &Source, content: &Path, target: &Target, workspace: &Workspace) -> Command {
    let mut command = limited(workspace, request.limit_secs, target.memory_bytes.map(evaluation_bytes));
    command.args(["fakechroot", "fakeroot", "-i"]).arg(&target.state_file).arg("oscap");
    if matches!(source, Source::Oval { .. }) {
        command.args(["oval", "eval", "--results"]).arg(&workspace.result);
    } else {
        command.args(["xccdf", "eval", "--progress", "--results-arf"]).arg(&workspace.result);
        if !request.profile.is_empty() {
            command.args(["--profile", &request.profile]);
        }
    }
    command
        .arg(content)
        .env("OSCAP_PROBE_ROOT", &target.root)
        .env("OSCAP_EVALUATION_TARGET", format!("image://{}", target.image))
        .env("OSCAP_CONTAINER_VARS", container_variables(&target.env))
        .env("APT_CONFIG", &workspace.apt_config)
        // A share of the machine's whole memory, as probes measure it; the pod's own limit is what ends them.
        .env("OSCAP_PROBE_MEMORY_USAGE_RATIO", "0.8");
    if request.layer == Layer::Benchmark {
        // The benchmark lists offending files; a thousand are enough for anyone.
        command.env("OSCAP_PROBE_MAX_COLLECTED_ITEMS", "1000");
    }
    command
}

/// The image's environment, a variable per line, as far as one variable of ours can hold it (the kernel's limit is 128 KiB).
fn container_variables(env: &[String]) -> String {
    const MAX_BYTES: usize = 100 << 10;
    let mut text = String::new();
    for variable in env.iter().filter(|variable| !variable.contains(['\0', '\n'])) {
        if text.len() + variable.len() < MAX_BYTES {
            text.push_str(variable);
            text.push('\n');
        }
    }
    text
}

/// `oscap … generate report` of the result.
pub(super) fn report(source: &Source, target: &Target, workspace: &Workspace, limit_secs: u64) -> Command {
    let mut command = limited(workspace, limit_secs, target.memory_bytes.map(page_bytes));
    let kind = if matches!(source, Source::Oval { .. }) { "oval" } else { "xccdf" };
    command.args(["oscap", kind, "generate", "report", "--output"]).arg(&workspace.page).arg(&workspace.result);
    command
}

const MIB: u64 = 1 << 20;

/// What an evaluation may have of the container's memory: the rest is ours, and for the files in fakeroot's daemon. OpenSCAP maps about twice what it uses, so
/// that a small container is not divided: there the kernel has the last word.
pub(super) fn evaluation_bytes(container: u64) -> u64 {
    container.saturating_sub(256 * MIB).max(container.min(768 * MIB))
}

/// What the making of a page may have: its failure costs nothing but the page.
fn page_bytes(container: u64) -> u64 {
    evaluation_bytes(container) / 4 * 3
}

/// A command with nothing of our environment, and with limits that end a runaway even when we are gone.
///
/// `memory`: bytes of address space. When the kernel ended a process instead, it could end all of the container's.
fn limited(workspace: &Workspace, wall_secs: u64, memory: Option<u64>) -> Command {
    /// OpenSCAP probes with several threads.
    const THREADS: u64 = 4;
    const MAX_FILE_BYTES: u64 = 1 << 30;
    /// Of each thread; there are dozens of them.
    const STACK_BYTES: u64 = 4 * MIB;
    let mut command = Command::new("/usr/bin/prlimit");
    command
        .arg("--core=0")
        .arg(format!("--fsize={MAX_FILE_BYTES}"))
        .arg(format!("--cpu={}", wall_secs.saturating_mul(THREADS).max(10)))
        .arg(format!("--stack={STACK_BYTES}"))
        .args(memory.map(|bytes| format!("--as={bytes}")))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", &workspace.home)
        // Otherwise every thread reserves 64 MiB of address space.
        .env("MALLOC_ARENA_MAX", "2")
        // Script checks would be run as programs of ours: content must never be code.
        .env("OSCAP_CHECK_ENGINE_PLUGIN_DIR", "/nonexistent")
        .current_dir(&workspace.home);
    command
}
