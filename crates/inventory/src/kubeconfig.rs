//! A pasted or uploaded kubeconfig → a connection, by kubectl's rules. Only what is written inside it counts: files and programs of the machine it was
//! made on are not here. Only what the chosen context uses must be right.
//!
//! Source: <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>; client-go, `tools/clientcmd` (`validation.go`, `api/v1/conversion.go`).

mod document;

use crate::connection::{Auth, Connection, checked_ca, endpoint_of};
use crate::failure::ConnectError;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use document::Node;
use std::collections::HashSet;

const FLATTEN: &str = "Make one that stands alone with: kubectl config view --minify --flatten --raw";
const SERVICE_ACCOUNT: &str = "Use the token of a ServiceAccount instead; config/kubernetes-provider.yaml makes one.";
/// With padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

type Result<T> = std::result::Result<T, ConnectError>;

/// See [`Connection::from_kubeconfig`].
pub(crate) fn parse(text: &str, context: Option<&str>) -> Result<Connection> {
    let file = document::parse(text)?;
    must_be_config(&file)?;
    let (clusters, users, contexts) = (named(&file, "clusters")?, named(&file, "users")?, named(&file, "contexts")?);
    let context = chosen_context(&file, &contexts, context)?;
    let at = format!("context {:?}", context.name);
    let (cluster, user) = (text_of(context.node.get("context"), "cluster", &at)?, text_of(context.node.get("context"), "user", &at)?);
    let Some(cluster) = clusters.iter().find(|each| each.name == cluster) else {
        return Err(ConnectError::input(format!("The kubeconfig's {at} names cluster {cluster:?}, which it does not have."), FLATTEN));
    };
    if user.is_empty() {
        return Err(ConnectError::input(format!("The kubeconfig's {at} has no user to log in as."), FLATTEN));
    }
    let Some(user) = users.iter().find(|each| each.name == user) else {
        return Err(ConnectError::input(format!("The kubeconfig's {at} names user {user:?}, which it does not have."), FLATTEN));
    };
    connection(cluster, user)
}

fn must_be_config(file: &Node) -> Result<()> {
    if !matches!(file, Node::Map(_)) {
        let what = if file.is_null() { "It is empty".to_owned() } else { format!("It is {}", file.describe()) };
        return Err(ConnectError::input(
            format!("This is not a kubeconfig. {what}."),
            "Paste the whole output of: kubectl config view --minify --flatten --raw",
        ));
    }
    match (file.get("kind"), file.get("apiVersion")) {
        (Node::Text(kind), _) if !kind.is_empty() && kind != "Config" => Err(ConnectError::input(
            format!("This is not a kubeconfig but an object of the kind {kind:?}."),
            "Give the file that kubectl uses, usually ~/.kube/config.",
        )),
        (_, Node::Text(version)) if !version.is_empty() && version != "v1" => {
            Err(ConnectError::input(format!("The kubeconfig has the version {version:?}; only v1 is known."), FLATTEN))
        }
        _ => Ok(()),
    }
}

/// An entry of one of the lists.
struct Named<'a> {
    name: &'a str,
    node: &'a Node,
}

/// The entries of a list that may be null, as may each of them.
///
/// # Errors
/// A name comes twice: kubectl takes neither then.
fn named<'a>(file: &'a Node, list: &str) -> Result<Vec<Named<'a>>> {
    let entries = match file.get(list) {
        Node::Null => return Ok(Vec::new()),
        Node::List(entries) => entries,
        other => return Err(wrong(list, "a list", other)),
    };
    let mut found = Vec::new();
    for node in entries.iter().filter(|node| !node.is_null()) {
        let name = match node.get("name") {
            Node::Text(name) | Node::Number(name) => name.as_str(),
            Node::Bool(true) => "true",
            Node::Bool(false) => "false",
            _ => "",
        };
        found.push(Named { name, node });
    }
    let mut seen = HashSet::new();
    match found.iter().find(|each| !each.name.is_empty() && !seen.insert(each.name)) {
        Some(twice) => {
            let message = format!("The kubeconfig has two {list} named {:?}, and nothing says which counts.", twice.name);
            Err(ConnectError::input(message, "Remove or rename one of them; kubectl refuses such a file too."))
        }
        None => Ok(found),
    }
}

