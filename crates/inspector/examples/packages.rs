//! Prints the packages that the inspection report lists for an image: `packages ROOT`, a folder with the image's files.

use anyhow::ensure;
use scap::report::PackageDatabase;
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root] = arguments.as_slice() else { anyhow::bail!("usage: packages ROOT") };
    let (database, packages) = inspector::packages::read(Path::new(root));
    ensure!(!matches!(database, PackageDatabase::Unreadable { .. }), "{database:?}");
    println!("{}", serde_json::to_string(&packages)?);
    Ok(())
}
