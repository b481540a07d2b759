//! What a variable's, option's or field's name says of its value.

/// How far a name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Whatever is set is a password, a short number too.
    Password,
    /// What is set is a secret, unless it is a number or a measure.
    Secret,
    /// It may be a secret: when it looks made by chance.
    Perhaps,
    /// It is none.
    Nothing,
}

/// Words after which a name is not about the secret itself but about something of it.
const ABOUT: &str = "FILE FILES FILENAME PATH PATHS DIR DIRECTORY FOLDER LOCATION MOUNT VOLUME URL URLS URI HOST PORT ENDPOINT ADDR ADDRESS SERVER NAME NAMES ID IDS TYPE \
    KIND CLASS TTL LENGTH LEN MIN MAX SIZE COUNT LIMIT LIMITS BUDGET EXPIRY EXPIRE EXPIRES EXPIRATION EXP IN TIMEOUT LIFETIME LIFESPAN VALIDITY AGE DAYS \
    HOURS MINUTES SECONDS SECS MS INTERVAL DURATION POLICY POLICIES ALGORITHM ALGO ALG METHOD MODE FORMAT ENABLED ENABLE DISABLED DISABLE REQUIRED REQUIRE \
    OPTIONAL REGEX PATTERN HEADER HEADERS FIELD COLUMN PARAM ISSUER ISS AUDIENCE AUD PROVIDER BACKEND STORE STORAGE MANAGER SERVICE VERSION REF REFERENCE \
    ARN PREFIX SUFFIX STRENGTH ROUNDS ITERATIONS COST HASHER HASHERS HASHING HINT PROMPT RESET ALLOWED CHECK CHANGE LABEL DESCRIPTION USERNAME USER EMAIL \
    DOMAIN REGION SCOPE SCOPES PARALLELISM STDIN SHA256 SHA512 SHA1 MD5 CHECKSUM FINGERPRINT DIGEST RENEWAL REFRESH ROTATION ROTATE VALIDATOR VALIDATORS \
    VALIDATION ENCODER ENCRYPTION QUALITY HISTORY COMPLEXITY CHARS CHARACTERS GRANT FLOW EXCHANGE REVIEW ENGINE OPS OPTS OPTIONS CONFIG VAR ENV SOURCE \
    STRATEGY PLUGIN CACHE COOKIE LEEWAY ENCODING LANG SALTED DUMMY PARSER GENERATOR LOGIN AUTHENTICATION SUPPORT RATE WINDOW BUCKET BYTES BITS CREATOR \
    EMPTY RULE RULES MIDDLEWARE MIDDLEWARES ENTRYPOINTS PRIORITY CONTRACT SYMBOL DECIMALS SUPPLY";
/// Words that leave a name what it is: which secret, or in which form.
const OF_IT: &str = "BASE VALUE PROD PRODUCTION DEV DEVELOPMENT STAGING STAGE QA CI TEST CURRENT PREVIOUS OLD NEW PRIMARY SECONDARY DEFAULT ROOT ADMIN PLAIN PLAINTEXT TEXT \
    RAW B64 BASE64 ENCODED JSON HEX RO RW READ READONLY WRITE MASTER REPLICA LIVE INITIAL HASH BIND";
/// Words before a token, secret or key that make it none, or one for everybody.
const NOT_OURS: &str = "PUBLIC PUBLISHABLE ANON MAX MIN NUM TOTAL PER PAD EOS BOS UNK SEP CLS MASK STOP SPECIAL OUTPUT CONTEXT COMPLETION PROMPT PULL EXISTING \
    IMAGEPULL GPG PGP SITE FOREIGN PARTITION SORT HOT CSRF XSRF TRUSTED AUTHORIZED ALLOW ALLOWED IGNORE ENABLE DISABLE \
    USE HAS IS NO SKIP REQUIRE RECV INSTRUMENTATION FINGERPRINT VERIFY VERIFICATION OBJECT KNOWN";
