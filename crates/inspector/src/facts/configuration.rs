//! The rules about the image's configuration: user, environment, ports, command, labels.

use super::Facts;
use super::user::{RunsAs, number, runs_as};
use crate::config::Config;
use crate::inside;
use scap::report::ImageConfig;
use scap::secrets::{Kind, Secret, in_command, in_urls, in_variable};
use std::path::Path;

/// The rules that are judged here.
pub(super) const RULES: &[&str] = &[
    "image_not_root",
    "image_numeric_user",
    "image_no_secret_in_environment",
    "image_no_password_in_urls",
    "image_no_secret_in_command",
    "image_no_secret_in_history",
    "image_environment_path",
    "image_no_preload",
    "image_certificates_checked",
    "image_no_remote_shell_port",
    "image_no_debug_port",
    "image_no_debug_mode",
    "image_no_sudo_in_command",
    "image_no_download_at_start",
    "image_no_sshd_command",
];
/// Of an image's account file; no real one is larger.
const MAX_PASSWD_BYTES: u64 = 16 << 20;

/// Judges all of them.
pub(super) fn look(root: &Path, config: &Config, facts: &mut Facts) {
    user(root, &config.image.user, facts);
    secrets(config, facts);
    let image = &config.image;
    for (name, value) in variables(image) {
        environment(name, value, facts);
    }
    ports(&image.exposed_ports, facts);
    for (what, words) in commands(config) {
        command(what, &words.join(" "), facts);
    }
}

/// The environment's names and values.
fn variables(image: &ImageConfig) -> impl Iterator<Item = (&str, &str)> {
    image.env.iter().map(|line| line.split_once('=').unwrap_or((line, "")))
}

/// What starts with a container, and what checks its health.
fn commands(config: &Config) -> [(&'static str, &[String]); 3] {
    [("ENTRYPOINT", &config.image.entrypoint), ("CMD", &config.image.cmd), ("HEALTHCHECK", &config.health_command)]
}

fn user(root: &Path, user: &str, facts: &mut Facts) {
    let name = user.split(':').next().unwrap_or_default();
    if !name.is_empty() && name != "root" && number(name).is_none() {
        facts.found("image_numeric_user", &format!("USER {user}"));
    }
    match inside::read(root, "etc/passwd", MAX_PASSWD_BYTES) {
        Ok(passwd) => match runs_as(user, &String::from_utf8_lossy(&passwd.unwrap_or_default())) {
            RunsAs::Root(why) => facts.found("image_not_root", &why),
            RunsAs::Nobody(why) => facts.gap("image_not_root", &why),
            RunsAs::Other => {}
        },
        // Only a name needs the file.
        Err(e) if number(name).is_none() && !name.is_empty() => facts.gap("image_not_root", &format!("USER {user}, since /etc/passwd cannot be read ({e})")),
        Err(_) if number(name).is_some_and(|id| id != 0) => {}
        Err(_) => facts.found("image_not_root", "USER is user 0"),
    }
}

fn secrets(config: &Config, facts: &mut Facts) {
    let mut tell = |rule: &'static str, place: &str, secrets: Vec<Secret>, urls: Vec<Secret>| {
        let others = secrets.into_iter().filter(|secret| secret.kind != Kind::Url).map(|secret| (rule, secret));
        let urls = urls.into_iter().map(|secret| ("image_no_password_in_urls", secret));
        others.chain(urls).for_each(|(rule, secret)| facts.found(rule, &format!("{place} ({})", secret.what)));
    };
    for (name, value) in variables(&config.image) {
        tell("image_no_secret_in_environment", &format!("ENV {name}"), in_variable(name, value), in_urls(value));
    }
    for (name, value) in &config.image.labels {
        tell("image_no_secret_in_command", &format!("LABEL {name}"), in_variable(name, value), in_urls(value));
    }
    for (what, words) in commands(config) {
        tell("image_no_secret_in_command", what, in_command(words), in_urls(&words.join(" ")));
    }
    // What ENV, CMD and the like say stands in the configuration itself.
    const ELSEWHERE: [&str; 6] = ["ENV ", "CMD ", "ENTRYPOINT ", "LABEL ", "HEALTHCHECK ", "USER "];
    for (number, step) in config.history.iter().enumerate() {
        let instruction = step.trim_start_matches("/bin/sh -c #(nop)").trim_start();
        if !ELSEWHERE.iter().any(|start| instruction.starts_with(start)) {
            tell("image_no_secret_in_history", &format!("step {} of the image's build", number + 1), in_command(std::slice::from_ref(step)), in_urls(step));
        }
    }
}

