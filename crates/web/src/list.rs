//! The one mechanism of all lists: search, filters, sort, keyset pages, all in the address.
//!
//! A page describes its list in a [`Spec`], makes a [`List`] from the address, and reads one page of rows with [`keyset!`](crate::keyset).

use crate::session::Visit;
use crate::show::COUNTED;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use sqlx::PgConnection;
use url::form_urlencoded;

/// How many rows a page may have.
pub const PAGE_SIZES: [i64; 4] = [20, 50, 100, 500];

/// What a list can do.
#[derive(Debug)]
pub struct Spec {
    pub path: &'static str,
    /// Keys of the columns that sort, the default first.
    pub sorts: &'static [&'static str],
    /// Those of them that sort downwards (newest, most or worst first) unless asked otherwise.
    pub falling: &'static [&'static str],
    /// Filters: key in the address and label on the chip.
    pub filters: &'static [(&'static str, &'static str)],
}

/// A filter in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chip {
    pub key: &'static str,
    pub label: &'static str,
    pub value: String,
    /// The address without this filter.
    pub remove: String,
}

/// A list as its address asks for it. What the address has wrong counts as not said.
#[derive(Debug)]
pub struct List {
    /// Where the list is; the spec's path unless it belongs to one object.
    pub path: String,
    /// The search text, trimmed; empty without one.
    pub q: String,
    /// The column it is sorted by, one of the spec's.
    pub sort: &'static str,
    pub ascending: bool,
    /// Rows a page.
    pub per: i64,
    pub chips: Vec<Chip>,
    /// Addresses of the next and the previous page, once rows were read.
    pub next: Option<String>,
    pub previous: Option<String>,
    filters: Vec<(&'static str, String)>,
    spec: &'static Spec,
    cursor: Option<Cursor>,
    /// Search and filters leave few rows: they are all read and sorted, instead of walking along the order until a page is full.
    sorts_found: bool,
}

/// The edge of a page: rows after (or before) this one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    value: String,
    id: i64,
    backward: bool,
}

impl List {
    /// The list that the address of `visit` asks for.
    pub fn new(spec: &'static Spec, visit: &Visit) -> Self {
        Self::parse(spec, &visit.query)
    }

    /// The same from a query string, as the hidden field `query` of a selection's form holds it.
    pub fn parse(spec: &'static Spec, query: &str) -> Self {
        Self::at(spec, spec.path.to_owned(), query)
    }

    /// The same for a list that belongs to one object, at a path of its own.
    pub fn at(spec: &'static Spec, path: String, query: &str) -> Self {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let says = |value: &str| !value.trim().is_empty() && !value.contains('\0');
        let said = |key: &str| pairs.iter().find(|(name, value)| name == key && says(value)).map(|(_, value)| value.trim());
        let asked_sort = said("sort").and_then(|key| spec.sorts.iter().find(|sort| **sort == key));
        let sort = asked_sort.copied().unwrap_or(spec.sorts[0]);
        let cursor = said("after").map(|text| (text, false)).or(said("before").map(|text| (text, true)));
        let mut list = Self {
            path,
            q: said("q").unwrap_or_default().chars().take(200).collect(),
            sort,
            ascending: said("dir").map_or(spec.rises(sort), |dir| dir == "asc"),
            per: said("per").and_then(|per| per.parse().ok()).filter(|per| PAGE_SIZES.contains(per)).unwrap_or(PAGE_SIZES[0]),
            chips: Vec::new(),
            next: None,
            previous: None,
            filters: spec.filters.iter().filter_map(|(key, _)| said(key).map(|value| (*key, value.to_owned()))).collect(),
            spec,
            cursor: cursor.and_then(|(text, backward)| Cursor::decode(text, backward)),
            sorts_found: false,
        };
        list.chips = list.filters.iter().map(|(key, value)| list.make_chip(key, value)).collect();
        if !list.q.is_empty() {
            list.chips.insert(0, Chip { key: "q", label: "Search", value: list.q.clone(), remove: list.address(&[("q", "")]) });
        }
        list
    }

    fn make_chip(&self, key: &'static str, value: &str) -> Chip {
        let label = self.spec.filters.iter().find(|(name, _)| *name == key).map_or(key, |(_, label)| *label);
        Chip { key, label, value: value.to_owned(), remove: self.address(&[(key, "")]) }
    }

