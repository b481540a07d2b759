//! OpenSCAP's HTML report, made from the stored result in a process of its own.

use super::command::{self, Workspace};
use super::process::{self, Limits, Run};
use super::{Target, verdict};
use scap::protocol::Source;
use scap::report::OUT_OF_MEMORY;
use std::path::PathBuf;
use std::time::Duration;

/// The transformation keeps the whole result in memory, several times its size.
const MAX_RESULT_BYTES: u64 = 60 << 20;
const MAX_RULES: usize = 5_000;
const LIMIT_SECS: u64 = 60;

/// Makes the page and tells where it is; the error is a sentence for people.
pub(super) async fn make(source: &Source, rules: usize, target: &Target, workspace: &Workspace) -> Result<PathBuf, String> {
    let bytes = workspace.result.metadata().map_err(|e| format!("The result could not be read: {e}."))?.len();
    if rules > MAX_RULES {
        return Err(format!("The report would be too large for a browser: {rules} rules (the limit is {MAX_RULES})."));
    }
    if bytes > MAX_RESULT_BYTES {
        return Err(format!("The report would be too large: the result has {} MiB (the limit is {}).", bytes >> 20, MAX_RESULT_BYTES >> 20));
    }
    let limits = Limits { wall: Duration::from_secs(LIMIT_SECS) };
    let ended = process::run(command::report(source, target, workspace, LIMIT_SECS), &workspace.home, limits, verdict::is_out_of_memory, |_: &str| {}).await;
    tracing::debug!(image = target.image, "HTML report: {ended:?}");
    match ended {
        Ok(ended) if ended.run == Run::Exited(0) && workspace.page.metadata().is_ok_and(|m| m.len() > 0) => Ok(workspace.page.clone()),
        Ok(ended) if ended.run == Run::TimedOut => Err(format!("The report was not made within {LIMIT_SECS} seconds.")),
        Ok(ended) if verdict::ran_out_of_memory(&ended) => Err(format!("{OUT_OF_MEMORY} while it made the report.")),
        Ok(ended) => Err(format!("OpenSCAP could not make the report: {}", verdict::quote(&ended.stderr))),
        Err(e) => Err(format!("OpenSCAP could not be started: {e:#}.")),
    }
}
