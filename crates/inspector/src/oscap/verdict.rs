//! What OpenSCAP's end and its stderr mean.

use super::process::{Ended, Run};
use nix::libc;
use scap::evaluation::Evaluation;
use scap::protocol::{Chosen, Request};
use scap::report::{Layer, LayerState, OUT_OF_MEMORY, Outcome, RuleResult};
use scap::tally::Tally;
use std::collections::BTreeSet;

/// Longest text quoted from OpenSCAP, in characters.
const MAX_QUOTE_CHARS: usize = 400;

/// A line of `--progress` (`rule:result`), or of `oval eval` (`Definition id: result`).
pub(super) fn is_progress(line: &str) -> bool {
    line.starts_with("xccdf_") && !line.ends_with(":notselected") || line.starts_with("Definition oval:")
}

/// Whether the result counts; the error is a sentence for people.
///
/// The exit code alone never tells: OpenSCAP ends well when its package probe did not work at all.
pub(super) fn judge(request: &Request, ended: &Ended) -> Result<(), String> {
    if ran_out_of_memory(ended) {
        return Err(format!("{OUT_OF_MEMORY} and was stopped (smartstate.memory_limit)."));
    }
    match ended.run {
        Run::Exited(0 | 2) if !request.needs_packages.is_empty() => match ended.seen.iter().find(|line| is_package_trouble(line)) {
            Some(line) => Err(format!("OpenSCAP's package probe did not work, so its results do not count: {}", quote(line))),
            None => Ok(()),
        },
        Run::Exited(0 | 2) => Ok(()),
        Run::Exited(1) => Err(refusal(request, &ended.stderr)),
        Run::Exited(code) => Err(format!("OpenSCAP could not be run (exit code {code}): {}", quote(&ended.stderr))),
        Run::TimedOut => Err(format!("OpenSCAP did not end within {} seconds and was stopped.", request.limit_secs)),
        Run::Signaled(libc::SIGXCPU) => Err("OpenSCAP used up its processor time and was stopped.".into()),
        Run::Signaled(libc::SIGXFSZ) => Err("OpenSCAP's result grew past 1 GiB and it was stopped.".into()),
        Run::Signaled(libc::SIGSEGV) => Err(format!("OpenSCAP crashed (segmentation fault): {}", quote(&ended.stderr))),
        Run::Signaled(signal) => Err(format!("OpenSCAP crashed (signal {signal}): {}", quote(&ended.stderr))),
    }
}

/// Whether it ended since memory ran out, or went on without what did not fit: whatever it then says of the image is not the whole.
///
/// Without memory OpenSCAP crashes in many ways, or leaves out what a thread of its was to look at, so its words count more than its end.
pub(super) fn ran_out_of_memory(ended: &Ended) -> bool {
    ended.run == Run::Signaled(libc::SIGKILL) || ended.run == Run::Exited(libc::ENOMEM) || ended.seen.iter().any(|line| is_out_of_memory(line))
}

/// A line of stderr that tells so.
pub(super) fn is_out_of_memory(line: &str) -> bool {
    const SIGNS: [&str; 6] = ["cannot allocate memory", "out of memory", "memory allocation", "insufficient memory", "bad_alloc", "pthread_create"];
    let line = line.to_ascii_lowercase();
    SIGNS.iter().any(|sign| line.contains(sign))
}

/// A line of stderr that must not be missed.
pub(super) fn is_trouble(line: &str) -> bool {
    is_package_trouble(line) || is_out_of_memory(line)
}

/// A line by which packages were not read, or not all of them, although the exit code is fine.
///
/// rpm drops a package whose header does not match its digest, and finds none at all when an index file of a Berkeley DB is missing.
fn is_package_trouble(line: &str) -> bool {
    const SIGNS: [&str; 8] = [
        "dpkginfo_init has failed",
        "status not found",
        "rpmdb open failed",
        "rpmdbOpen failed",
        "rpmReadConfigFiles",
        "cannot open Packages",
        "rpmdbNextIterator: skipping",
        "rpmdb: BDB",
    ];
    const INDEXES: [&str; 2] = ["could not open /var/lib/rpm/", "could not open /usr/lib/sysimage/rpm/"];
    // Indexes that older rpms did not have are missing in their databases and in nobody's way; packages are looked up by name.
    let index = INDEXES.iter().any(|sign| line.split_once(sign).is_some_and(|(_, file)| file.starts_with("Name:") || file.starts_with("Packages")));
    index || SIGNS.iter().any(|sign| line.contains(sign))
}

