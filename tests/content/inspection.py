"""Runs oscap as the inspector does: the inspector image's own OpenSCAP, as user 12345, under fakechroot and fakeroot with a state file."""
import os
import pathlib
import subprocess
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parents[2]
BENCHMARK = PROJECT / "crates/smartstate/content/benchmark/tidewaiter-image-ds.xml"
GUIDES = PROJECT / "crates/smartstate/content/guides.toml"
PREFIX = "xccdf_io.tidewaiter_rule_"
STREAMS = "usr/share/tidewaiter/ssg"

# $1: the inspector's file system, $2: the work directory with root and state, then oscap's arguments. In a mount namespace of its own.
RUN = """
mount -t tmpfs tmpfs "$1/tmp"
mount --rbind /dev "$1/dev"
mount --rbind /proc "$1/proc"
mount --bind "$2" "$1/mnt"
inspector=$1; shift 2
cd "$inspector"
exec chroot "$inspector" setpriv --reuid 12345 --regid 12345 --clear-groups --no-new-privs --bounding-set=-all \
  env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 HOME=/etc/tidewaiter/rpmhome OSCAP_PROBE_ROOT=/mnt/root OSCAP_CHECK_ENGINE_PLUGIN_DIR=/nonexistent \
  OSCAP_PROBE_MAX_COLLECTED_ITEMS=1000 fakechroot fakeroot -i /mnt/state oscap "$@"
"""


def cache():
    return pathlib.Path(os.environ.get("TIDEWAITER_CACHE") or pathlib.Path.home() / ".cache/tidewaiter")


def inspector_root():
    """The file system of the inspector's image without its program; built when it is not there."""
    lines = subprocess.run([PROJECT / "scripts/inspector-image", "--rootfs"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return pathlib.Path(lines.splitlines()[-1])


def work_directory():
    """A temporary directory that user 12345 may write to."""
    directory = tempfile.TemporaryDirectory(prefix="tidewaiter-content-")
    os.chmod(directory.name, 0o777)
    return directory


def write_facts(work):
    """Lets the inspector's own code look at work/root and work/config.json, as it does once an image is unpacked."""
    command = ["cargo", "run", "--quiet", "--locked", "--package", "inspector", "--example", "facts", "--", f"{work}/root", f"{work}/config.json"]
    subprocess.run(command, cwd=PROJECT, env=os.environ | {"SQLX_OFFLINE": "true"}, check=True, timeout=900)


def write_state(work, owners=None):
    """Writes fakeroot's state of work/root: `owners` (path → mode, uid, gid), and for all other entries what they really have."""
    root = pathlib.Path(work) / "root"
    lines = []
    paths = [root] + [pathlib.Path(base) / name for base, directories, files in os.walk(root) for name in directories + files]
    for path in paths:
        about = path.lstat()
        mode, uid, gid = (owners or {}).get("/" + str(path.relative_to(root)).removeprefix("."), (about.st_mode & 0o7777, about.st_uid, about.st_gid))
        kind = about.st_mode & 0o170000
        lines.append(f"dev={about.st_dev:x},ino={about.st_ino},mode={kind | mode:o},uid={uid},gid={gid},nlink={about.st_nlink},rdev=0")
        # Owners and modes are in the state alone; the scanning user can read everything.
        os.lchown(path, 12345, 12345)
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)
    (pathlib.Path(work) / "state").write_text("\n".join(lines) + "\n")


def oscap(work, *arguments):
    """Runs oscap on work/root; work is /mnt to it. Gives its output; a code other than 0 (no fail) and 2 (some) is an error."""
    command = ["unshare", "--mount", "--propagation", "private", "bash", "-euc", RUN, "run", str(inspector_root()), str(work), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    if done.returncode not in (0, 2):
        raise AssertionError(f"oscap ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def benchmark(work):
    """Rule (without its prefix) → result of the benchmark on work/root; the ARF is work/arf.xml."""
    (pathlib.Path(work) / "ds.xml").write_bytes(BENCHMARK.read_bytes())
    out = oscap(work, "xccdf", "eval", "--profile", "xccdf_io.tidewaiter_profile_default", "--progress", "--results-arf", "/mnt/arf.xml", "/mnt/ds.xml")
    return {rule.removeprefix(PREFIX): result for rule, result in (line.split(":") for line in out.splitlines() if line.startswith(PREFIX))}
