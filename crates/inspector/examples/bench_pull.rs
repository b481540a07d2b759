//! Times pulling and unpacking a real Debian image beside `skopeo copy` + `umoci unpack` of the same image, in turns, in one run.
//! Reads TIDEWAITER_TEST_REGISTRY, where `samples/debian-main:1` is.

use anyhow::{Context as _, bail};
use inspector::pull::pull;
use inspector::reference::Reference;
use inspector::registry::Access;
use inspector::unpack::Limits;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SAMPLE: &str = "samples/debian-main";
const ROUNDS: usize = 7;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registry = std::env::var("TIDEWAITER_TEST_REGISTRY").context("TIDEWAITER_TEST_REGISTRY")?;
    let source = format!("docker://{registry}/{SAMPLE}:1");
    let digest = output(Command::new("skopeo").args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &source]))?;
    let image = Reference::parse(&format!("{registry}/{SAMPLE}@{}", digest.trim())).map_err(anyhow::Error::msg)?;
    let access =
        Access { plain_http: vec![registry.clone()], ca_file: None, auth_dir: "/nonexistent".into(), platform: None, retry_for: Duration::from_secs(5) };
    let (mut ours, mut theirs, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    let (mut compressed, mut unpacked) = (0, 0);
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir_in("/var/tmp")?;
        let begun = Instant::now();
        let done = match pull(&image, &access, Limits::default(), &folder.path().join("image"), |_| {}).await {
            Ok(done) => done,
            Err(failure) => bail!("{:?}: {}", failure.code, failure.message),
        };
        ours.push(begun.elapsed());
        (compressed, unpacked) = (done.compressed_bytes, done.unpacked_bytes);
        let (copy, whole) = skopeo_and_umoci(&source, folder.path())?;
        copies.push(copy);
        theirs.push(whole);
    }
    let (ours, theirs, copy) = (median(ours), median(theirs), median(copies));
    println!("{SAMPLE}, {:.1} MB compressed, {:.1} MB unpacked, median of {ROUNDS} rounds in turns", compressed as f64 / 1e6, unpacked as f64 / 1e6);
    println!("  {:<44} {:>7.2} s   of it the copy {:.2} s", "skopeo copy + umoci unpack (as root)", theirs.as_secs_f64(), copy.as_secs_f64());
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("  {:<44} {:>7.2} s   {ratio:.2} x (goal: 0.7)", "Tidewaiter's inspector (needs no root)", ours.as_secs_f64());
    Ok(())
}

/// How long the copy took, and copy and unpacking together.
fn skopeo_and_umoci(source: &str, folder: &Path) -> anyhow::Result<(Duration, Duration)> {
    let layout = folder.join("layout");
    let begun = Instant::now();
    output(Command::new("skopeo").args(["copy", "--quiet", "--src-tls-verify=false", source, &format!("oci:{}:it", layout.display())]))?;
    let copied = begun.elapsed();
    output(Command::new("umoci").args(["unpack", "--image", &format!("{}:it", layout.display())]).arg(folder.join("bundle")))?;
    Ok((copied, begun.elapsed()))
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !done.status.success() {
        bail!("{command:?}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    }
    Ok(String::from_utf8(done.stdout)?)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
