//! Passwords in the configuration files of applications and frameworks.

use super::file::{self, Found};
use super::places::is_searched;
use super::section::{Sections, is_key_of};
use scap::secrets::{Style, in_line, is_placeholder, is_secret_value, pairs};

/// How the file at `path` is looked at, when it is one of an application's.
pub(super) fn of(path: &str, name: &str) -> Option<fn(&str) -> Vec<Found>> {
    const CODE: [&str; 16] = [
        "wp-config.php",
        "configuration.php",
        "config.inc.php",
        "config.php",
        "settings.php",
        "settings.local.php",
        "LocalSettings.php",
        "local.php",
        "database.php",
        "env.php",
        "settings.py",
        "local_settings.py",
        "config.py",
        "config.js",
        "config.ts",
        "secrets.py",
    ];
    const KEYS: [&str; 2] = ["master.key", "credentials.key"];
    const ALWAYS: [&str; 14] = [
        "hibernate.cfg.xml",
        "persistence.xml",
        "tomcat-users.xml",
        "standalone.xml",
        "context.xml",
        "web.config",
        "sftp.json",
        "sftp-config.json",
        ".ftpconfig",
        ".remote-sync.json",
        "rclone.conf",
        "filezilla.xml",
        "sitemanager.xml",
        "ldap.secret",
    ];
    if !is_searched(path) {
        return None;
    }
    if KEYS.contains(&name) || path.contains("/config/credentials/") && name.ends_with(".key") {
        return Some(rails_key);
    }
    if CODE.contains(&name) || name.starts_with("settings") && name.ends_with(".py") || path.contains("/settings/") && name.ends_with(".py") {
        return Some(code);
    }
    if matches!(name, "msmtprc" | ".msmtprc") {
        return Some(file::netrc);
    }
    if ALWAYS.contains(&name) {
        return Some(if name.ends_with(".xml") || name.ends_with(".config") { xml } else { plain });
    }
    (is_settings(path, name)).then_some(plain as fn(&str) -> Vec<Found>)
}

/// `application.yml`, `appsettings.Production.json`, `secrets.yaml`, …
fn is_settings(path: &str, name: &str) -> bool {
    // Of applications, and of programs that are often configured in an image.
    const STEMS: &str = "application appsettings bootstrap config settings secret credential database parameters local \
        production staging default values docker-compose compose environment hibernate persistence \
        datasource env prod grafana alertmanager prometheus airflow odoo superset rabbitmq mosquitto kibana \
        logstash filebeat metricbeat elasticsearch opensearch telegraf datadog newrelic supervisord sssd \
        pgbouncer proxysql mongod neo4j keycloak gitea gitlab harbor jenkins sonar nexus minio loki \
        wpa_supplicant wg0 openvpn mailer smtp";
    const ENDS: [&str; 9] = [".properties", ".yml", ".yaml", ".json", ".ini", ".toml", ".conf", ".cfg", ".cnf"];
    let lower = name.to_ascii_lowercase();
    let words = ["lang", "language", "languages", "translations", "messages", "locales"];
    STEMS.split_ascii_whitespace().any(|stem| lower.starts_with(stem))
        && ENDS.iter().any(|end| lower.ends_with(end))
        && !path.split('/').any(|folder| words.contains(&folder))
        && !path.starts_with("/etc/default/")
}

/// A value that only repeats its name is a label of a form; Helm's `secretKey: postgres-password` is the name of a field.
pub(super) fn is_label(name: &str, value: &str) -> bool {
    if name.ends_with("ecretKey") && value.chars().all(|c| c.is_ascii_lowercase() || "-_.".contains(c)) {
        return true;
    }
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    let (name, value) = (plain(name), plain(value));
    value.is_empty() || name == value
}

fn by_lines(text: &str, style: Style) -> Vec<Found> {
    let mut found = Vec::new();
    // Kubernetes parts `- name: X` and `value: Y`.
    let mut named = None;
    let mut sections = Sections::default();
    for (at, line) in text.lines().enumerate() {
        let field = |name: &str| line.trim_start_matches([' ', '-']).strip_prefix(name).map(|value| value.trim().trim_matches(['"', '\'']));
        if let (Some(name), Some(value)) = (named, field("value: "))
            && is_secret_value(name, value)
        {
            found.push(Found { line: at + 1, what: "value of an environment variable" });
        }
        named = field("name: ");
        let start = line.trim_start();
        if ["#", ";", "//", "*", "/*", "--"].iter().any(|sign| start.starts_with(sign)) {
            continue;
        }
        let section = sections.around(line);
        if pairs(line, style).iter().any(|pair| is_key_of(section, line, pair)) {
            found.push(Found { line: at + 1, what: "key" });
        }
        let labels: Vec<_> = pairs(line, style)
            .into_iter()
            .filter(|pair| is_secret_value(pair.name, pair.value) && is_label(pair.name, pair.value))
            .map(|pair| pair.range)
            .collect();
        let secret = in_line(line, style).into_iter().find(|secret| !labels.contains(&secret.range));
        found.extend(secret.map(|secret| Found { line: at + 1, what: secret.what }));
    }
    found
}

fn plain(text: &str) -> Vec<Found> {
    by_lines(text, Style::Line)
}

fn code(text: &str) -> Vec<Found> {
    by_lines(text, Style::Code)
}

fn xml(text: &str) -> Vec<Found> {
    by_lines(&file::without_xml_comments(text), Style::Inline)
}

/// A Rails key is a file with 32 hexadecimal digits.
fn rails_key(text: &str) -> Vec<Found> {
    let key = text.trim();
    let real = key.len() >= 32 && key.bytes().all(|c| c.is_ascii_hexdigit()) && !is_placeholder(key);
    if real { vec![Found { line: 1, what: "Rails key" }] } else { Vec::new() }
}
