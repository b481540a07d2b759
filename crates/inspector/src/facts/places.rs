//! Which files are looked into for which rule.

use super::application;
use super::file::{self, Found};

/// The rules that are judged by files.
pub(super) const RULES: &[&str] = &[
    "secrets_ssh_private_keys",
    "secrets_authorized_keys",
    "secrets_private_keys",
    "secrets_pgp_private_keys",
    "secrets_aws_credentials",
    "secrets_gcloud_credentials",
    "secrets_azure_credentials",
    "secrets_registry_credentials",
    "secrets_npm_token",
    "secrets_python_package_credentials",
    "secrets_other_package_credentials",
    "secrets_netrc",
    "secrets_git_credentials",
    "secrets_database_passwords",
    "secrets_kubeconfig",
    "secrets_service_account_token",
    "secrets_env_files",
    "secrets_application_passwords",
    "secrets_terraform_state",
    "secrets_vault_tokens",
    "secrets_password_stores",
    "secrets_htpasswd",
    "secrets_shell_history",
    "secrets_core_dumps",
    "secrets_cloud_init",
    "secrets_tokens_in_files",
];

/// How a file is looked at.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// That it is there is enough.
    Present,
    /// That it is a core dump, and not a program or a text of that name.
    Core,
    Text(fn(&str) -> Vec<Found>),
}

/// A file's part in a rule.
pub(super) struct Place {
    pub(super) rule: &'static str,
    pub(super) look: Look,
}

/// A path, with what is asked of it again and again.
struct Asked<'a> {
    path: &'a str,
    name: &'a str,
    /// The name of the folder that it is in, and of the one above.
    folder: &'a str,
    above: &'a str,
}

