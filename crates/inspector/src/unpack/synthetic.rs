//! Files that checks need in the root and that no image has (as they must be).

use super::limits::Refusal;
use super::tree::Tree;
use crate::config::Config;
use scap::report::ImageConfig;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};

/// Adds our files to the unpacked image and notes files that a check could choke on.
///
/// * `run/.containerenv`: rules for whole machines see that this is a container.
/// * `proc/mounts`: walks over local file systems find the root.
/// * `run/tidewaiter/image-config`: the image's configuration as lines `Key=value`, for the image benchmark.
pub(crate) fn complete(tree: &mut Tree, config: &Config) -> Result<(), Refusal> {
    tree.put(&["run", ".containerenv"], b"")?;
    tree.put(&["proc", "mounts"], b"/dev/root / ext4 rw,relatime 0 0\n")?;
    tree.put(&["run", "tidewaiter", "image-config"], lines(&config.image, config.healthcheck).as_bytes())?;
    for name in ["passwd", "shadow", "group", "gshadow", "login.defs", "sudoers"] {
        if let Some(hazard) = hazard(tree, name)? {
            tree.notes.hazards.push(hazard);
        }
    }
    Ok(())
}

fn lines(image: &ImageConfig, healthcheck: bool) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\0', "");
        let _ = writeln!(text, "{}={}", escape(key), escape(value));
    };
    line("User", &image.user);
    for variable in &image.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        line(&format!("Env.{name}"), value);
    }
    image.exposed_ports.iter().for_each(|port| line("ExposedPort", port));
    line("Healthcheck", if healthcheck { "set" } else { "none" });
    image.labels.iter().for_each(|(name, value)| line(&format!("Label.{name}"), value));
    line("Entrypoint", &image.entrypoint.join(" "));
    line("Cmd", &image.cmd.join(" "));
    line("WorkingDir", &image.working_dir);
    text
}

/// Probes of accounts never end on huge lines; the time limit then ends them.
fn hazard(tree: &mut Tree, name: &str) -> Result<Option<String>, Refusal> {
    const MAX_BYTES: u64 = 8 << 20;
    const MAX_LINE_BYTES: u64 = 1 << 20;
    let Some((real, file)) = tree.find(&["etc".into(), name.into()])? else { return Ok(None) };
    if !file.is_file() {
        return Ok(None);
    }
    let large = format!("/etc/{name} is larger than any real one: checks of it may not end in time.");
    if file.len() > MAX_BYTES {
        return Ok(Some(large));
    }
    let mut reader = BufReader::new(File::open(tree.root().join(real)).map_err(Refusal::Storage)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(Refusal::Storage)? {
            0 => return Ok(None),
            read if read as u64 == MAX_LINE_BYTES => return Ok(Some(large)),
            _ => {}
        }
    }
}
