//! A pasted or uploaded kubeconfig → a connection. Only what is written inside it counts: files and programs of the machine it was made on are not here.
//!
//! Source: <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>

use crate::connection::{Auth, Connection, checked_ca, endpoint_of};
use crate::failure::ConnectError;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;

const FLATTEN: &str = "Make one that stands alone with: kubectl config view --minify --flatten --raw";
const SERVICE_ACCOUNT: &str = "Use the token of a ServiceAccount instead; config/kubernetes-provider.yaml makes one.";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    current_context: Option<String>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: Option<String>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    username: Option<String>,
    password: Option<String>,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: Option<String>,
}

/// See [`Connection::from_kubeconfig`].
pub(crate) fn parse(text: &str, context: Option<&str>) -> Result<Connection, ConnectError> {
    let file: File = serde_yaml_ng::from_str(text).map_err(|error| {
        ConnectError::input(format!("This is not a kubeconfig: {error}."), "Paste the whole output of: kubectl config view --minify --flatten --raw")
    })?;
    let context = chosen_context(&file, context)?;
    let cluster = file
        .clusters
        .iter()
        .find(|each| each.name == context.cluster)
        .ok_or_else(|| ConnectError::input(format!("The kubeconfig's context names cluster {:?}, which it does not have.", context.cluster), FLATTEN))?;
    let user = context
        .user
        .as_ref()
        .and_then(|name| file.users.iter().find(|each| &each.name == name))
        .ok_or_else(|| ConnectError::input("The kubeconfig's context has no user to log in as.", FLATTEN))?;
    connection(&cluster.cluster, &user.user)
}

fn chosen_context<'a>(file: &'a File, wanted: Option<&str>) -> Result<&'a Context, ConnectError> {
    let names = file.contexts.iter().map(|each| each.name.as_str()).collect::<Vec<_>>().join(", ");
    let wanted = wanted.map(str::trim).filter(|name| !name.is_empty()).or(file.current_context.as_deref().filter(|name| !name.is_empty()));
    let Some(wanted) = wanted.or(match file.contexts.as_slice() {
        [only] => Some(&only.name),
        _ => None,
    }) else {
        return Err(ConnectError::input("The kubeconfig has no current context.", format!("Name one of its contexts: {names}.")));
    };
    file.contexts
        .iter()
        .find(|each| each.name == wanted)
        .map(|each| &each.context)
        .ok_or_else(|| ConnectError::input(format!("The kubeconfig has no context {wanted:?}."), format!("Its contexts are: {names}.")))
}

fn connection(cluster: &Cluster, user: &User) -> Result<Connection, ConnectError> {
    if cluster.proxy_url.is_some() {
        return Err(ConnectError::input(
            "The kubeconfig reaches its cluster through a proxy (proxy-url), which Tidewaiter does not do.",
            "Give an address that this server reaches directly.",
        ));
    }
    let ca_pem = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (Some(data), _) => checked_ca(&decode(data, "certificate-authority-data")?)?,
        (None, Some(path)) => return Err(file_path("certificate-authority", path)),
        (None, None) => String::new(),
    };
    Ok(Connection {
        server: endpoint_of(cluster.server.as_deref().unwrap_or_default())?,
        ca_pem,
        auth: auth(user)?,
        insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
        tls_server_name: cluster.tls_server_name.clone(),
    })
}

fn auth(user: &User) -> Result<Auth, ConnectError> {
    if let (Some(certificate), Some(key)) = (&user.client_certificate_data, &user.client_key_data) {
        return Ok(Auth::ClientCertificate { certificate_pem: decode(certificate, "client-certificate-data")?, key_pem: decode(key, "client-key-data")? });
    }
    if let Some(token) = user.token.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
        return Ok(Auth::Token(token.to_owned()));
    }
    if let (Some(username), Some(password)) = (&user.username, &user.password) {
        return Ok(Auth::Basic { username: username.clone(), password: password.clone() });
    }
    if user.exec.is_some() {
        return Err(ConnectError::input("The kubeconfig logs in by running a program (exec), which Tidewaiter never does.", SERVICE_ACCOUNT));
    }
    if user.auth_provider.is_some() {
        return Err(ConnectError::input("The kubeconfig logs in through an auth-provider plugin, which Tidewaiter does not run.", SERVICE_ACCOUNT));
    }
    for (field, path) in [("tokenFile", &user.token_file), ("client-certificate", &user.client_certificate), ("client-key", &user.client_key)] {
        if let Some(path) = path {
            return Err(file_path(field, path));
        }
    }
    Err(ConnectError::input("The kubeconfig has neither a token nor a client certificate.", SERVICE_ACCOUNT))
}

fn file_path(field: &str, path: &str) -> ConnectError {
    ConnectError::input(format!("The kubeconfig points at a file of another machine ({field}: {path})."), FLATTEN)
}

fn decode(data: &str, field: &str) -> Result<String, ConnectError> {
    let compact: String = data.split_whitespace().collect();
    let bytes = BASE64_STANDARD.decode(compact).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    bytes.ok_or_else(|| ConnectError::input(format!("The kubeconfig's {field} is not base64 of a PEM text."), FLATTEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters:\n- name: c\n  cluster: {{server: 'https://10.99.1.1:6443'}}\n\
             users:\n- name: u\n  user: {user}\n- name: other\n  user: {{token: second}}\n\
             contexts:\n- name: a\n  context: {{cluster: c, user: u}}\n- name: b\n  context: {{cluster: c, user: other}}\n"
        )
    }

    #[test]
    fn the_current_context_or_the_named_one_is_taken() {
        let text = kubeconfig("{token: first}");
        assert_eq!(parse(&text, None).unwrap().auth, Auth::Token("first".into()));
        assert_eq!(parse(&text, Some("b")).unwrap().auth, Auth::Token("second".into()));
        let missing = parse(&text, Some("z")).unwrap_err();
        assert!(missing.advice.contains("a, b"), "{missing:?}");
    }

    #[test]
    fn what_lives_on_another_machine_is_refused_with_a_way_out() {
        for (user, word) in [
            ("{tokenFile: /var/token}", "tokenFile: /var/token"),
            ("{client-certificate: a.crt, client-key: a.key}", "client-certificate: a.crt"),
            ("{exec: {command: aws}}", "exec"),
            ("{auth-provider: {name: gcp}}", "auth-provider"),
            ("{}", "neither"),
            ("{client-certificate-data: '!', client-key-data: '!'}", "base64"),
        ] {
            let refusal = parse(&kubeconfig(user), None).unwrap_err();
            assert!(refusal.message.contains(word), "{user}: {refusal:?}");
            assert!(!refusal.advice.is_empty());
        }
    }

    #[test]
    fn something_else_than_a_kubeconfig_is_refused() {
        for text in ["", "hello", "[1, 2]", "a: {b", "clusters: 7"] {
            assert_eq!(parse(text, None).unwrap_err().reason, crate::Reason::Input, "{text:?}");
        }
    }
}