    /// The value of a filter.
    pub fn filter(&self, key: &str) -> Option<&str> {
        self.filters.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// The value of a filter that is an id. What is not a number matches nothing.
    pub fn filter_id(&self, key: &str) -> Option<i64> {
        self.filter(key).map(|value| value.parse().unwrap_or(-1))
    }

    /// Where the rows that match can be downloaded.
    pub fn download_url(&self) -> String {
        let address = self.address(&[("per", "")]);
        let query = address.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
        format!("{}.csv{query}", self.path)
    }

    /// The search text is so short that only beginnings are searched for.
    pub fn searches_beginnings(&self) -> bool {
        (1..3).contains(&self.q.chars().count())
    }

    /// A pattern for ILIKE that finds the search text anywhere, or at the beginning when it is too short for an index of trigrams; NULL without one.
    pub fn pattern(&self) -> Option<String> {
        let escaped = self.q.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let before = if self.searches_beginnings() { "" } else { "%" };
        (!self.q.is_empty()).then(|| format!("{before}{escaped}%"))
    }

    /// Writes `value` on the chip of the filter `key`, e.g. a provider's name in place of its id.
    pub fn name_chip(&mut self, key: &str, value: impl Into<String>) {
        if let Some(chip) = self.chips.iter_mut().find(|chip| chip.key == key) {
            chip.value = value.into();
        }
    }

    /// Search or filters are in use.
    pub fn is_filtered(&self) -> bool {
        !self.chips.is_empty()
    }

    /// The address of this list with `changes` (an empty value removes), on the first page.
    pub fn address(&self, changes: &[(&str, &str)]) -> String {
        let per = self.per.to_string();
        let mut pairs: Vec<(&str, &str)> = vec![("q", &self.q)];
        pairs.extend(self.filters.iter().map(|(key, value)| (*key, value.as_str())));
        if self.sort != self.spec.sorts[0] || self.ascending != self.spec.rises(self.sort) {
            pairs.extend([("sort", self.sort), ("dir", if self.ascending { "asc" } else { "desc" })]);
        }
        if self.per != PAGE_SIZES[0] {
            pairs.push(("per", &per));
        }
        pairs.retain(|(key, _)| !changes.iter().any(|(changed, _)| changed == key));
        pairs.extend_from_slice(changes);
        pairs.retain(|(_, value)| !value.is_empty());
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }

    /// The address with one filter set, for filter menus.
    pub fn filter_url(&self, key: &str, value: &str) -> String {
        self.address(&[(key, value)])
    }

    /// The address sorted by `key`, worst, most or newest first where that is what one looks for; a second click turns the direction.
    pub fn sort_url(&self, key: &str) -> String {
        let ascending = if self.sort == key { !self.ascending } else { self.spec.rises(key) };
        self.address(&[("sort", key), ("dir", if ascending { "asc" } else { "desc" })])
    }

    /// The address with `size` rows a page.
    pub fn size_url(&self, size: &i64) -> String {
        self.address(&[("per", &size.to_string())])
    }

    pub fn first_url(&self) -> String {
        self.address(&[])
    }

    /// The address without search and filters; what has no chip (a tab) stays.
    pub fn clear_url(&self) -> String {
        let gone: Vec<(&str, &str)> = self.chips.iter().map(|chip| (chip.key, "")).collect();
        self.address(&gone)
    }

    /// Search and filters alone, as a query string: what "all that match" means.
    pub fn filter_query(&self) -> String {
        let pairs = self.filters.iter().map(|(key, value)| (*key, value.as_str())).chain([("q", self.q.as_str())]);
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs.filter(|(_, value)| !value.is_empty())).finish()
    }

    /// What the search form must keep: everything but the search text and the page.
    pub fn hidden_for_search(&self) -> Vec<(String, String)> {
        let address = self.address(&[("q", "")]);
        let query = address.split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// Rows are read in ascending order (a page back is read against the order and turned round).
    pub fn reads_up(&self) -> bool {
        self.ascending != self.cursor.as_ref().is_some_and(|cursor| cursor.backward)
    }

    pub fn cursor_value(&self) -> Option<&str> {
        self.cursor.as_ref().map(|cursor| cursor.value.as_str())
    }

    pub fn cursor_id(&self) -> Option<i64> {
        self.cursor.as_ref().map(|cursor| cursor.id)
    }

    /// Forgets a cursor that is no value of the column's `type`, e.g. one of another column.
    pub fn check_cursor(&mut self, kind: &str) {
        self.cursor = self.cursor.take().filter(|cursor| cursor.is_a(kind));
    }

    /// A later page was asked for, and it has no rows (any more).
    pub fn is_past_the_end(&self) -> bool {
        self.next.is_none() && self.previous.as_deref() == Some(&self.first_url())
    }

    /// The same list read from its beginning in pages of `per` rows.
    pub fn in_pages_of(mut self, per: i64) -> Self {
        (self.per, self.cursor) = (per, None);
        self
    }

    /// Goes on with the next page; `false` after the last one.
    pub fn turn(&mut self) -> bool {
        let Some(next) = self.next.take() else { return false };
        let query = next.split_once('?').map_or("", |(_, query)| query);
        let after = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "after");
        self.cursor = after.and_then(|(_, text)| Cursor::decode(&text, false));
        self.cursor.is_some()
    }

