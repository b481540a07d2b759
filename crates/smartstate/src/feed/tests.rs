use super::*;
use sha2::{Digest, Sha256};
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

pub(crate) const DEFINITIONS: &str = r#"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5"
    xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5" xmlns:linux="http://oval.mitre.org/XMLSchema/oval-definitions-5#linux">
    <generator><oval:schema_version>5.11.1</oval:schema_version><oval:timestamp>2026-11-24T00:00:00</oval:timestamp></generator>
    <definitions><definition id="oval:x:def:1" version="1" class="vulnerability"><metadata><title>CVE-2030-1</title><description/></metadata>
    <criteria><criterion test_ref="oval:x:tst:1"/></criteria></definition></definitions>
    <tests><linux:dpkginfo_test id="oval:x:tst:1" version="1" check="all" comment="x"><linux:object object_ref="oval:x:obj:1"/>
    <linux:state state_ref="oval:x:ste:1"/></linux:dpkginfo_test></tests>
    <objects><linux:dpkginfo_object id="oval:x:obj:1" version="1"><linux:name>bash</linux:name></linux:dpkginfo_object></objects>
    <states><linux:dpkginfo_state id="oval:x:ste:1" version="1"><linux:evr datatype="debian_evr_string" operation="less than">0:9</linux:evr>
    </linux:dpkginfo_state></states></oval_definitions>"#;

fn feeds(location: &str) -> Feeds {
    settings(Feed { id: "debian".into(), version: "12".into(), location: location.into(), sha256: None }, true)
}

fn settings(feed: Feed, allow_http_feeds: bool) -> Feeds {
    Feeds::new(ContentSettings { vulnerability_feeds: vec![feed], allow_http_feeds })
}

async fn load(feeds: &Feeds) -> anyhow::Result<Arc<Index>> {
    feeds.index(&feeds.feeds[0]).await
}

async fn refused(feeds: &Feeds) -> String {
    format!("{:#}", load(feeds).await.unwrap_err())
}

fn system(id: &str, version: &str) -> OperatingSystem {
    OperatingSystem { id: id.into(), version_id: version.into(), ..OperatingSystem::default() }
}

fn slot_of(feeds: &Feeds) -> Arc<Mutex<Slot>> {
    feeds.slot(&feeds.feeds[0])
}

/// A server that gives each of `answers` to one connection, in their order; its address with `path`, and what it was asked.
async fn serve(path: &str, answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}{path}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let mut asked = vec![];
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let count = socket.read(&mut request).await.unwrap();
            asked.push(String::from_utf8_lossy(&request[..count]).into_owned());
            // Whoever stops reading closes the connection.
            drop(socket.write_all(answer.as_bytes()).await);
        }
        asked
    });
    (address, asked)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn a_feed_serves_its_own_release_alone() {
    let feeds = feeds("x.xml");
    assert!(feeds.find(&system("debian", "12")).is_some());
    assert!(feeds.find(&system("debian", "12.5")).is_some());
    assert!(feeds.find(&system("debian", "120")).is_none());
    assert!(feeds.find(&system("ubuntu", "12")).is_none());
}

#[tokio::test]
async fn an_address_is_asked_again_after_a_while_however_often_it_is_needed() {
    let fresh = answer("200 OK", "ETag: \"a\"\r\n", DEFINITIONS);
    let (address, asked) = serve("/oval.xml", vec![fresh, answer("304 Not Modified", "", "")]).await;
    let feeds = feeds(&address);
    let first = load(&feeds).await.unwrap();
    assert!(Arc::ptr_eq(&first, &load(&feeds).await.unwrap()), "it was asked a moment ago");
    slot_of(&feeds).lock().await.kept.as_mut().unwrap().checked_at -= FRESH_FOR;
    assert!(Arc::ptr_eq(&first, &load(&feeds).await.unwrap()), "it has not changed");
    let asked = asked.await.unwrap();
    assert!(!asked[0].contains("if-none-match") && asked[1].contains("if-none-match: \"a\""), "{asked:?}");
    slot_of(&feeds).lock().await.kept.as_mut().unwrap().checked_at -= FRESH_FOR;
    load(&feeds).await.unwrap();
    assert!(slot_of(&feeds).lock().await.failed.is_some(), "it is asked, and nobody is there");
}