/// Words before one that leave it open whose it is: `PRIMARY_KEY=user_id` is a column, `COSMOS_PRIMARY_KEY` a secret. The value decides.
const MAYBE_OURS: &str = "TLS K8S KUBE KUBERNETES PRIMARY HOST CHECK MAP CACHE INPUT CERT CERTIFICATE INGRESS";
/// What makes a key a secret one.
const SECRET_KEYS: &str = "API ACCESS SECRET PRIVATE ENCRYPTION ENCRYPT DECRYPTION SIGNING SIGN SIGNATURE MASTER ACCOUNT STORAGE AUTH SERVICE ADMIN APP APPLICATION LICENSE \
    SHARED SUBSCRIPTION FUNCTION INTEGRATION WRITE DEPLOY CRYPT AES HMAC JWT COOKIE SESSION SECURITY WEBHOOK CLIENT ROOT PRESHARED PSK SERVER USER TOKEN";

/// The words of a name, in capitals: parted at signs and where small letters meet capitals, without digits at their ends.
fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, c) in chars.iter().enumerate() {
        let after_small = at > 0 && (chars[at - 1].is_ascii_lowercase() || chars[at - 1].is_ascii_digit());
        let before_small = at > 0 && chars[at - 1].is_ascii_uppercase() && chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if !c.is_ascii_alphanumeric() || c.is_ascii_uppercase() && (after_small && chars[at - 1].is_ascii_lowercase() || before_small) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_uppercase());
        }
    }
    let keeps_digits = |word: &str| matches!(word, "SHA256" | "SHA512" | "SHA1" | "MD5" | "B64" | "BASE64" | "K8S");
    let words = words.into_iter().map(|word| if keeps_digits(&word) { word } else { word.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned() });
    words.filter(|word| !word.is_empty()).collect()
}

/// Whether `word` is one of `list`'s, which white space parts.
fn listed(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|listed| listed == word)
}

/// What a word says by itself, with the one before it.
fn noun(word: &str, before: Option<&str>) -> Option<Meaning> {
    const GLUED: [&str; 22] = [
        "DBPASS",
        "ROOTPASS",
        "ADMINPASS",
        "USERPASS",
        "STOREPASS",
        "KEYPASS",
        "KEYSTOREPASS",
        "TRUSTSTOREPASS",
        "SMTPPASS",
        "FTPPASS",
        "REQUIREPASS",
        "MASTERAUTH",
        "SSHPASS",
        "MYSQLPASS",
        "LDAPPASS",
        "DBPWD",
        "ROOTPWD",
        "ADMINPWD",
        "USERPWD",
        "PASSWORT",
        "PASSCODE",
        "PASSKEY",
    ];
    let ends = |ends: &[&str]| ends.iter().any(|end| word.ends_with(end));
    match word {
        "PASS" | "PW" => Some(Meaning::Password),
        "PWD" => before.is_some_and(|before| before != "OLD").then_some(Meaning::Password),
        _ if ends(&["PASSWORD", "PASSWD", "PASSPHRASE", "PASSWORDS"]) || GLUED.contains(&word) => Some(Meaning::Password),
        "AUTH" if before == Some("REDISCLI") => Some(Meaning::Password),
        // Who has it runs code in an Erlang node.
        "COOKIE" if matches!(before, Some("ERLANG" | "ERL" | "RELEASE")) => Some(Meaning::Secret),
        "AUTH" | "PAT" | "CREDENTIAL" | "CREDENTIALS" | "CREDS" | "BEARER" | "SALT" | "PEPPER" | "COOKIE" | "MNEMONIC" | "JWT" => Some(Meaning::Perhaps),
        "BASICAUTH" | "DIGESTAUTH" => Some(Meaning::Perhaps),
        "KEY" | "KEYS" => Some(if before.is_some_and(|before| listed(SECRET_KEYS, before)) { Meaning::Secret } else { Meaning::Perhaps }),
        _ if ends(&[
            "APIKEY",
            "SECRETKEY",
            "ACCESSKEY",
            "PRIVATEKEY",
            "ENCRYPTIONKEY",
            "MASTERKEY",
            "ACCOUNTKEY",
            "AUTHKEY",
            "LICENSEKEY",
            "SIGNINGKEY",
            "APIKEYS",
        ]) =>
        {
            Some(Meaning::Secret)
        }
        "PSK" => Some(Meaning::Secret),
        // Mostly a list of names.
        "SECRETS" => Some(Meaning::Perhaps),
        _ if ends(&["SECRET", "SECRETS", "TOKEN", "TOKENS"]) => Some(Meaning::Secret),
        _ => None,
    }
}