    /// Says how many rows match, at most one over [`COUNTED`]. They often stand together in the order, e.g. by name: walking along it to the first one
    /// may be long, which the planner does not know.
    pub fn found(&mut self, count: i64) {
        self.sorts_found = self.is_filtered() && count <= COUNTED;
    }

    /// One row more than a page, to know whether there is a next one; negative when the rows found are to be sorted.
    pub fn limit(&self) -> i64 {
        if self.sorts_found { -(self.per + 1) } else { self.per + 1 }
    }

    /// The rows of the page in the list's order, from those read by [`keyset!`](crate::keyset); sets `next` and `previous`.
    pub fn cut<R>(&mut self, mut rows: Vec<R>, edge: impl Fn(&R) -> (String, i64)) -> Vec<R> {
        let backward = self.cursor.as_ref().is_some_and(|cursor| cursor.backward);
        let size = usize::try_from(self.per).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        if backward {
            rows.reverse();
        }
        let link = |row: Option<&R>, key: &str| row.map(|row| self.address(&[(key, &Cursor::encode(edge(row)))]));
        let (has_next, has_previous) = if backward { (true, more) } else { (more, self.cursor.is_some()) };
        let next = if has_next { link(rows.last(), "after") } else { None };
        let previous = match (rows.is_empty(), has_previous) {
            (true, _) => self.cursor.as_ref().map(|_| self.first_url()),
            (false, true) => link(rows.first(), "before"),
            (false, false) => None,
        };
        (self.next, self.previous) = (next, previous);
        rows
    }
}

impl Spec {
    /// The column sorts upwards unless asked otherwise.
    fn rises(&self, sort: &str) -> bool {
        !self.falling.contains(&sort)
    }
}

impl Cursor {
    /// Its value is one of the SQL type `kind`, as Postgres writes it.
    fn is_a(&self, kind: &str) -> bool {
        match kind {
            "BIGINT" => self.value.parse::<i64>().is_ok(),
            "INTEGER" => self.value.parse::<i32>().is_ok(),
            "TIMESTAMPTZ" => DateTime::parse_from_str(&self.value, "%Y-%m-%d %H:%M:%S%.f%#z").is_ok(),
            _ => true,
        }
    }

    fn encode((value, id): (String, i64)) -> String {
        URL_SAFE_NO_PAD.encode(format!("{id} {value}"))
    }

    fn decode(text: &str, backward: bool) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (id, value) = text.split_once(' ')?;
        let clean = !value.contains('\0');
        clean.then_some(Self { value: value.to_owned(), id: id.parse().ok()?, backward })
    }
}

/// Has the conditions of a list planned for the values they are asked with: half of them are `$5 IS NULL OR …`, for which a plan that fits all
/// values reads the whole table.
///
/// # Errors
/// The database.
pub async fn plan_for_values(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query_scalar!("SELECT set_config('plan_cache_mode', 'force_custom_plan', FALSE)").fetch_one(conn).await.map(|_| ())
}

