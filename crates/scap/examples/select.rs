//! Chooses the definitions of a feed for an image: `select FEED.xml PACKAGES.json FOLDER [RESULTS.xml]`.
//!
//! PACKAGES.json is a list as in the inspection report. Writes to FOLDER `selection.xml`, `questions.xml` (when there is something to ask; RESULTS.xml is
//! OpenSCAP's answer to it) and `sources.json` (what OpenSCAP is to be shown of source packages), and prints the counts.

use scap::feed::{Answers, Index, source_entries};
use scap::report::Package;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [feed, packages, folder, results @ ..] = &arguments[..] else { return Err("usage: select FEED.xml PACKAGES.json FOLDER [RESULTS.xml]".into()) };
    let begin = Instant::now();
    let index = Index::build(BufReader::with_capacity(1 << 16, File::open(feed)?))?;
    let built = begin.elapsed();
    let packages: Vec<Package> = serde_json::from_reader(BufReader::new(File::open(packages)?))?;
    let answers = match results.first() {
        Some(results) => Answers::read(BufReader::new(File::open(results)?))?,
        None => Answers::default(),
    };
    if let Some(questions) = index.questions(&packages) {
        fs::write(folder.join("questions.xml"), questions.document)?;
    }
    let sources: Vec<_> = source_entries(&packages).into_iter().map(|entry| (entry.name, entry.version)).collect();
    fs::write(folder.join("sources.json"), serde_json::to_vec(&sources)?)?;
    let begin = Instant::now();
    let selection = index.select(&packages, &answers)?;
    let selected = begin.elapsed();
    fs::write(folder.join("selection.xml"), &selection.document)?;
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    let counts = serde_json::json!({
        "of": index.definitions(), "names": index.names().count(), "definitions": selection.definitions, "not_applicable": selection.not_applicable,
        "undecided": selection.undecided, "undecided_reason": selection.undecided_reason, "matched_names": selection.matched_names,
        "source_definitions": selection.source_definitions, "document_bytes": selection.document.len(),
        "build_ms": built.as_millis(), "select_us": selected.as_micros(), "peak": peak,
    });
    println!("{counts}");
    Ok(())
}