fn environment(name: &str, value: &str, facts: &mut Facts) {
    let is_temporary =
        |place: &str| ["/tmp", "/var/tmp", "/dev/shm"].iter().any(|open| place == *open || place.strip_prefix(open).is_some_and(|rest| rest.starts_with('/')));
    let is_relative = |place: &str| place.is_empty() || matches!(place, "." | "..") || place.starts_with("./") || place.starts_with("../");
    let open = value.split(':').any(|place| is_temporary(place) || is_relative(place));
    let yes = matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
    let set = !value.trim().is_empty();
    let preload = matches!(name, "LD_PRELOAD" | "LD_AUDIT") && set || name == "LD_LIBRARY_PATH" && set && open;
    let unchecked = match name {
        "NODE_TLS_REJECT_UNAUTHORIZED" | "PYTHONHTTPSVERIFY" => value == "0",
        "GIT_SSL_NO_VERIFY" | "CURL_INSECURE" => yes,
        "GOINSECURE" | "PIP_TRUSTED_HOST" => set,
        _ => name.eq_ignore_ascii_case("npm_config_strict_ssl") && value == "false",
    };
    let debug = match name {
        "FLASK_DEBUG" | "DJANGO_DEBUG" | "APP_DEBUG" => yes,
        "WERKZEUG_DEBUG_PIN" => yes || value.eq_ignore_ascii_case("off"),
        "FLASK_ENV" | "RAILS_ENV" | "RACK_ENV" | "APP_ENV" => matches!(value, "development" | "dev" | "local"),
        "ASPNETCORE_ENVIRONMENT" => value == "Development",
        _ => false,
    };
    let debugger = matches!(name, "JAVA_TOOL_OPTIONS" | "JAVA_OPTS" | "NODE_OPTIONS" | "JDK_JAVA_OPTIONS") && starts_debugger(value);
    let judged = [
        ("image_environment_path", name == "PATH" && open),
        ("image_no_preload", preload),
        ("image_certificates_checked", unchecked),
        ("image_no_debug_mode", debug),
        ("image_no_debug_port", debugger),
    ];
    judged.into_iter().filter(|(_, broken)| *broken).for_each(|(rule, _)| facts.found(rule, &format!("ENV {name}")));
}

fn starts_debugger(text: &str) -> bool {
    let listens =
        |option: &str| text.match_indices(option).any(|(at, _)| ["0.0.0.0", "*", "[::]"].iter().any(|all| text[at + option.len()..].starts_with(all)));
    let dlv = words(text).collect::<Vec<_>>().windows(2).any(|pair| program(pair[0]) == "dlv" && matches!(pair[1], "exec" | "debug"));
    let debugpy = text.contains("debugpy") && text.contains("--listen");
    text.contains("jdwp=") || listens("--inspect=") || listens("--inspect-brk=") || debugpy || dlv
}

fn ports(exposed: &[String], facts: &mut Facts) {
    const SHELLS: [u16; 7] = [20, 21, 22, 23, 512, 513, 514];
    const DEBUGGERS: [u16; 5] = [5005, 9229, 5678, 2345, 40000];
    for port in exposed {
        let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (Ok(from), Ok(to)) = (from.trim().parse::<u16>(), to.trim().parse::<u16>()) else { continue };
        let names = |ports: &[u16]| protocol.eq_ignore_ascii_case("tcp") && ports.iter().any(|port| (from..=to).contains(port));
        if names(&SHELLS) {
            facts.found("image_no_remote_shell_port", &format!("EXPOSE {port}"));
        }
        if names(&DEBUGGERS) {
            facts.found("image_no_debug_port", &format!("EXPOSE {port}"));
        }
    }
}

/// The words of a command, also of one for a shell or in JSON.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || "\"'[],;&|()`$".contains(c)).filter(|word| !word.is_empty())
}

fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn command(what: &str, line: &str, facts: &mut Facts) {
    let runs = |programs: &[&str]| words(line).any(|word| programs.contains(&program(word)));
    let health = what == "HEALTHCHECK";
    let judged = [
        ("image_no_sudo_in_command", runs(&["sudo", "su"])),
        ("image_no_sshd_command", !health && runs(&["sshd", "dropbear", "telnetd"])),
        ("image_no_download_at_start", runs_download(line)),
        ("image_no_debug_port", !health && starts_debugger(line)),
    ];
    judged.into_iter().filter(|(_, broken)| *broken).for_each(|(rule, _)| facts.found(rule, what));
}

/// Whether a shell runs what curl or wget brings: `curl … | sh`, `sh -c "$(curl …)"`, `bash <(curl …)`.
fn runs_download(line: &str) -> bool {
    let brings = |text: &str| words(text).any(|word| matches!(program(word), "curl" | "wget"));
    let is_shell = |word: &str| matches!(program(word), "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "python" | "python3" | "perl" | "eval" | "source");
    let line_of_pipes = line.replace("||", ";");
    let parts: Vec<&str> = line_of_pipes.split('|').collect();
    let piped = parts.windows(2).any(|pair| {
        brings(pair[0])
            && words(pair[1]).find(|word| !matches!(program(word), "sudo" | "env") && !word.starts_with('-') && !word.contains('=')).is_some_and(is_shell)
    });
    let substituted = ["$(", "<(", "`"].iter().any(|open| {
        line.split_once(open)
            .is_some_and(|(before, inside)| words(before).any(is_shell) && words(inside).next().is_some_and(|word| matches!(program(word), "curl" | "wget")))
    });
    piped || substituted
}