fn chosen_context<'a>(file: &'a Node, contexts: &'a [Named<'a>], wanted: Option<&'a str>) -> Result<&'a Named<'a>> {
    let names = contexts.iter().map(|each| each.name).collect::<Vec<_>>().join(", ");
    let current = match file.get("current-context") {
        Node::Text(name) | Node::Number(name) => name.as_str(),
        _ => "",
    };
    let wanted = wanted.map(str::trim).filter(|name| !name.is_empty()).unwrap_or(current);
    if let Some(found) = contexts.iter().find(|each| !wanted.is_empty() && each.name == wanted) {
        return Ok(found);
    }
    match contexts {
        [only] if wanted.is_empty() => Ok(only),
        [] => Err(ConnectError::input("The kubeconfig has no context.", FLATTEN)),
        _ if wanted.is_empty() => Err(ConnectError::input("The kubeconfig has no current context.", format!("Name one of its contexts: {names}."))),
        _ => Err(ConnectError::input(format!("The kubeconfig has no context {wanted:?}."), format!("Its contexts are: {names}."))),
    }
}

fn connection(cluster: &Named<'_>, user: &Named<'_>) -> Result<Connection> {
    let (node, at) = (cluster.node.get("cluster"), format!("cluster {:?}", cluster.name));
    let text = |field: &str| text_of(node, field, &at);
    if !text("proxy-url")?.is_empty() {
        return Err(ConnectError::input(
            "The kubeconfig reaches its cluster through a proxy (proxy-url), which Tidewaiter does not do.",
            "Give an address that this server reaches directly.",
        ));
    }
    let server = text("server")?;
    if server.trim().is_empty() {
        return Err(ConnectError::input(format!("The kubeconfig's {at} has no server."), FLATTEN));
    }
    let (data, path, insecure) = (text("certificate-authority-data")?, text("certificate-authority")?, truth_of(node, "insecure-skip-tls-verify", &at)?);
    let ca_pem = match (data, path) {
        ("", "") => String::new(),
        _ if insecure => {
            return Err(ConnectError::input(
                format!("The kubeconfig's {at} has both a certificate authority and insecure-skip-tls-verify, which exclude each other."),
                "Remove insecure-skip-tls-verify, so that the server's certificate is checked.",
            ));
        }
        ("", path) => return Err(file_path("certificate-authority", path)),
        (data, _) => checked_ca(&decode(data, "certificate-authority-data")?)?,
    };
    // Without a scheme or port kubectl asks at 443, and not at the port that people mean when they type an address.
    let server = server.trim();
    let server = if server.contains("://") { server.to_owned() } else { format!("https://{server}") };
    let name = text("tls-server-name")?.trim();
    Ok(Connection {
        server: endpoint_of(&server)?,
        ca_pem,
        auth: auth(user)?,
        insecure_skip_tls_verify: insecure,
        tls_server_name: Some(name.to_owned()).filter(|name| !name.is_empty()),
    })
}

fn auth(user: &Named<'_>) -> Result<Auth> {
    let (node, at) = (user.node.get("user"), format!("user {:?}", user.name));
    let text = |field: &str| text_of(node, field, &at);
    must_be_itself(node)?;
    let token = text("token")?.trim();
    let (username, password) = (text("username")?, text("password")?);
    let (certificate, key) = (text("client-certificate-data")?, text("client-key-data")?);
    let has_basic = !username.is_empty() || !password.is_empty();
    if !token.is_empty() && has_basic {
        return Err(ConnectError::input(
            format!("The kubeconfig's {at} has both a token and a password, and nothing says which counts."),
            "Remove one of them; kubectl refuses such a file too.",
        ));
    }
    if !certificate.is_empty() && !key.is_empty() {
        let (certificate_pem, key_pem) = (decode(certificate, "client-certificate-data")?, decode(key, "client-key-data")?);
        return Ok(Auth::ClientCertificate { certificate_pem, key_pem, token: Some(token.to_owned()).filter(|token| !token.is_empty()) });
    }
    for (field, path) in [("client-certificate", text("client-certificate")?), ("client-key", text("client-key")?)] {
        if !path.is_empty() {
            return Err(file_path(field, path));
        }
    }
    if !certificate.is_empty() {
        return Err(ConnectError::input(format!("The kubeconfig's {at} has a client certificate without its key (client-key-data)."), FLATTEN));
    }
    if !token.is_empty() {
        if token.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ConnectError::input(format!("The token of the kubeconfig's {at} has spaces or line breaks inside."), "Copy it again, as one line."));
        }
        return Ok(Auth::Token(token.to_owned()));
    }
    if !username.is_empty() {
        return Ok(Auth::Basic { username: username.to_owned(), password: password.to_owned() });
    }
    Err(no_login(node, &at, text("tokenFile")?))
}