impl<'a> Asked<'a> {
    fn new(path: &'a str) -> Self {
        let mut parts = path.rsplit('/');
        let mut next = || parts.next().unwrap_or_default();
        Self { path, name: next(), folder: next(), above: next() }
    }

    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name)
    }

    fn ends(&self, ends: &[&str]) -> bool {
        let name = self.name.to_ascii_lowercase();
        ends.iter().any(|end| name.ends_with(end))
    }

    fn below(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

/// What `path` (absolute, in the image) is looked at for.
pub(super) fn of(path: &str) -> Vec<Place> {
    let asked = Asked::new(path);
    let mut places = Vec::new();
    let mut add = |rule, look| places.push(Place { rule, look });
    for table in [keys, clouds, packages, accounts, remains] {
        if let Some((rule, look)) = table(&asked) {
            add(rule, look);
        }
    }
    if let Some(look) = application::of(asked.path, asked.name) {
        add("secrets_application_passwords", Look::Text(look));
    }
    places
}

type Found1 = Option<(&'static str, Look)>;

fn keys(asked: &Asked<'_>) -> Found1 {
    const USERS: [&str; 4] = ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"];
    let of_user = USERS.iter().any(|key| {
        asked.name.strip_prefix(key).is_some_and(|rest| {
            let rest = rest.strip_prefix("_sk").unwrap_or(rest);
            (rest.is_empty() || rest.starts_with(['.', '_', '-'])) && !rest.ends_with("pub")
        })
    });
    let of_ssh = asked.folder == ".ssh" && !asked.ends(&[".pub"]) && !asked.is(&["config", "known_hosts", "known_hosts.old", "environment", "rc"]);
    let private = asked.ends(&[".key", ".pem", ".pk8", ".p8", ".ppk", ".crt", ".cer", ".cert"])
        || asked.ends(&["-key.txt", "_key.txt", "-key.json", "_key.json", "-key.yaml", "_key.yaml", "-key.yml", "_key.yml"]);
    let hexadecimal = |name: &str| name.len() == 40 && name.bytes().all(|c| c.is_ascii_digit() || (b'A'..=b'F').contains(&c));
    Some(match () {
        () if of_user => ("secrets_ssh_private_keys", Look::Text(file::private_key)),
        () if asked.is(&["authorized_keys", "authorized_keys2"]) => ("secrets_authorized_keys", Look::Text(file::authorized_key)),
        () if of_ssh => ("secrets_ssh_private_keys", Look::Text(file::private_key)),
        () if asked.folder == "private-keys-v1.d" && asked.name.strip_suffix(".key").is_some_and(hexadecimal) => ("secrets_pgp_private_keys", Look::Present),
        () if asked.name == "secring.gpg" => ("secrets_pgp_private_keys", Look::Present),
        () if asked.ends(&[".asc", ".gpg", ".pgp"]) => ("secrets_pgp_private_keys", Look::Text(file::pgp_key)),
        () if private => ("secrets_private_keys", Look::Text(file::private_key)),
        () => return None,
    })
}

fn clouds(asked: &Asked<'_>) -> Found1 {
    let gcloud = asked.path.contains("/gcloud/");
    let google = ["service", "account", "credential", "key", "gcp", "google", "firebase", "sa"].iter().any(|word| asked.name.contains(word));
    let kubernetes = asked.path.contains("/kubernetes/") || asked.path.contains("/rancher/");
    let kubeconfig = asked.folder == ".kube" && asked.name == "config"
        || asked.name.contains("kubeconfig")
        || kubernetes && asked.is(&["admin.conf", "super-admin.conf", "kubelet.conf", "controller-manager.conf", "scheduler.conf", "k3s.yaml", "rke2.yaml"]);
    Some(match () {
        () if asked.folder == ".aws" && asked.is(&["credentials", "config"])
            || asked.is(&[".s3cfg", ".boto", ".passwd-s3fs", "accessKeys.csv", "rootkey.csv"]) =>
        {
            ("secrets_aws_credentials", Look::Text(file::aws))
        }
        () if gcloud && asked.is(&["application_default_credentials.json", "credentials.db", "access_tokens.db", "adc.json"]) => {
            ("secrets_gcloud_credentials", Look::Present)
        }
        () if asked.folder == ".azure"
            && (asked.name == "accessTokens.json" || asked.name.starts_with("msal_token_cache.") || asked.name.starts_with("service_principal_entries.")) =>
        {
            ("secrets_azure_credentials", Look::Present)
        }
        () if asked.folder == ".azure" && asked.is(&["credentials", "config"]) => ("secrets_azure_credentials", Look::Text(file::named)),
        () if kubeconfig => ("secrets_kubeconfig", Look::Text(file::kubeconfig)),
        () if (asked.below("/run/secrets/") || asked.below("/var/run/secrets/")) && asked.is(&["token", "ca.crt", "namespace"]) => {
            ("secrets_service_account_token", Look::Present)
        }
        () if asked.ends(&[".tfstate", ".tfstate.backup"]) => ("secrets_terraform_state", Look::Present),
        () if asked.is(&[".terraformrc", "terraform.rc", "credentials.tfrc.json"]) => ("secrets_terraform_state", Look::Text(file::token)),
        () if asked.ends(&[".tfvars", ".tfvars.json"]) => ("secrets_terraform_state", Look::Text(file::named)),
        () if asked.is(&[".vault-token", ".consul-token"]) => ("secrets_vault_tokens", Look::Present),
        () if asked.is(&[".vault_pass", ".vault-pass", ".vault_password", ".vault_pass.txt", "vault_pass.txt", ".vault_password.txt"]) => {
            ("secrets_vault_tokens", Look::Text(file::any_line))
        }
        () if google && asked.ends(&[".json"]) => ("secrets_gcloud_credentials", Look::Text(file::service_account)),
        () => return None,
    })
}

fn packages(asked: &Asked<'_>) -> Found1 {
    let containers = asked.folder == "containers" || asked.folder == ".containers" || asked.above == "containers" || asked.above == ".containers";
    let requirements =
        asked.name.starts_with("requirements") && asked.ends(&[".txt", ".in"]) || asked.is(&["constraints.txt", "Pipfile", "pyproject.toml", "poetry.toml"]);
    let maven = asked.folder == ".m2" || asked.folder == "conf" && asked.above.starts_with("maven");
    Some(match () {
        () if asked.folder == ".docker" && asked.name == "config.json"
            || containers && asked.is(&["auth.json", "config.json"])
            || asked.is(&[".dockercfg", ".dockerconfigjson"]) =>
        {
            ("secrets_registry_credentials", Look::Text(file::registry))
        }
        () if asked.is(&[".npmrc", "npmrc", ".yarnrc", ".yarnrc.yml", "bunfig.toml"]) => ("secrets_npm_token", Look::Text(file::npm)),
        () if asked.name == ".pypirc" || asked.name == "auth.toml" && asked.folder.contains("poetry") => {
            ("secrets_python_package_credentials", Look::Text(file::named))
        }
        () if asked.is(&["pip.conf", "pip.ini", "uv.toml", ".condarc", "pydistutils.cfg", ".pydistutils.cfg"]) || requirements => {
            ("secrets_python_package_credentials", Look::Text(file::shown))
        }
        () if asked.name == "settings-security.xml" && maven || asked.name == "settings.xml" => ("secrets_other_package_credentials", Look::Text(file::maven)),
        () if asked.name == "gradle.properties" => ("secrets_other_package_credentials", Look::Text(file::named)),
        () if [".gem", ".cargo"].contains(&asked.folder) && asked.is(&["credentials", "credentials.toml"]) => {
            ("secrets_other_package_credentials", Look::Text(file::package_key))
        }
        () if asked.folder == ".bundle" && asked.name == "config" => ("secrets_other_package_credentials", Look::Text(file::bundler)),
        () if asked.name.eq_ignore_ascii_case("nuget.config") => ("secrets_other_package_credentials", Look::Text(file::nuget)),
        () if asked.name == "auth.json" && asked.folder.contains("composer") => ("secrets_other_package_credentials", Look::Text(file::composer)),
        () if asked.name == ".credentials" && [".sbt", ".ivy2"].contains(&asked.folder) => ("secrets_other_package_credentials", Look::Text(file::named)),
        () => return None,
    })
}

fn accounts(asked: &Asked<'_>) -> Found1 {
    let git_config = asked.name == "config"
        && (asked.folder == ".git"
            || asked.path.contains("/.git/modules/")
            || asked.folder == "git" && asked.above == ".config"
            || asked.folder.ends_with(".git"));
    let program = ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"].iter().any(|folder| asked.below(folder));
    let apt = asked.path == "/etc/apt/auth.conf" || asked.below("/etc/apt/auth.conf.d/");
    let env = asked.name == ".env" || asked.name.starts_with(".env.") || asked.name == ".envrc" || asked.ends(&[".env"]) || asked.folder == "environment.d";
    let sample = ["example", "sample", "template", "dist", "tpl", "tmpl", "defaults", "schema"]
        .iter()
        .any(|word| asked.name.ends_with(word) || asked.name.contains(&format!(".{word}.")));
    Some(match () {
        () if asked.is(&[".netrc", "_netrc", ".authinfo"]) || apt => ("secrets_netrc", Look::Text(file::netrc)),
        () if asked.name == ".git-credentials" || asked.path.ends_with("/.config/git/credentials") => {
            ("secrets_git_credentials", Look::Text(file::git_credentials))
        }
        () if git_config || asked.is(&[".gitconfig", ".gitmodules", "gitconfig"]) => ("secrets_git_credentials", Look::Text(file::shown)),
        () if ["gh", "glab-cli", "hub", ".config"].contains(&asked.folder) && asked.is(&["hosts.yml", "config.yml", "hub"]) => {
            ("secrets_git_credentials", Look::Text(file::token))
        }
        () if asked.is(&[".pgpass", "pgpass", "pgpass.conf"]) => ("secrets_database_passwords", Look::Text(file::pgpass)),
        () if asked.is(&[".my.cnf", "my.cnf", "client.cnf", "mysql.cnf", "debian.cnf", ".mariadb.cnf"]) => {
            ("secrets_database_passwords", Look::Text(file::named))
        }
        () if asked.is(&[".pg_service.conf", "pg_service.conf", "odbc.ini", ".odbc.ini"]) => ("secrets_database_passwords", Look::Text(file::named)),
        () if asked.is(&["redis.conf", "sentinel.conf", "valkey.conf"]) => ("secrets_database_passwords", Look::Text(file::redis)),
        () if asked.path.contains("/docker-entrypoint-initdb.d/") && asked.ends(&[".sql"]) => ("secrets_database_passwords", Look::Text(file::sql)),
        () if asked.name == ".mylogin.cnf" => ("secrets_database_passwords", Look::Present),
        () if env && !sample => ("secrets_env_files", Look::Text(file::named)),
        () if (asked.is(&["htpasswd", ".htpasswd", ".htdigest", "htdigest"]) || asked.ends(&[".htpasswd"])) && !program => {
            ("secrets_htpasswd", Look::Text(file::web_password))
        }
        () => return None,
    })
}

fn remains(asked: &Asked<'_>) -> Found1 {
    const SHELLS: [&str; 11] = ["bash", "ash", "sh", "zsh", "python", "mysql", "psql", "sqlite", "node_repl", "rediscli", "irb"];
    let history = asked
        .name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix("history"))
        .is_some_and(|shell| SHELLS.contains(&shell.strip_suffix('_').unwrap_or(shell)));
    let core = asked.is(&["core", "vmcore"]) || asked.name.strip_prefix("core.").is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|c| c.is_ascii_digit()));
    let of_system = ["/usr/", "/lib/", "/opt/", "/proc/", "/sys/"].iter().any(|folder| asked.below(folder));
    Some(match () {
        () if history => ("secrets_shell_history", Look::Text(file::any_line)),
        () if core && !of_system => ("secrets_core_dumps", if asked.name == "core" { Look::Core } else { Look::Present }),
        () if asked.ends(&[".kdbx", ".p12", ".pfx", ".ovpn"]) => ("secrets_password_stores", Look::Present),
        () if asked.below("/var/lib/cloud/") && asked.is(&["user-data", "user-data.txt", "vendor-data", "vendor-data.txt"]) => {
            ("secrets_cloud_init", Look::Present)
        }
        () if ["/preseed.cfg", "/root/anaconda-ks.cfg", "/root/original-ks.cfg"].contains(&asked.path) => ("secrets_cloud_init", Look::Present),
        () => return None,
    })
}

