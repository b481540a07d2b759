//! Download: the images that match, as CSV, read and sent in parts so that no list is too long.

use super::list::{Row, parse, read};
use crate::State;
use crate::error::{Error, Result};
use crate::list::List;
use crate::session::Visit;
use access::Permission;
use axum::body::Body;
use axum::extract;
use axum::response::Response;
use http::{HeaderValue, header};

/// Rows read at once.
const PART: i64 = 2_000;
const COLUMNS: [&str; 20] = [
    "Id",
    "Registry",
    "Name",
    "Tag",
    "Digest",
    "Provider",
    "Projects",
    "Pods",
    "Size (bytes, compressed)",
    "Operating system",
    "Last analysis",
    "Inspected on",
    "Fully checked",
    "Failed critical",
    "Failed high",
    "Failed medium",
    "Failed low",
    "Failed unknown",
    "Last outcome",
    "Compliance",
];

pub(super) async fn csv(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    visit.must(Permission::View)?;
    let first = Part { state, list: parse(&visit.query).in_pages_of(PART), left: true, head: true };
    // The first part is read before the answer begins, so that a failure is a page and not a cut-off file.
    let (first_text, rest) = first.next().await?;
    let others = futures::stream::try_unfold(rest, |part| async move {
        if !part.left {
            return Ok::<_, std::io::Error>(None);
        }
        part.next().await.map(Some).map_err(|error| std::io::Error::other(format!("{error:?}")))
    });
    let body = futures::StreamExt::chain(futures::stream::once(async move { Ok(first_text) }), others);
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"container-images.csv\""));
    Ok(response)
}

struct Part {
    state: State,
    list: List,
    /// There are rows that were not read.
    left: bool,
    /// The names of the columns come first.
    head: bool,
}

impl Part {
    /// The next rows as CSV, and what comes after them.
    async fn next(mut self) -> Result<(Vec<u8>, Self)> {
        let mut conn = self.state.pool.acquire().await?;
        let rows = read(&mut conn, &mut self.list).await?;
        drop(conn);
        let mut csv = csv::Writer::from_writer(Vec::new());
        if std::mem::take(&mut self.head) {
            csv.write_record(COLUMNS)?;
        }
        for row in &rows {
            csv.write_record(cells(row))?;
        }
        self.left = self.list.turn();
        let text = csv.into_inner().map_err(|error| Error::Internal(anyhow::anyhow!("writing CSV: {error}")))?;
        Ok((text, self))
    }
}

fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let found = |number: i32| if row.inspected_at.is_some() { number.to_string() } else { String::new() };
    [
        row.id.to_string(),
        plain(&row.registry),
        plain(&row.name),
        plain(&row.tag),
        row.digest.clone(),
        plain(&row.provider),
        row.projects.to_string(),
        row.pods.to_string(),
        row.size_bytes.map(|size| size.to_string()).unwrap_or_default(),
        plain(row.os_name.as_deref().unwrap_or_default()),
        row.inspected_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)).unwrap_or_default(),
        plain(row.inspected_on.as_deref().unwrap_or_default()),
        row.fully_checked.map_or("", |all| if all { "yes" } else { "no" }).to_owned(),
        found(row.failed_critical),
        found(row.failed_high),
        found(row.failed_medium),
        found(row.failed_low),
        found(row.failed_unknown),
        row.last_outcome.clone().unwrap_or_default(),
        "Not verified".to_owned(),
    ]
}

/// A text that a spreadsheet does not take for a formula.
fn plain(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula() {
        assert_eq!(["=1+1", "+1", "-1", "@a", "a=b", ""].map(plain), ["'=1+1", "'+1", "'-1", "'@a", "a=b", ""]);
    }
}
