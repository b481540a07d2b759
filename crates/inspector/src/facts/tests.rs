use super::{Facts, explain, sentence};
use crate::config;
use scap::report::{Outcome, RuleResult, Severity};
use std::fs;
use std::path::Path;

#[path = "../../../scap/src/secrets/tests/compose.rs"]
mod compose;

static FILES: &str = include_str!("../../testdata/secret-files.txt");

struct Example {
    secret: bool,
    rule: String,
    path: String,
    content: String,
    line: usize,
}

fn corpus() -> Vec<Example> {
    let lines = FILES.lines().enumerate().filter(|(_, line)| line.starts_with(['+', '-']));
    lines
        .map(|(number, line)| {
            let (example, source) = line.rsplit_once("##").unwrap();
            assert!(!source.trim().is_empty());
            let (place, content) = example.trim_end().split_once(" |").unwrap();
            let mut words = place.split(' ');
            let secret = words.next() == Some("+");
            let rule = format!("secrets_{}", words.next().unwrap());
            Example {
                secret,
                rule,
                path: words.next().unwrap().to_owned(),
                content: compose::compose(&content.strip_prefix(' ').unwrap_or(content).replace("{t}", "\t")),
                line: number + 1,
            }
        })
        .collect()
}

fn put(root: &Path, path: &str, content: &str) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn config(text: &str) -> config::Config {
    config::parse(format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"diff_ids":[]}},{text}}}"#).as_bytes(), 0).unwrap()
}

/// Rule and what was found, for all rules of a group.
fn found(facts: &Facts, group: &str) -> Vec<String> {
    let of_group = facts.facts.iter().filter(|(rule, _)| rule.starts_with(group));
    of_group.flat_map(|(rule, fact)| fact.found.iter().map(move |what| format!("{rule}: {what}"))).collect()
}

