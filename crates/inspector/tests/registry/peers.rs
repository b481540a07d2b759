//! Registries of Debian's package docker-registry, each on a free port, gone with the test.

use crate::images::{Image, digest};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub struct Registry {
    process: Child,
    port: u16,
    dir: tempfile::TempDir,
    tls: bool,
    login: Option<String>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a program to its end; its words are in the panic when it fails.
fn run(command: &mut Command) -> Vec<u8> {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

pub fn openssl(dir: &Path, arguments: &str) -> Vec<u8> {
    run(Command::new("openssl").args(arguments.split(' ')).current_dir(dir))
}

/// A CA (ca.pem) and a certificate of it for 127.0.0.1 (cert.pem, key.pem).
fn certificates(dir: &Path) {
    openssl(dir, "req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=test-ca");
    openssl(dir, "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=test");
    fs::write(dir.join("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(dir, "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out cert.pem -days 2 -extfile extensions");
}

impl Registry {
    pub async fn open() -> Self {
        Self::start(tempfile::tempdir().unwrap(), "", "", None).await
    }

    pub async fn with_password(user: &str, password: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("htpasswd"), run(Command::new("htpasswd").args(["-Bbn", user, password]))).unwrap();
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", dir.path().join("htpasswd").display());
        Self::start(dir, &auth, "", Some(format!("{user}:{password}"))).await
    }

    pub async fn with_tokens(tokens: &TokenServer) -> Self {
        let auth = format!(
            "auth: {{token: {{realm: \"{}\", service: test-registry, issuer: test-issuer, rootcertbundle: {}}}}}\n",
            tokens.realm,
            tokens.signer.dir.path().join("ca.pem").display()
        );
        Self::start(tempfile::tempdir().unwrap(), &auth, "", Some(tokens.signer.login.clone())).await
    }

    pub async fn with_tls() -> Self {
        Self::with_certificate(certificates).await
    }

    /// Behind TLS, with what `make` puts into cert.pem and key.pem.
    pub async fn with_certificate(make: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let tls = format!(", tls: {{certificate: {0}/cert.pem, key: {0}/key.pem}}", dir.path().display());
        Self::start(dir, "", &tls, None).await
    }

    async fn start(dir: tempfile::TempDir, auth: &str, tls: &str, login: Option<String>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut config = format!("version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", dir.path().join("storage").display());
        write!(config, "http: {{addr: \"127.0.0.1:{port}\"{tls}}}\n{auth}").unwrap();
        let file = dir.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let process = Command::new("docker-registry").arg("serve").arg(file).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let registry = Self { process, port, dir, tls: !tls.is_empty(), login };
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "{}", fs::read_to_string(registry.dir.path().join("log")).unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        registry
    }

    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Pushes with skopeo; the image's name by digest.
    pub fn push(&self, image: &Image, name: &str) -> String {
        let layout = tempfile::tempdir().unwrap();
        image.write(layout.path());
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "--preserve-digests"]);
        if let Some(login) = &self.login {
            skopeo.args(["--dest-creds", login]);
        }
        run(skopeo.arg(format!("oci:{}:image", layout.path().display())).arg(format!("docker://{}/{name}:latest", self.host())));
        format!("{}/{name}@{}", self.host(), image.digest())
    }

    /// Pushes a list that names `image` (there already) for this machine, and an attestation before it; gives its name and size.
    pub async fn push_list(&self, image: &Image, name: &str) -> (String, usize) {
        self.push_list_of("application/vnd.oci.image.manifest.v1+json", &image.digest(), image.manifest.len(), name).await
    }

    /// As [`Registry::push_list`], of any manifest or list.
    pub async fn push_list_of(&self, kind: &str, named: &str, size: usize, name: &str) -> (String, usize) {
        assert!(!self.tls && self.login.is_none());
        let entry =
            |os: &str, architecture: &str| json!({"mediaType": kind, "digest": named, "size": size, "platform": {"os": os, "architecture": architecture}});
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let index = "application/vnd.oci.image.index.v1+json";
        let list = json!({"schemaVersion": 2, "mediaType": index, "manifests": [entry("unknown", "unknown"), entry("linux", architecture)]}).to_string();
        let name = format!("{}/{name}@{}", self.host(), digest(list.as_bytes()));
        let url = format!("http://{}", name.replacen('/', "/v2/", 1).replace('@', "/manifests/"));
        let size = list.len();
        let answer = reqwest::Client::new().put(url).header("content-type", index).body(list).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        (name, size)
    }

    /// Changes a byte of a blob behind the registry's back.
    pub fn damage(&self, digest: &str) {
        let hex = &digest[7..];
        let file: PathBuf = self.dir.path().join(format!("storage/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    }
}

/// A token server as Docker's specification has it: signed JSON web tokens for whoever knows the password.
pub struct TokenServer {
    realm: String,
    signer: Arc<Signer>,
}

struct Signer {
    dir: tempfile::TempDir,
    login: String,
    scopes: Mutex<Vec<String>>,
}

impl TokenServer {
    pub async fn start(user: &str, password: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let signer = Arc::new(Signer { dir, login: format!("{user}:{password}"), scopes: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let app = Router::new().route("/token", get(token)).with_state(Arc::clone(&signer));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { realm, signer }
    }

    /// What was asked for so far.
    pub fn scopes(&self) -> Vec<String> {
        self.signer.scopes.lock().unwrap().clone()
    }
}

async fn token(State(signer): State<Arc<Signer>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Json<serde_json::Value>, StatusCode> {
    let expected = format!("Basic {}", STANDARD.encode(&signer.login));
    let known = match headers.get("authorization") {
        None => false,
        Some(value) if value.as_bytes() == expected.as_bytes() => true,
        Some(_) => return Err(StatusCode::UNAUTHORIZED),
    };
    let query = query.unwrap_or_default();
    let scopes: Vec<String> = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "scope").map(|(_, scope)| scope.into_owned()).collect();
    signer.scopes.lock().unwrap().extend(scopes.clone());
    Ok(Json(json!({"token": signer.sign(if known { &scopes } else { &[] })})))
}

impl Signer {
    fn sign(&self, scopes: &[String]) -> String {
        let access: Vec<_> = scopes
            .iter()
            .filter_map(|scope| {
                let mut parts = scope.split(':');
                let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
                Some(json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}))
            })
            .collect();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let claims =
            json!({"iss": "test-issuer", "sub": "puller", "aud": "test-registry", "exp": now + 300, "nbf": now - 60, "iat": now, "jti": "1", "access": access});
        let der = openssl(self.dir.path(), "x509 -in cert.pem -outform DER");
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [STANDARD.encode(der)]});
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let input = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        fs::write(input.path(), &signed).unwrap();
        let signature = openssl(self.dir.path(), &format!("dgst -sha256 -sign key.pem {}", input.path().display()));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
