//! What stands where a secret will be, or showed one that was taken away.

/// Words that say that a value is none, wherever they stand in it.
const SAYING: [&str; 19] = [
    "example",
    "placeholder",
    "redacted",
    "replaceme",
    "replacethis",
    "replacewith",
    "notareal",
    "notset",
    "todo",
    "fixme",
    "dummy",
    "insertyour",
    "enteryour",
    "putyour",
    "goeshere",
    "tobeset",
    "tobereplaced",
    "secretgoes",
    // kubectl config view
    "dataomitted",
];
/// Words that a value that is none begins with.
const BEGINNING: [&str; 6] = ["your", "insert", "my own ", "some-", "put-", "enter-"];

/// Whether `value` only stands for a secret: a reference to a variable, a template, a mask, a word of documentation, or an example key of a provider.
///
/// A default that is really set (`changeme`, `postgres`) is no placeholder: the container starts with it. `${NAME:-default}` is what its default is.
pub fn is_placeholder(value: &str) -> bool {
    // A shell's command.
    if value.trim().strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).is_some_and(|inner| inner.trim().contains(' ')) {
        return true;
    }
    let value = unquoted(value);
    if value.is_empty() {
        return true;
    }
    match default_of(value) {
        Some(default) => default.is_empty() || is_placeholder(default),
        None => is_reference(value) || is_mask(value) || is_documentation(value),
    }
}

/// `value` without white space and quotes around it, also without escaped ones.
pub(super) fn unquoted(value: &str) -> &str {
    let mut value = value.trim();
    loop {
        let bare = value.trim_end_matches('\\').trim();
        let inner = ['"', '\'', '`'].iter().find_map(|quote| bare.strip_prefix(*quote)?.strip_suffix(*quote));
        match inner.or_else(|| value.strip_prefix("\\\"").map(|inner| inner.trim_end_matches(['"', '\\']))) {
            Some(inner) => value = inner.trim(),
            None => return value,
        }
    }
}

/// The default of a shell's `${NAME:-default}` or Spring's `${NAME:default}`, when that is the whole value.
fn default_of(value: &str) -> Option<&str> {
    let inner = value.strip_prefix("${")?.strip_suffix('}')?;
    let end = inner.find(|c: char| !is_word(c) && c != '.')?;
    // Kafka's, log4j's and Serverless's providers: what follows is where it stands.
    const PROVIDERS: [&str; 11] = ["file", "env", "sys", "directory", "vault", "secret", "secrets", "ssm", "cf", "aws", "java"];
    if inner[end..].starts_with(':') && PROVIDERS.contains(&&inner[..end]) {
        return None;
    }
    let rest = &inner[end..];
    let default = [":-", "-", ":=", "=", ":"].iter().find_map(|operator| rest.strip_prefix(operator))?;
    (!default.starts_with('?') && !default.contains("${")).then_some(default)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_reference(value: &str) -> bool {
    const TEMPLATES: [&str; 10] = ["${", "$(", "$((", "{{", "{%", "<%", "#{", "%(", "$[", "%{"];
    const STORES: [&str; 26] = [
        "vault:",
        "arn:aws",
        "op://",
        "ssm:",
        "awssm:",
        "aws-sm:",
        "gcp:secret",
        "gcpsm:",
        "secretref:",
        "@microsoft.keyvault(",
        "akv:",
        "azurekeyvault:",
        "ref+",
        "env:",
        "file:",
        "keyring:",
        "secret:",
        "valuefrom:",
        "sm://",
        "keyvault:",
        "kv:",
        "!ref ",
        "!sub ",
        "!getatt ",
        "!env ",
        "doppler:",
    ];
    const ENCRYPTED: [&str; 5] = ["enc[", "enc(", "{cipher}", "$ansible_vault", "!vault"];
    let lower = value.to_ascii_lowercase();
    let enclosed = |open: &str, close: &str| value.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).is_some_and(|inner| !inner.is_empty());
    let worded = |open: &str, close: &str| {
        value
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
            .is_some_and(|inner| !inner.is_empty() && inner.chars().all(|c| is_word(c) || " .-".contains(c)))
    };
    TEMPLATES.iter().any(|sign| value.contains(sign))
        || STORES.iter().chain(&ENCRYPTED).any(|sign| lower.starts_with(sign))
        || value.starts_with("projects/") && ["/secrets/", "/locations/"].iter().any(|part| value.contains(part))
        || value.strip_prefix('$').is_some_and(|name| !name.is_empty() && name.chars().all(is_word))
        || value.strip_prefix('%').is_some_and(|rest| rest.len() <= 2 || rest.strip_suffix('%').is_some_and(|name| name.chars().all(is_word)))
        || enclosed("<", ">")
        || worded("[", "]")
        || worded("{", "}")
        || worded("(", ")")
        || worded("__", "__")
        || worded("@@", "@@")
        || worded("@", "@")
        || worded("((", "))")
        || ["process.env.", "os.environ", "getenv(", "env(", "ENV[", "secrets."].iter().any(|call| value.starts_with(call))
}

/// `****`, `xxxx-xxxx`, `…`, `-`: nothing but signs for what is not shown.
fn is_mask(value: &str) -> bool {
    let masking = |c: char| "*xX.-_#?•…=+ ".contains(c);
    value.chars().all(masking) || value.ends_with("...") || value.ends_with('…') || ["***", "xxxxx", "XXXXX", "•••"].iter().any(|mask| value.contains(mask))
}

fn is_documentation(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let plain: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
    const WHOLE: [&str; 10] = ["setme", "fillme", "fillmein", "fillin", "fillthisin", "injected", "fromsecret", "fromenv", "fromvault", "overrideme"];
    let here = plain.ends_with("here") && plain.len() > 8 && plain.chars().all(|c| c.is_ascii_alphabetic());
    here || WHOLE.contains(&plain.as_str())
        || plain.ends_with("atruntime")
        || SAYING.iter().any(|word| plain.contains(word))
        || BEGINNING.iter().any(|word| lower.starts_with(word))
        || ["-your-", "_your_", " your "].iter().any(|word| lower.contains(word))
}