/// What `name` says: by the last word in it that is a secret's, what stands before that and what follows.
pub(super) fn meaning(name: &str) -> Meaning {
    let words = words(name);
    // It names no token: it is one.
    if words.ends_with(&["DEV", "ROOT", "TOKEN", "ID"].map(str::to_owned)) {
        return Meaning::Secret;
    }
    // A name by which etcd's members know each other.
    if words.ends_with(&["INITIAL", "CLUSTER", "TOKEN"].map(str::to_owned)) {
        return Meaning::Nothing;
    }
    let before = |at: usize| at.checked_sub(1).map(|at| words[at].as_str());
    let Some((at, mut meaning)) = (0..words.len()).rev().find_map(|at| Some((at, noun(&words[at], before(at))?))) else { return Meaning::Nothing };
    // PGP_KEY_ID, PASSWORD_MIN_LENGTH.
    // A refresh secret is one, the refresh of a token is none.
    let is_about = |at: usize, word: &String| listed(ABOUT, word) && !(word == "REFRESH" && words[at].ends_with("SECRET"));
    if words[at + 1..].iter().enumerate().any(|(n, word)| is_about(at + n, word)) {
        return Meaning::Nothing;
    }
    if words[at + 1..].iter().any(|word| !listed(OF_IT, word)) {
        meaning = Meaning::Perhaps;
    }
    let not_ours = words[..at].iter().any(|word| listed(NOT_OURS, word));
    let maybe_ours = || words[..at].iter().find(|word| listed(MAYBE_OURS, word));
    match meaning {
        Meaning::Password => Meaning::Password,
        _ if not_ours && !words[..at].iter().any(|word| word == "PRIVATE" || word == "SECRET") => Meaning::Nothing,
        Meaning::Secret if maybe_ours().is_some() => Meaning::Perhaps,
        // HOST_KEY and CACHE_KEY are a path and a name; Azure calls its secrets primary keys.
        Meaning::Perhaps if maybe_ours().is_some_and(|word| word != "PRIMARY") => Meaning::Nothing,
        // A lone KEY is any key.
        Meaning::Perhaps if words.len() == 1 && words[0].starts_with("KEY") => Meaning::Nothing,
        meaning => meaning,
    }
}

/// Whether a label says for people what an image is and how it is started: what stands there is set nowhere.
pub(super) fn is_documentation(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    name.contains("docker.cmd") || ["usage", "summary", "description", "documentation", "help"].contains(&last)
}

/// Whether a command is set under the name.
pub(super) fn is_command(name: &str) -> bool {
    words(name).last().is_some_and(|last| matches!(last.as_str(), "COMMAND" | "CMD" | "ENTRYPOINT" | "ARGS"))
}

/// Whether the name is one of the words that a wallet is made from.
pub(super) fn is_phrase(name: &str) -> bool {
    words(name).iter().any(|word| matches!(word.as_str(), "MNEMONIC" | "SEED" | "PHRASE" | "RECOVERY" | "WALLET"))
}

/// Whether `value` only repeats `name`: `API_KEY=API_KEY`, `apiKey=api-key`.
pub(super) fn is_repeated(name: &str, value: &str) -> bool {
    let words = words(name);
    words.len() > 1 && value.len() <= 64 && self::words(value) == words
}

/// Whether the name counts something: `MAX_TOKENS`, `TOKENS_PER_MINUTE`.
pub(super) fn is_plural(name: &str) -> bool {
    words(name).iter().any(|word| word.ends_with("TOKENS"))
}

/// The last word of a name that is a secret's.
fn last_noun(words: &[String]) -> Option<(Meaning, &str)> {
    words.iter().enumerate().rev().find_map(|(at, word)| {
        let before = at.checked_sub(1).map(|at| words[at].as_str());
        noun(word, before).map(|meaning| (meaning, word.as_str()))
    })
}

/// Whether the name is a key's, which may be a public one that is called by its fingerprint.
pub(super) fn is_key(name: &str) -> bool {
    matches!(last_noun(&words(name)), Some((_, "KEY" | "KEYS")))
}

/// What a secret of this name is called.
pub(super) fn what(name: &str) -> &'static str {
    match last_noun(&words(name)) {
        Some((Meaning::Password, _)) => "password",
        Some((_, word)) if word.ends_with("TOKEN") || word.ends_with("TOKENS") => "token",
        Some((_, word)) if word.ends_with("KEY") || word.ends_with("KEYS") => "key",
        _ => "secret",
    }
}