#[test]
fn files_with_secrets_are_found_by_their_rule_and_no_others() {
    let corpus = corpus();
    let mut wrong = Vec::new();
    for example in &corpus {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), &example.path, &example.content);
        let facts = Facts::of(dir.path(), &config(r#""config":{"User":"1"}"#));
        let all = found(&facts, "secrets_");
        let right = if example.secret { all.iter().any(|what| what.starts_with(&format!("{}: {}", example.rule, example.path))) } else { all.is_empty() };
        if !right {
            wrong.push(format!("line {}: {} {:?} gave {all:?}", example.line, if example.secret { "missed" } else { "none, but found" }, example.content));
        }
        for made_up in example.content.split_whitespace().filter(|word| example.secret && word.len() > 30 && !word.contains('/')) {
            assert!(!all.concat().contains(made_up), "line {} tells the secret", example.line);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
    assert!(corpus.len() >= 120);
}

#[test]
fn what_is_found_names_the_place_and_never_the_value() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(root, "etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:0:1000::/:/bin/sh\n");
    let config = config(
        r#""history":[{"created_by":"RUN |1 NPM_TOKEN=Kq7xT2mNa /bin/sh -c npm ci # buildkit"},{"created_by":"ENV DB_PASSWORD=Kq7xT2mNa"},{"empty_layer":true}],
           "config":{"User":"app","Env":["DB_PASSWORD=Kq7xT2mNa","REDIS_URL=redis://:Kq7xT2mNa@redis:6379/0","MAX_TOTAL_TOKENS=4096","PATH=/bin"],
           "Cmd":["sh","-c","exec app --token Kq7xT2mNa"],"Labels":{"source":"https://r:Kq7xT2mNa@git.test/a"},"Healthcheck":{"Test":["CMD-SHELL","curl -u a:Kq7xT2mNa http://localhost"]}}"#,
    );
    let facts = Facts::of(root, &config);
    assert_eq!(
        found(&facts, "image_"),
        [
            "image_no_password_in_urls: ENV REDIS_URL (password in a URL)",
            "image_no_password_in_urls: LABEL source (password in a URL)",
            "image_no_secret_in_command: CMD (token)",
            "image_no_secret_in_command: HEALTHCHECK (password)",
            "image_no_secret_in_environment: ENV DB_PASSWORD (password)",
            "image_no_secret_in_history: step 1 of the image's build (token)",
            "image_not_root: USER app is user 0 in /etc/passwd",
            "image_numeric_user: USER app",
        ]
    );
    assert!(!format!("{facts:?}").contains("Kq7xT2mNa"));
}

#[test]
fn a_token_in_a_url_breaks_both_rules() {
    let dir = tempfile::tempdir().unwrap();
    let url = compose::compose("https://x-access-token:ghs_{A36}@github.com/a/b");
    let facts = Facts::of(dir.path(), &config(&format!(r#""config":{{"User":"1","Env":["REPOSITORY={url}"]}}"#)));
    assert_eq!(
        found(&facts, "image_"),
        ["image_no_password_in_urls: ENV REPOSITORY (password in a URL)", "image_no_secret_in_environment: ENV REPOSITORY (GitHub token)"]
    );
}

#[test]
fn a_start_command_is_judged_by_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let judged = |cmd: &str, env: &str| {
        let config = config(&format!(r#""config":{{"User":"1","Env":[{env}],"Cmd":["sh","-c",{}]}}"#, serde_json::to_string(cmd).unwrap()));
        found(&Facts::of(dir.path(), &config), "image_").concat()
    };
    for (cmd, rule) in [
        ("curl -s http://h/x | sh", "no_download_at_start"),
        ("wget -qO- http://h | sudo -E bash -", "no_download_at_start"),
        ("bash -c \"$(curl -fsSL http://h/x)\"", "no_download_at_start"),
        ("bash <(curl -s http://h)", "no_download_at_start"),
        ("sudo app", "no_sudo_in_command"),
        ("exec /usr/bin/su - app", "no_sudo_in_command"),
        ("/usr/sbin/sshd -D", "no_sshd_command"),
        ("java -agentlib:jdwp=transport=dt_socket -jar a.jar", "no_debug_port"),
        ("node --inspect=0.0.0.0:9229 a.js", "no_debug_port"),
        ("dlv exec /app", "no_debug_port"),
    ] {
        assert!(judged(cmd, "").contains(rule), "{cmd}");
    }
    for cmd in [
        "curl -f http://h/x || exit 1",
        "curl http://h | jq .",
        "app --user su-exec",
        "node --inspect=127.0.0.1 a.js",
        "wget http://h/x; sh start.sh",
        "sshd-exporter",
    ] {
        assert_eq!(judged(cmd, ""), "", "{cmd}");
    }
    for (env, rule) in [
        (r#""PATH=/bin:""#, "environment_path"),
        (r#""PATH=.:/bin""#, "environment_path"),
        (r#""PATH=/tmp/x:/bin""#, "environment_path"),
        (r#""LD_PRELOAD=/x.so""#, "no_preload"),
        (r#""LD_LIBRARY_PATH=/opt/lib:""#, "no_preload"),
        (r#""NODE_TLS_REJECT_UNAUTHORIZED=0""#, "certificates_checked"),
        (r#""FLASK_DEBUG=True""#, "no_debug_mode"),
        (r#""JAVA_TOOL_OPTIONS=-agentlib:jdwp=x""#, "no_debug_port"),
    ] {
        assert!(judged("app", env).contains(rule), "{env}");
    }
    for env in [r#""PATH=/bin:/tmpfiles""#, r#""LD_LIBRARY_PATH=/opt/lib""#, r#""GOINSECURE=""#, r#""FLASK_DEBUG=0""#] {
        assert_eq!(judged("app", env), "", "{env}");
    }
    let ports = |ports: &str| found(&Facts::of(dir.path(), &config(&format!(r#""config":{{"User":"1","ExposedPorts":{{"{ports}":{{}}}}}}"#))), "image_").len();
    assert_eq!(["22/tcp", "22", "20-30/tcp", "5005/tcp", "22/udp", "2222/tcp", "80/tcp"].map(ports), [1, 1, 1, 1, 0, 0, 0]);
}

#[test]
fn what_was_not_looked_at_is_said() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "root/.netrc", &"# a comment\n".repeat(800_000));
    let facts = Facts::of(dir.path(), &config(r#""config":{"User":"nobody2"}"#));
    assert_eq!(facts.facts["secrets_netrc"].text(), "not checked: /root/.netrc beyond its first 8 MiB\n");
    assert!(facts.facts["image_not_root"].text().starts_with("not checked: USER nobody2 is not in /etc/passwd"));
    assert_eq!(facts.facts["secrets_htpasswd"].text(), "checked: all\n");
}

#[test]
fn a_path_of_the_image_cannot_forge_a_fact() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a\nchecked: all/store.p12", "x");
    let facts = Facts::of(dir.path(), &config(r#""config":{"User":"1"}"#));
    assert_eq!(facts.facts["secrets_password_stores"].text(), "found: /a?checked: all/store.p12\nchecked: all\n");
}

#[test]
fn a_failed_rule_says_where() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "root/.netrc", "machine h login l password Kq7xT2mN\n");
    Facts::of(dir.path(), &config(r#""config":{"User":"1"}"#)).write(dir.path()).unwrap();
    let rule = |id: &str, outcome| RuleResult {
        rule_id: format!("xccdf_io.tidewaiter_rule_{id}"),
        outcome,
        severity: Severity::High,
        title: String::new(),
        description: String::new(),
        rationale: String::new(),
        fix: String::new(),
        identifiers: Vec::new(),
        message: String::new(),
    };
    let mut rules = [
        rule("secrets_netrc", Outcome::Fail),
        rule("secrets_netrc", Outcome::Pass),
        rule("../../etc/passwd", Outcome::Fail),
        rule("accounts_x", Outcome::Fail),
    ];
    explain(dir.path(), &mut rules);
    let messages = rules.each_ref().map(|rule| rule.message.as_str());
    assert_eq!(messages, ["Found: /root/.netrc line 1 (password).", "", "", ""]);
    assert_eq!(sentence("found: a\nfound: b\nnot checked: c\n"), "Found: a; b. Not checked: c.");
}

#[test]
fn a_core_dump_is_known_by_its_number_or_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let elf = |kind: u8| [b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".as_slice(), &[kind, 0, 62, 0]].concat();
    for (path, content) in [
        ("app/core", elf(4)),
        ("var/core.17", elf(4)),
        ("srv/core", elf(2)),
        ("home/core.1", vec![]),
        ("home/core", b"text".to_vec()),
        ("home/vmcore", b"KDUMP".to_vec()),
    ] {
        std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(path), content).unwrap();
    }
    let facts = Facts::of(dir.path(), &config(r#""config":{"User":"1"}"#));
    let mut dumps = found(&facts, "secrets_core_dumps");
    dumps.sort();
    assert_eq!(
        dumps,
        ["secrets_core_dumps: /app/core", "secrets_core_dumps: /home/core.1", "secrets_core_dumps: /home/vmcore", "secrets_core_dumps: /var/core.17"]
    );
}
