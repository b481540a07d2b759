//! Writes what the inspector finds out for the image benchmark: `facts ROOT CONFIG`, a folder with an image's files and its configuration as JSON.

use anyhow::Context as _;
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, config] = arguments.as_slice() else { anyhow::bail!("usage: facts ROOT CONFIG") };
    let config = std::fs::read(config).with_context(|| format!("reading {config}"))?;
    inspector::facts::write(Path::new(root), &config)
}