/// Whether a file is looked at for tokens whatever its name: the application's and people's files, not what packages bring, nor tests and documentation.
pub(super) fn is_searched(path: &str) -> bool {
    const SYSTEM: [&str; 16] = [
        "/usr/",
        "/lib/",
        "/lib64/",
        "/bin/",
        "/sbin/",
        "/boot/",
        "/proc/",
        "/sys/",
        "/dev/",
        "/run/tidewaiter/",
        "/var/lib/dpkg/",
        "/var/lib/rpm/",
        "/var/lib/apt/",
        "/var/cache/",
        "/etc/ssl/certs/",
        "/etc/pki/",
    ];
    const OURS_IN_USR: [&str; 4] = ["/usr/src/", "/usr/app/", "/usr/local/", "/usr/share/nginx/html/"];
    const SYSTEM_IN_LOCAL: [&str; 9] = ["lib", "lib64", "libexec", "share", "include", "go", "bundle", "rustup", "cargo"];
    const OTHERS: [&str; 20] = [
        "node_modules",
        "site-packages",
        "dist-packages",
        "vendor",
        "gems",
        "__pycache__",
        "test",
        "tests",
        "testdata",
        "fixtures",
        "spec",
        "specs",
        "__tests__",
        "examples",
        "example",
        "samples",
        "docs",
        "doc",
        "locale",
        "i18n",
    ];
    let system = SYSTEM.iter().any(|folder| path.starts_with(folder)) && !OURS_IN_USR.iter().any(|folder| path.starts_with(folder));
    let local = path.strip_prefix("/usr/local/").and_then(|rest| rest.split_once('/')).is_some_and(|(folder, _)| SYSTEM_IN_LOCAL.contains(&folder));
    let objects = ["/.git/objects/", "/go/pkg/mod/", "/.cargo/registry/"].iter().any(|folder| path.contains(folder));
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    !system && !local && !objects && !folders.split('/').any(|folder| OTHERS.contains(&folder))
}