/// What exit code 1 says.
fn refusal(request: &Request, stderr: &str) -> String {
    if stderr.contains("No profile matching suffix") || stderr.contains("profile") && stderr.contains("not found") {
        return format!("The content has no profile \"{}\".", request.profile);
    }
    if stderr.contains("Unable to parse XML") || stderr.contains("Invalid SCAP") || stderr.contains("Premature end") {
        return format!("The content is damaged or not valid SCAP: {}", quote(stderr));
    }
    format!("OpenSCAP refused to evaluate the content: {}", quote(stderr))
}

/// What a result that was read amounts to, with a sentence for people: what judges nothing is no evaluation.
pub(super) fn state(layer: Layer, evaluation: &Evaluation, chosen: Option<&Chosen>, stderr: &str) -> (LayerState, String) {
    let rules = &evaluation.rules;
    let mut tally = Tally::of(layer, rules);
    tally.decided += evaluation.left_out.passed;
    tally.not_applicable += evaluation.left_out.not_applicable;
    match tally.total() {
        0 => (LayerState::NotPossible, "The content holds no rule to evaluate.".to_owned()),
        total if tally.not_applicable == total => (
            LayerState::NotCovered,
            format!("None of the {total} rules applies to this image: it has nothing of what they check, or they are made for another system."),
        ),
        total if tally.decided == 0 => (LayerState::NotPossible, format!("None of the {total} rules could be judged{}.", example(rules))),
        total => {
            let checked = match tally.undecided {
                0 => String::new(),
                undecided => format!("{undecided} of {total} rules could not be checked{}.", example(rules)),
            };
            (LayerState::Evaluated, join([&checked, &chosen.map(undecided).unwrap_or_default(), &warnings(stderr)]))
        }
    }
}

/// What a feed amounts to of which no definition was evaluated.
pub(super) fn unconcerned(chosen: Option<&Chosen>) -> (LayerState, String) {
    match chosen.map(undecided).unwrap_or_default() {
        nothing if nothing.is_empty() => (LayerState::Evaluated, nothing),
        reason => (LayerState::NotPossible, reason),
    }
}

/// `7 of 40000 definitions cannot be decided here: …`, or nothing.
fn undecided(chosen: &Chosen) -> String {
    match chosen.definitions.undecided {
        0 => String::new(),
        count => format!("{count} of {} definitions cannot be decided here: {}.", chosen.definitions.in_feed, chosen.undecided_reason.trim_end_matches('.')),
    }
}

fn join(sentences: [&str; 3]) -> String {
    sentences.into_iter().filter(|sentence| !sentence.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The first rule that was not judged, in parentheses, with what OpenSCAP says of it.
fn example(rules: &[RuleResult]) -> String {
    let Some(rule) = rules.iter().find(|rule| matches!(rule.outcome, Outcome::Error | Outcome::Unknown | Outcome::NotChecked)) else { return String::new() };
    let name = if rule.title.is_empty() { &rule.rule_id } else { &rule.title };
    let message = if rule.message.is_empty() { String::new() } else { format!(": {}", quote(&rule.message).trim_end_matches('.')) };
    format!(" (the first: {}{message})", quote(name))
}

/// What a person should know of an evaluation that worked: checks that OpenSCAP cannot make on images.
pub(super) fn warnings(stderr: &str) -> String {
    let probes: BTreeSet<&str> =
        stderr.lines().filter_map(|line| line.split_once("offline mode is not supported by ")?.1.split_once(" probe").map(|(name, _)| name)).collect();
    match probes.len() {
        0 => String::new(),
        _ => format!("OpenSCAP cannot look at these on an image, so rules that need them do not apply: {}.", probes.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// The telling part of stderr on one line.
pub(super) fn quote(stderr: &str) -> String {
    let lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "^" && !line.contains("openscap-cpe-dict.xml"));
    let text: Vec<&str> = lines.map(|line| line.trim_start_matches("OpenSCAP Error:").trim_start_matches(':').trim()).take(4).collect();
    let text = text.join(" ");
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(MAX_QUOTE_CHARS).collect();
    if short.is_empty() {
        short.push_str("it gave no reason");
    } else if short.len() < text.len() {
        short.push('…');
    }
    short
}