/// Nobody else than the one who logs in.
fn must_be_itself(user: &Node) -> Result<()> {
    for field in ["as", "as-uid", "as-groups", "as-user-extra"] {
        let empty = match user.get(field) {
            Node::Null => true,
            Node::Text(text) => text.is_empty(),
            Node::List(items) => items.is_empty(),
            Node::Map(fields) => fields.is_empty(),
            _ => false,
        };
        if !empty {
            return Err(ConnectError::input(
                format!("The kubeconfig acts as somebody else ({field}), which Tidewaiter does not do: it would have other rights than those it was given."),
                SERVICE_ACCOUNT,
            ));
        }
    }
    Ok(())
}

/// What it logs in by instead.
fn no_login(user: &Node, at: &str, token_file: &str) -> ConnectError {
    if !user.get("exec").is_null() {
        return ConnectError::input("The kubeconfig logs in by running a program (exec), which Tidewaiter never does.", SERVICE_ACCOUNT);
    }
    if !user.get("auth-provider").is_null() {
        return ConnectError::input("The kubeconfig logs in through an auth-provider plugin, which Tidewaiter does not run.", SERVICE_ACCOUNT);
    }
    if !token_file.is_empty() {
        return file_path("tokenFile", token_file);
    }
    ConnectError::input(format!("The kubeconfig's {at} has neither a token nor a client certificate."), SERVICE_ACCOUNT)
}

/// The field's text; empty when it is missing, null or empty.
fn text_of<'a>(node: &'a Node, field: &str, at: &str) -> Result<&'a str> {
    match node.get(field) {
        Node::Null => Ok(""),
        Node::Text(text) => Ok(text),
        Node::Number(_) => Err(ConnectError::input(
            format!("In the kubeconfig's {at}, {field} is a number, whose exact digits are lost."),
            format!("Write it in quotes: {field}: \"…\""),
        )),
        other => Err(wrong(&format!("{field} of {at}"), "a text", other)),
    }
}

/// In YAML 1.1, which kubectl reads, `yes` and `on` are true as well.
fn truth_of(node: &Node, field: &str, at: &str) -> Result<bool> {
    match node.get(field) {
        Node::Null => Ok(false),
        Node::Bool(value) => Ok(*value),
        Node::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" | "" => Ok(false),
            _ => Err(wrong(&format!("{field} of {at}"), "true or false", node.get(field))),
        },
        other => Err(wrong(&format!("{field} of {at}"), "true or false", other)),
    }
}

fn wrong(what: &str, expected: &str, found: &Node) -> ConnectError {
    ConnectError::input(format!("The kubeconfig's {what} should be {expected}, and is {}.", found.describe()), FLATTEN)
}

fn file_path(field: &str, path: &str) -> ConnectError {
    let path: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
    ConnectError::input(format!("The kubeconfig points at a file of another machine ({field}: {path})."), FLATTEN)
}

fn decode(data: &str, field: &str) -> Result<String> {
    if data.contains("-----BEGIN") {
        return Err(ConnectError::input(format!("The kubeconfig's {field} holds the PEM text itself; it must be that text's base64."), FLATTEN));
    }
    let compact: String = data.split_whitespace().collect();
    let bytes = BASE64.decode(compact).map_err(|_| ConnectError::input(format!("The kubeconfig's {field} is not base64."), FLATTEN))?;
    // Text around a PEM block may have any encoding.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
