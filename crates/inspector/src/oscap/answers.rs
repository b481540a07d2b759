//! What OVAL definitions say of the image, asked before the evaluation: which of a feed's definitions can concern it hangs on more than its packages.

use super::{Target, command, prepare, process, verdict};
use anyhow::Context as _;
use process::Limits;
use scap::feed::Answers;
use scap::protocol::{Answered, Request, Source};
use scap::report::Layer;
use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

const LIMIT_SECS: u64 = 60;

/// Evaluates the definitions that were put as `sha256`. What goes wrong is in the answer.
pub async fn answer(sha256: &str, target: &Target) -> Answered {
    let request = Request {
        layer: Layer::Vulnerabilities,
        source: Some(Source::Oval { sha256: sha256.to_owned() }),
        reason: String::new(),
        profile: String::new(),
        title: String::new(),
        needs_packages: vec![],
        limit_secs: LIMIT_SECS,
        chosen: None,
    };
    match ask(&request, target).await {
        Ok(answers) => answers,
        Err(e) => failed(format!("The definitions could not be asked: {e:#}.")),
    }
}

async fn ask(request: &Request, target: &Target) -> anyhow::Result<Answered> {
    let Some(source) = &request.source else { return Ok(Answered::default()) };
    let workspace = command::Workspace::new(target).context("preparing the work folder")?;
    let _sources = prepare::complete(&target.root, &target.package_database, &super::sources(request, target)).context("preparing the image's root")?;
    let invocation = command::evaluation(request, source, &super::content_path(source, target), target, &workspace);
    let limits = Limits { wall: Duration::from_secs(LIMIT_SECS) };
    let ended = process::run(invocation, &workspace.home, limits, verdict::is_trouble, |_: &str| {}).await?;
    if let Err(failure) = verdict::judge(request, &ended) {
        return Ok(failed(failure));
    }
    let result = workspace.result.clone();
    let answers = tokio::task::spawn_blocking(move || {
        let input = BufReader::with_capacity(1 << 16, File::open(result).context("opening OpenSCAP's result")?);
        Answers::read(input).context("reading OpenSCAP's result")
    });
    Ok(Answered { answers: answers.await??, failure: String::new() })
}

fn failed(failure: String) -> Answered {
    Answered { failure, ..Answered::default() }
}
