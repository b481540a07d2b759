//! Attacks on the server's door: whoever makes them, the others are answered meanwhile, and memory stays small.

use crate::support::eventually;
use crate::support::product::{PASSWORD, Product, program};
use crate::support::visitor::{Visitor, between};
use futures::future::join_all;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::{Certificate, Client, StatusCode};
use sqlx::{ConnectOptions, PgPool};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

/// What the server may take under any attack.
pub(crate) const MEMORY_MIB: u64 = 256;
/// On a machine that is busy with other tests; at rest it is a tenth.
pub(crate) const QUICK: Duration = Duration::from_secs(5);

/// Attackers need as many sockets as the server.
fn raise_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

fn server_address(product: &Product) -> SocketAddr {
    product.url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A socket from `address` that has sent `bytes`; `None` when the server would not have it.
async fn knock(server: SocketAddr, address: &str, bytes: &[u8]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    let mut stream = timeout(Duration::from_secs(10), socket.connect(server)).await.ok()?.ok()?;
    stream.write_all(bytes).await.ok()?;
    Some(stream)
}

pub(crate) async fn person(product: &Product, address: &str) -> Visitor {
    let mut person = Visitor::from(&product.url, address);
    let answer = person.log_in(PASSWORD).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    person
}

/// A known person's page, a stranger's login page, a new login and readiness, each quickly.
async fn others_are_answered(product: &Product, known: &mut Visitor, what: &str) {
    let start = Instant::now();
    assert_eq!(known.get("/tasks").await.status, StatusCode::OK, "{what}");
    assert_eq!(Visitor::from(&product.url, "127.9.9.9").get("/login").await.status, StatusCode::OK, "{what}");
    assert_eq!(Visitor::from(&product.url, "127.0.0.1").get("/login").await.status, StatusCode::OK, "{what}");
    person(product, "127.9.9.8").await;
    assert!(product.is_ready().await, "{what}");
    assert!(start.elapsed() < QUICK * 2, "{what}: {:?}", start.elapsed());
}

const HALF_HEADER: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ";
const HALF_BODY: &[u8] = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 15000\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nuserid=a";

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn half_open_connections_keep_nobody_out(pool: PgPool) {
    raise_files();
    let mut product = Product::start(&pool, &[]).await;
    let mut known = person(&product, "127.0.0.1").await;
    let server = server_address(&product);
    let mut live = events(server, &known).await;
    for (what, bytes, addresses) in
        [("half a header, one address", HALF_HEADER, 1), ("half a body, sixteen addresses", HALF_BODY, 16), ("nothing, many addresses", b"", 200)]
    {
        let mut sockets = Vec::new();
        for number in 0..1024 {
            // The first address is the known person's own.
            sockets.extend(knock(server, &format!("127.0.0.{}", number % addresses + 1), bytes).await);
        }
        assert!(sockets.len() > 500, "{what}: {}", sockets.len());
        others_are_answered(&product, &mut known, what).await;
    }
    known.submit("/", "/providers/refresh", &[]).await;
    assert!(!ended_within(&mut live, Duration::from_millis(100)).await, "the open page is still connected");
    assert!(product.is_running() && product.peak_memory_mib() <= MEMORY_MIB, "{} MiB", product.peak_memory_mib());
}

/// How long until the server ends a connection whose peer goes on with a byte a second.
async fn patience(server: SocketAddr, address: &str, bytes: &[u8], drip: &[u8]) -> Duration {
    let mut stream = knock(server, address, bytes).await.unwrap();
    let start = Instant::now();
    let mut buffer = [0; 4096];
    while start.elapsed() < Duration::from_secs(90) {
        match timeout(Duration::from_secs(1), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return start.elapsed(),
            Ok(Ok(_)) => {}
            Err(_) if stream.write_all(drip).await.is_err() => return start.elapsed(),
            Err(_) => {}
        }
    }
    panic!("{address} is still connected after {:?}", start.elapsed());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn slow_peers_are_waited_for_on_no_path(pool: PgPool) {
    let product = Product::start(&pool, &[]).await;
    let server = server_address(&product);
    let idle = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    let cases: [(Vec<u8>, &[u8]); 6] = [
        (HALF_HEADER.to_vec(), b"a"),
        (HALF_BODY.to_vec(), b"a"),
        (b"POST /api/providers HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n".to_vec(), b"a"),
        (idle("/login"), b""),
        (idle("/healthz"), b""),
        (Vec::new(), b""),
    ];
    let times = join_all(cases.iter().enumerate().map(|(n, (bytes, drip))| patience(server, ["127.0.2.1", "127.0.2.2"][n % 2], bytes, drip))).await;
    assert!(times.iter().all(|time| *time < Duration::from_secs(60)), "{times:?}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_body_that_never_ends_is_cut_off(pool: PgPool) {
    let mut product = Product::start(&pool, &[]).await;
    let server = server_address(&product);
    for start in ["POST /login", "GET /", "POST /api/providers", "POST /healthz"] {
        let head = format!("{start} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n");
        let mut stream = knock(server, "127.0.2.3", head.as_bytes()).await.unwrap();
        let chunk = [b"10000\r\n".as_slice(), &[b'a'; 65536], b"\r\n"].concat();
        let mut sent = 0;
        while sent < 64 << 20 && timeout(Duration::from_secs(60), stream.write_all(&chunk)).await.expect("it is read or cut off").is_ok() {
            sent += chunk.len();
        }
        assert!(sent < 64 << 20, "{start}: {sent} bytes were taken");
    }
    assert!(product.is_running() && product.peak_memory_mib() <= MEMORY_MIB, "{} MiB", product.peak_memory_mib());
}

/// An open page's stream of hints.
async fn events(server: SocketAddr, visitor: &Visitor) -> TcpStream {
    let request = format!("GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nCookie: {}\r\n\r\n", visitor.cookie_header());
    let mut stream = knock(server, "127.0.0.1", request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    timeout(Duration::from_secs(30), stream.read_exact(&mut head)).await.expect("it answers").unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

async fn ended_within(stream: &mut TcpStream, limit: Duration) -> bool {
    let end = async {
        let (mut buffer, mut tail) = ([0; 4096], Vec::new());
        // The last chunk has no bytes.
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            tail.extend_from_slice(&buffer[..read]);
            if tail.ends_with(b"0\r\n\r\n") {
                return;
            }
        }
    };
    timeout(limit, end).await.is_ok()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_hundred_open_pages_are_one_persons_and_end_with_the_session(pool: PgPool) {
    let product = Product::start(&pool, &[]).await;
    let mut known = person(&product, "127.0.0.1").await;
    let server = server_address(&product);
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(events(server, &known).await);
    }
    others_are_answered(&product, &mut known, "a hundred open pages").await;
    known.submit("/", "/logout", &[]).await;
    let ended = join_all(open.iter_mut().map(|stream| ended_within(stream, Duration::from_secs(60)))).await;
    assert_eq!(ended.into_iter().filter(|ended| *ended).count(), 100);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn health_pages_have_the_headers_and_no_next_page_breaks_the_login(pool: PgPool) {
    let product = Product::start(&pool, &[]).await;
    let mut known = person(&product, "127.0.0.1").await;
    for path in ["/healthz", "/readyz", "/login", "/api"] {
        let answer = known.get(path).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert!(answer.headers.contains_key("content-security-policy") && answer.headers.contains_key("x-request-id"), "{path}");
    }
    for next in ["/%00", "/%0A", "/%1F", "/%7F"] {
        let answer = known.get(&format!("/login?next={next}")).await;
        assert_eq!((answer.status, &answer.headers["location"]), (StatusCode::SEE_OTHER, &"/".parse().unwrap()), "{next}");
    }
}

async fn make_certificate(folder: &Path, name: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj"])
        .arg(format!("/CN={name}"))
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "tls.key", "-out", "tls.crt"])
        .current_dir(folder)
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn https(certificate: &[u8]) -> Client {
    let own = Certificate::from_pem(certificate).unwrap();
    let client = Client::builder().tls_certs_only([own]).redirect(reqwest::redirect::Policy::none()).pool_max_idle_per_host(0);
    client.timeout(Duration::from_secs(30)).build().unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn tls_has_host_cookies_strict_transport_and_takes_up_new_certificates(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    make_certificate(folder.path(), "first").await;
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let settings = [("SERVER__TLS_CERTIFICATE", file("tls.crt")), ("SERVER__TLS_KEY", file("tls.key"))];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let product = Product::start(&pool, &settings).await;
    assert!(product.url.starts_with("https://"), "{}", product.url);
    let first_certificate = std::fs::read(file("tls.crt")).unwrap();
    let first = https(&first_certificate);
    let mut person = Visitor::with(&product.url, first.clone());
    let login = person.log_in(PASSWORD).await;
    assert_eq!((login.status, &login.headers["strict-transport-security"]), (StatusCode::SEE_OTHER, &"max-age=31536000".parse().unwrap()));
    assert!(person.cookies.keys().all(|name| name.starts_with("__Host-tidewaiter_")), "{:?}", person.cookies.keys());
    assert_eq!(person.get("/tasks").await.status, StatusCode::OK);
    let answer = first.get(format!("{}/api", product.url)).basic_auth("admin", Some(PASSWORD)).send().await.unwrap();
    assert!(answer.text().await.unwrap().contains(&format!("\"{}/api/providers\"", product.url)), "addresses in answers are https");

    let plain = product.url.replace("https://", "http://");
    let told = product.client.get(&plain).send().await.unwrap();
    assert_eq!(told.status(), StatusCode::BAD_REQUEST);
    assert!(told.text().await.unwrap().contains("https://"));

    let ready = async |client: &Client| client.get(format!("{}/readyz", product.url)).send().await.is_ok();
    std::fs::write(file("tls.crt"), "no certificate").unwrap();
    eventually("the bad file is noticed", Duration::from_secs(30), async || product.log().contains("the one of before stays").then_some(())).await;
    assert!(ready(&first).await, "the old certificate stays");
    make_certificate(folder.path(), "second").await;
    let second = https(&std::fs::read(file("tls.crt")).unwrap());
    eventually("the new certificate is shown", Duration::from_secs(30), async || ready(&second).await.then_some(())).await;
    // A client that knows the server resumes its session, and looks at no certificate.
    assert!(!ready(&https(&first_certificate)).await, "the old one is not");
}

/// Runs a command of the program on the database of `pool`; gives whether it succeeded, and all it printed.
async fn run(pool: &PgPool, folder: &Path, arguments: &[&str], settings: &[(&str, &str)], input: &str) -> (bool, String) {
    let mut child = Command::new(program())
        .args(arguments)
        .current_dir(folder)
        .env("DATABASE_URL", pool.connect_options().to_url_lossy().to_string())
        .env("TIDEWAITER_VAR", folder)
        .env("RUST_LOG", "info")
        .envs(settings.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = timeout(Duration::from_secs(60), child.wait_with_output()).await.expect("it ends").unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn beyond_this_machine_the_server_refuses_to_start_with_passwords_in_clear(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let (started, said) = run(&pool, folder.path(), &["serve"], &[("TIDEWAITER__SERVER__LISTEN", "0.0.0.0:0")], "").await;
    assert!(!started && ["tls_certificate", "trusted_proxies", "insecure_http"].iter().all(|way| said.contains(way)), "{said}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn people_are_managed_by_commands_that_act_under_a_name(pool: PgPool) {
    let product = Product::start(&pool, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let tidewaiter = async |arguments: &[&str], input: &str| run(&pool, folder.path(), arguments, &[], input).await;
    let (added, said) = tidewaiter(&["--as", "alice", "user", "add", "bea", "--role", "operator"], "battery staple\n").await;
    assert!(added && said.contains("user added") && said.contains("cli:alice") && !said.contains("staple"), "{said}");
    let api = async |password: &str| {
        let answer = product.client.get(format!("{}/api", product.url)).basic_auth("bea", Some(password)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let (status, body) = api("battery staple").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(between(&body, "\"message\":\"", "\"").contains("set by somebody else"), "{body}");
    assert!(tidewaiter(&["user", "set-password", "--userid", "bea", "--permanent"], "battery staple 2").await.0);
    assert_eq!(api("battery staple 2").await.0, StatusCode::OK);
    assert!(tidewaiter(&["user", "role", "bea", "auditor"], "").await.0);
    let (_, listed) = tidewaiter(&["user", "list"], "").await;
    assert!(listed.contains("bea\tauditor\t") && listed.contains("admin\tsuper_administrator\t"), "{listed}");
    let (removed, said) = tidewaiter(&["user", "remove", "admin"], "").await;
    assert!(!removed && said.contains("last super administrator"), "{said}");
    assert!(tidewaiter(&["user", "remove", "bea"], "").await.0);
    assert_eq!(api("battery staple 2").await.0, StatusCode::UNAUTHORIZED);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_provider_is_paused_by_a_command_while_no_page_answers(pool: PgPool) {
    sqlx::query(
        "INSERT INTO providers (name, kind, endpoint, credentials, status, status_message, created_at, updated_at)
         VALUES ('lab', 'kubernetes', 'https://127.0.0.1:1', '', 'unknown', '', NOW(), NOW())",
    )
    .execute(&pool)
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (verb, paused) in [("pause", true), ("pause", true), ("resume", false)] {
        let (done, said) = run(&pool, folder.path(), &["--as", "alice", "provider", verb, "--name", "lab"], &[], "").await;
        assert!(done && said.contains("cli:alice"), "{said}");
        let found: bool = sqlx::query_scalar("SELECT paused_at IS NOT NULL FROM providers").fetch_one(&pool).await.unwrap();
        assert_eq!(found, paused, "{verb}");
    }
    let (done, said) = run(&pool, folder.path(), &["provider", "pause", "--name", "nowhere"], &[], "").await;
    assert!(!done && said.contains("nowhere"), "{said}");
}