/// One page of a list: checked SQL for each column that sorts and each direction, paged by (column, id), never by OFFSET.
///
/// `keyset!(list, conn, Row, { "name" => "p.name", "TEXT"; … }, "p.id", "projects p WHERE …", "p.name, … FROM picked k JOIN …", args…)`: the rows of
/// the page are picked first (the text after FROM, up to its WHERE clause, with its own arguments from `$4` on), then what is shown of them is read
/// (the text after SELECT, from `picked k`, which has their `id`). Order expressions must not be NULL. `Row` needs `id: i64` and `cursor: String`.
/// Gives the rows in the list's order. An order by a row of one column is the same order, but no index has it: so the rows found are sorted.
#[macro_export]
macro_rules! keyset {
    ($list:expr, $conn:expr, $row:ident, $orders:tt, $id:tt, $pick:tt, $show:tt $(, $($args:tt)+)?) => {
        $crate::keyset!(@orders $list, $conn, $row, $orders, $id, $pick, $show, ($($($args)+)?))
    };
    (@orders $list:expr, $conn:expr, $row:ident, { $($key:literal => $order:tt, $type:tt);+ $(;)? }, $id:tt, $pick:tt, $show:tt, $args:tt) => {{
        match $list.sort {
            $($key => $list.check_cursor($type),)+
            _ => {}
        }
        $crate::list::plan_for_values(&mut *$conn).await?;
        let rows: Vec<$row> = match ($list.sort, $list.reads_up()) {
            $(
                ($key, true) => $crate::keyset!(@read $list, $conn, $row, $order, $type, $id, $pick, $show, ">", "", $args),
                ($key, false) => $crate::keyset!(@read $list, $conn, $row, $order, $type, $id, $pick, $show, "<", " DESC", $args),
            )+
            _ => Ok(Vec::new()),
        }?;
        $list.cut(rows, |row| (row.cursor.clone(), row.id))
    }};
    (@read $list:expr, $conn:expr, $row:ident, $order:tt, $type:tt, $id:tt, $pick:tt, $show:tt, $beyond:tt, $direction:tt, ($($arg:expr),* $(,)?)) => {
        sqlx::query_as!(
            $row,
            "WITH picked AS MATERIALIZED (SELECT " + $id + " AS id, " + $order + " AS place FROM " + $pick + " AND ($1::TEXT IS NULL OR ("
                + $order + ", " + $id + ") " + $beyond + " (CAST($1::TEXT AS " + $type + "), $2)) ORDER BY CASE WHEN $3::BIGINT < 0 THEN ROW(" + $order + ") END" + $direction + ", " + $order
                + $direction + ", " + $id + $direction + " LIMIT ABS($3::BIGINT)) SELECT k.id AS \"id!\", k.place::TEXT AS \"cursor!\", " + $show + " ORDER BY k.place" + $direction
                + ", k.id" + $direction,
            $list.cursor_value(), $list.cursor_id(), $list.limit() $(, $arg)*
        ).fetch_all(&mut *$conn).await
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    static SPEC: Spec = Spec { path: "/things", sorts: &["name", "age", "size"], falling: &["age"], filters: &[("provider", "Provider")] };

    #[test]
    fn an_address_makes_a_list_and_the_list_the_address() {
        let list = List::parse(&SPEC, "q=a%26b&provider=7&sort=age&dir=desc&per=50&per=x&evil=1");
        assert_eq!((list.q.as_str(), list.filter_id("provider"), list.sort, list.ascending, list.per), ("a&b", Some(7), "age", false, 50));
        assert_eq!(list.address(&[]), "/things?q=a%26b&provider=7&sort=age&dir=desc&per=50");
        assert_eq!(list.chips[1].remove, "/things?q=a%26b&sort=age&dir=desc&per=50");
        assert_eq!(list.filter_query(), "provider=7&q=a%26b");
        assert_eq!(List::parse(&SPEC, "sort=password&per=7&after=nonsense&q=%00&provider=%00").address(&[]), "/things");
        assert_eq!(
            (list.sort_url("age"), list.sort_url("size")),
            ("/things?q=a%26b&provider=7&per=50&sort=age&dir=asc".into(), "/things?q=a%26b&provider=7&per=50&sort=size&dir=asc".into())
        );
        assert_eq!(List::parse(&SPEC, "").sort_url("age"), "/things?sort=age&dir=desc", "the oldest first");
    }

    #[test]
    fn pages_lead_on_and_back() {
        let edge = |row: &i64| (format!("n{row}"), *row);
        let mut first = List::parse(&SPEC, "");
        assert_eq!(first.cut((0..21).collect(), edge), (0..20).collect::<Vec<_>>());
        assert_eq!(first.previous, None);
        let next = first.next.unwrap();
        let mut second = List::parse(&SPEC, next.split_once('?').unwrap().1);
        assert_eq!((second.cursor_value(), second.cursor_id(), second.reads_up()), (Some("n19"), Some(19), true));
        assert_eq!(second.cut((20..25).collect(), edge).len(), 5);
        assert_eq!(second.next, None);
        let back = second.previous.unwrap();
        let mut first = List::parse(&SPEC, back.split_once('?').unwrap().1);
        assert!(!first.reads_up());
        assert_eq!(first.cut((0..20).rev().collect(), edge), (0..20).collect::<Vec<_>>());
        assert_eq!(first.previous, None);
    }

    #[test]
    fn a_page_that_became_empty_leads_to_the_first() {
        for page in ["after", "before"] {
            let mut list = List::parse(&SPEC, &format!("q=a&{page}={}", Cursor::encode(("n19".into(), 19))));
            assert!(list.cut(Vec::new(), |row: &i64| (String::new(), *row)).is_empty());
            assert_eq!((list.previous.as_deref(), list.is_past_the_end()), (Some("/things?q=a"), true), "{page}");
        }
    }

    #[test]
    fn a_cursor_of_another_column_is_forgotten() {
        let kept = |value: &str, kind: &str| {
            let mut list = List::parse(&SPEC, &format!("after={}", Cursor::encode((value.into(), 1))));
            list.check_cursor(kind);
            list.cursor_value().is_some()
        };
        assert!(
            kept("x", "TEXT")
                && kept("-1", "BIGINT")
                && kept("2026-11-24 16:00:00.123456+00", "TIMESTAMPTZ")
                && kept("1970-01-01 00:00:00+05:30", "TIMESTAMPTZ")
        );
        assert!(!kept("x", "BIGINT") && !kept("5000000000", "INTEGER") && !kept("abc", "TIMESTAMPTZ") && !kept("infinity", "TIMESTAMPTZ"));
    }
}