#[tokio::test]
async fn scans_that_need_a_feed_at_once_share_one_index() {
    let (address, asked) = serve("/oval.xml", vec![answer("200 OK", "", DEFINITIONS)]).await;
    let feeds = feeds(&address);
    let (one, other) = tokio::join!(load(&feeds), load(&feeds));
    let one = one.unwrap();
    assert!(Arc::ptr_eq(&one, &other.unwrap()));
    assert_eq!((one.definitions(), asked.await.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_a_vanished_one_is_used_as_it_was() {
    let folder = std::env::temp_dir().join(format!("tidewaiter-feed-{:08x}", rand::random::<u32>()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("oval.xml.bz2");
    let write = |text: &str| {
        let mut encoder = bzip2::write::BzEncoder::new(std::fs::File::create(&path).unwrap(), bzip2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
    };
    let feeds = feeds(path.to_str().unwrap());
    assert!(load(&feeds).await.unwrap_err().to_string().contains("oval.xml.bz2"));
    write(DEFINITIONS);
    let first = load(&feeds).await.unwrap();
    assert!(Arc::ptr_eq(&first, &load(&feeds).await.unwrap()));
    write(&DEFINITIONS.replace("bash", "a-shell-by-another-name"));
    let second = load(&feeds).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(feeds.stale(&system("debian", "12")).await, None);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(Arc::ptr_eq(&second, &load(&feeds).await.unwrap()));
    let warning = feeds.stale(&system("debian", "12")).await.unwrap();
    assert!(warning.contains("could not be loaded (reading") && warning.contains("debian 12 are those of 20"), "{warning}");
}

#[tokio::test]
async fn a_source_that_fails_is_not_asked_by_every_scan_and_neither_password_nor_answer_is_shown() {
    let (address, asked) = serve("/oval.xml?sig=hunter3", vec![answer("500 Oh", "", "<b>hunter4</b>")]).await;
    let feeds = feeds(&address.replace("http://", "http://user:hunter2@"));
    let first = refused(&feeds).await;
    // Nobody listens from here on: another question would end in another way.
    asked.await.unwrap();
    assert!(first.contains("/oval.xml: the server says 500") && !first.contains("hunter"), "{first}");
    assert_eq!(refused(&feeds).await, first);
    assert_eq!(feeds.stale(&system("debian", "12")).await, None, "there are no older ones");
    let nobody = refused(&self::feeds("http://user:hunter2@127.0.0.1:1/oval.xml?sig=hunter3")).await;
    assert!(nobody.contains("127.0.0.1:1/oval.xml") && !nobody.contains("hunter"), "{nobody}");
}

#[tokio::test]
async fn addresses_without_tls_are_used_only_where_the_settings_allow_it() {
    let feed = Feed { id: "debian".into(), version: "12".into(), location: "http://127.0.0.1:1/oval.xml".into(), sha256: None };
    let error = refused(&settings(feed, false)).await;
    assert!(error.contains("over https alone") && error.contains("content.allow_http_feeds"), "{error}");
}

#[tokio::test]
async fn redirects_end_after_a_few_and_tell_the_next_server_nothing() {
    let (end, asked) = serve("/oval.xml", vec![answer("200 OK", "", DEFINITIONS)]).await;
    let (begin, _) = serve("/oval.xml?sig=hunter2", vec![answer("302 Found", &format!("Location: {end}\r\n"), "")]).await;
    assert_eq!(load(&feeds(&begin)).await.unwrap().definitions(), 1);
    let asked = asked.await.unwrap();
    assert!(!asked[0].to_ascii_lowercase().contains("referer"), "{asked:?}");

    let (circle, _) = serve("/oval.xml", vec![answer("302 Found", "Location: /oval.xml\r\n", ""); 20]).await;
    let error = refused(&feeds(&circle)).await;
    assert!(error.contains("redirects more than 5 times"), "{error}");
}

#[tokio::test]
async fn another_file_than_the_settings_name_is_not_taken() {
    let with = |sha256: String| async move {
        let (location, _) = serve("/oval.xml", vec![answer("200 OK", "", DEFINITIONS)]).await;
        load(&settings(Feed { id: "debian".into(), version: "12".into(), location, sha256: Some(sha256) }, true)).await
    };
    assert!(with(hex::encode_upper(Sha256::digest(DEFINITIONS))).await.is_ok());
    let error = format!("{:#}", with("00".repeat(32)).await.unwrap_err());
    assert!(error.contains("its SHA-256 is") && error.contains("which the settings name"), "{error}");
}

#[tokio::test]
async fn what_breaks_off_or_is_something_else_is_no_feed() {
    let whole = answer("200 OK", "", DEFINITIONS);
    for (answer, path) in [
        (whole[..whole.len() - 400].to_owned(), "/oval.xml"),
        (answer("200 OK", "", &DEFINITIONS[..DEFINITIONS.len() - 30]), "/oval.xml"),
        (answer("200 OK", "", "<html><body>hunter2</body></html>"), "/oval.xml"),
        (answer("200 OK", "", ""), "/oval.xml"),
        (answer("200 OK", "", DEFINITIONS), "/oval.xml.gz"),
        (answer("200 OK", "", DEFINITIONS), "/oval.zip"),
    ] {
        let (address, _) = serve(path, vec![answer]).await;
        let error = refused(&feeds(&address)).await;
        assert!(error.starts_with("reading http://127.0.0.1") && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_unpacks_without_end_is_given_up() {
    let folder = std::env::temp_dir().join(format!("tidewaiter-feed-{:08x}", rand::random::<u32>()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("oval.xml.zst");
    let mut encoder = zstd::stream::write::Encoder::new(std::fs::File::create(&path).unwrap(), 1).unwrap();
    encoder.write_all(DEFINITIONS.split("<tests>").next().unwrap().as_bytes()).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b' '), 1 << 30), &mut encoder).unwrap();
    encoder.finish().unwrap();
    let error = refused(&feeds(path.to_str().unwrap())).await;
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(error.contains("too large"), "{error}");
}
