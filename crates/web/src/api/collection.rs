//! One mechanism for every collection: a table of attributes, each an SQL expression, from which one statement per request is built.
//!
//! The expressions are constants of this program; everything that a caller sends is a bound parameter. See docs/adr/0001.

use super::error::ApiError;
use super::filter::{self, Filter, Operator, Value};
use super::params::Params;
use serde_json::{Map, Value as Json, json};
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

/// How an attribute is compared and sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Boolean,
    Time,
    /// A JSON document: it can be asked for, not filtered or sorted by.
    Document,
}

/// One attribute of a resource.
pub(crate) struct Attribute {
    pub name: &'static str,
    pub sql: &'static str,
    pub kind: Kind,
    /// Part of a resource without being asked for by `attributes`.
    pub default: bool,
}

/// A collection of the API.
pub(crate) struct Collection {
    pub name: &'static str,
    /// `FROM …`, with the aliases that the expressions use.
    pub from: &'static str,
    /// What every listed resource fulfils.
    pub base: &'static str,
    /// The id's expression.
    pub id: &'static str,
    pub attributes: &'static [Attribute],
    /// Actions on one resource, for its `actions`.
    pub actions: &'static [&'static str],
}

impl Collection {
    fn attribute(&self, name: &str) -> Result<&'static Attribute, ApiError> {
        self.attributes.iter().find(|attribute| attribute.name == name).ok_or_else(|| {
            let known: Vec<_> = self.attributes.iter().map(|attribute| attribute.name).collect();
            ApiError::BadRequest(format!("{} have no attribute {name:?}; they have {}", self.name, known.join(", ")))
        })
    }

    fn chosen(&self, names: &[String]) -> Result<Vec<&'static Attribute>, ApiError> {
        let mut chosen: Vec<_> = self.attributes.iter().filter(|attribute| attribute.default).collect();
        for name in names {
            let attribute = self.attribute(name)?;
            // The id stands in every resource, as a text.
            if attribute.name != "id" && !chosen.iter().any(|other| other.name == attribute.name) {
                chosen.push(attribute);
            }
        }
        Ok(chosen)
    }

    /// The path of a resource.
    pub fn path(&self, id: &str) -> String {
        format!("/api/{}/{id}", self.name)
    }

    fn select(&self, attributes: &[&Attribute]) -> String {
        let mut sql = format!("SELECT {}::TEXT AS id, jsonb_build_object(", self.id);
        for (position, attribute) in attributes.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            sql.push_str(&format!("{comma}'{}', {}", attribute.name, attribute.sql));
        }
        sql.push_str(&format!(") AS resource {} ", self.from));
        sql
    }

    fn resource(&self, host: &str, id: &str, document: Json) -> Json {
        let mut resource = Map::new();
        let href = format!("{host}{}", self.path(id));
        resource.insert("href".into(), json!(href));
        resource.insert("id".into(), json!(id));
        if let Json::Object(document) = document {
            resource.extend(document);
        }
        let actions: Vec<_> = self.actions.iter().map(|name| json!({"name": name, "method": "post", "href": href})).collect();
        resource.insert("actions".into(), json!(actions));
        Json::Object(resource)
    }

    /// One page of the collection in ManageIQ's shape. `host`: scheme and host for the addresses inside.
    ///
    /// # Errors
    /// `BadRequest`: an unknown attribute, or a value that does not fit its kind.
    pub async fn list(&self, conn: &mut PgConnection, host: &str, params: &Params) -> Result<Json, ApiError> {
        let filters = params.filters.iter().map(|text| filter::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let count: i64 = self.count(conn, &[]).await?;
        let matching = if filters.is_empty() { count } else { self.count(conn, &filters).await? };
        let attributes = if params.expand { self.chosen(&params.attributes)? } else { Vec::new() };
        let mut query = QueryBuilder::new(self.select(&attributes));
        self.push_where(&mut query, &filters)?;
        self.push_order(&mut query, params)?;
        query.push(" LIMIT ").push_bind(params.limit).push(" OFFSET ").push_bind(params.offset);
        let rows = query.build().fetch_all(conn).await?;
        let mut resources = Vec::with_capacity(rows.len());
        for row in rows {
            let id: String = row.try_get("id")?;
            resources.push(match params.expand {
                true => self.resource(host, &id, row.try_get("resource")?),
                false => json!({"href": format!("{host}{}", self.path(&id))}),
            });
        }
        let mut answer = json!({
            "name": self.name,
            "count": count,
            "subcount": resources.len(),
            "subquery_count": matching,
            "pages": if params.limit > 0 { (matching + params.limit - 1) / params.limit } else { 0 },
            "resources": resources,
        });
        if filters.is_empty() {
            answer.as_object_mut().map(|fields| fields.remove("subquery_count"));
        }
        Ok(answer)
    }

    async fn count(&self, conn: &mut PgConnection, filters: &[Filter]) -> Result<i64, ApiError> {
        let mut query = QueryBuilder::new(format!("SELECT COUNT(*) {} ", self.from));
        self.push_where(&mut query, filters)?;
        Ok(query.build_query_scalar().fetch_one(conn).await?)
    }

    /// One resource with `attributes` beyond the default ones.
    ///
    /// # Errors
    /// `NotFound`; `BadRequest` for an unknown attribute.
    pub async fn show(&self, conn: &mut PgConnection, host: &str, id: i64, names: &[String]) -> Result<Json, ApiError> {
        let mut query = QueryBuilder::new(self.select(&self.chosen(names)?));
        query.push("WHERE ").push(self.id).push(" = ").push_bind(id);
        let row = query.build().fetch_optional(conn).await?;
        let row = row.ok_or_else(|| ApiError::NotFound(format!("Couldn't find a resource with id {id} in {}", self.name)))?;
        Ok(self.resource(host, &id.to_string(), row.try_get("resource")?))
    }

    fn push_where(&self, query: &mut QueryBuilder<Postgres>, filters: &[Filter]) -> Result<(), ApiError> {
        query.push("WHERE ").push(self.base);
        if filters.is_empty() {
            return Ok(());
        }
        // AND binds closer than OR: every filter with `or` begins a new group.
        query.push(" AND (");
        for (position, filter) in filters.iter().enumerate() {
            if position > 0 {
                query.push(if filter.or { " OR " } else { " AND " });
            }
            self.push_filter(query, filter)?;
        }
        query.push(")");
        Ok(())
    }

    fn push_filter(&self, query: &mut QueryBuilder<Postgres>, filter: &Filter) -> Result<(), ApiError> {
        let attribute = self.attribute(&filter.attribute)?;
        if attribute.kind == Kind::Document {
            return Err(ApiError::BadRequest(format!("{} cannot be filtered by {}", self.name, attribute.name)));
        }
        let not = matches!(filter.operator, Operator::NotEqual | Operator::NotMatches);
        match &filter.value {
            Value::Null => {
                query.push("(").push(attribute.sql).push(if not { ") IS NOT NULL" } else { ") IS NULL" });
            }
            Value::Any(values) => {
                query.push(if not { "NOT (" } else { "(" });
                for (position, value) in values.iter().enumerate() {
                    query.push(if position == 0 { "" } else { " OR " });
                    push_comparison(query, attribute, Operator::Equal, value)?;
                }
                query.push(")");
            }
            Value::One(value) => push_comparison(query, attribute, filter.operator, value)?,
        }
        Ok(())
    }

    fn push_order(&self, query: &mut QueryBuilder<Postgres>, params: &Params) -> Result<(), ApiError> {
        let direction = if params.descending { " DESC" } else { " ASC" };
        query.push(" ORDER BY ");
        for name in &params.sort_by {
            let attribute = self.attribute(name)?;
            match attribute.kind {
                Kind::Document => return Err(ApiError::BadRequest(format!("{} cannot be sorted by {name}", self.name))),
                Kind::Text if params.ignore_case => query.push("LOWER(").push(attribute.sql).push(")"),
                _ => query.push(attribute.sql),
            };
            query.push(direction).push(" NULLS LAST, ");
        }
        query.push(self.id).push(direction);
        Ok(())
    }
}

fn push_comparison(query: &mut QueryBuilder<Postgres>, attribute: &Attribute, operator: Operator, value: &str) -> Result<(), ApiError> {
    let wrong = |kind: &str| ApiError::BadRequest(format!("{} is compared with {kind}, not {value:?}", attribute.name));
    let wildcard = attribute.kind == Kind::Text && value.contains(['%', '*']);
    query.push("((").push(attribute.sql).push(")");
    let sign = match (operator, wildcard) {
        (Operator::Equal, true) => " LIKE ",
        (Operator::NotEqual, true) => " NOT LIKE ",
        (Operator::Equal, false) => " = ",
        (Operator::NotEqual, false) => " IS DISTINCT FROM ",
        (Operator::Less, _) => " < ",
        (Operator::LessOrEqual, _) => " <= ",
        (Operator::Greater, _) => " > ",
        (Operator::GreaterOrEqual, _) => " >= ",
        (Operator::Matches | Operator::NotMatches, _) if attribute.kind != Kind::Text => return Err(wrong("= != < <= > >=")),
        (Operator::Matches, _) => " ~ ",
        (Operator::NotMatches, _) => " !~ ",
    };
    query.push(sign);
    match attribute.kind {
        Kind::Text if wildcard && matches!(operator, Operator::Equal | Operator::NotEqual) => {
            query.push_bind(value.replace('*', "%"));
        }
        Kind::Text => {
            query.push_bind(value.to_owned());
        }
        Kind::Integer => {
            query.push_bind(value.parse::<i64>().map_err(|_| wrong("a whole number"))?);
        }
        Kind::Boolean => {
            query.push_bind(value.parse::<bool>().map_err(|_| wrong("true or false"))?);
        }
        Kind::Time => {
            let time = chrono::DateTime::parse_from_rfc3339(value).map_err(|_| wrong("a time such as 2026-01-31T12:00:00Z"))?;
            query.push_bind(time.to_utc());
        }
        Kind::Document => return Err(wrong("nothing")),
    }
    query.push(")");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::params;
    use crate::api::{container_images::IMAGES, providers::PROVIDERS, tasks::TASKS};
    use sqlx::PgPool;

    /// The statements are not checked at compile time: this is where each expression meets the schema.
    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn every_attribute_of_every_collection_can_be_asked_for_filtered_and_sorted_by(pool: PgPool) {
        let mut conn = pool.acquire().await.unwrap();
        for collection in [&IMAGES, &PROVIDERS, &TASKS] {
            let names: Vec<_> = collection.attributes.iter().map(|attribute| attribute.name).collect();
            let all = params::parse(&format!("expand=resources&attributes={}", names.join(","))).unwrap();
            assert_eq!(collection.list(&mut conn, "", &all).await.unwrap()["count"], 0);
            for attribute in collection.attributes.iter().filter(|attribute| attribute.kind != Kind::Document) {
                let value = match attribute.kind {
                    Kind::Integer => "7",
                    Kind::Boolean => "true",
                    Kind::Time => "2026-01-01T00:00:00Z",
                    Kind::Text | Kind::Document => "a%25",
                };
                let query = format!("filter[]={0}='{value}'&filter[]=or {0}!=NULL&sort_by={0}&sort_order=desc&sort_options=ignore_case", attribute.name);
                let answer = collection.list(&mut conn, "", &params::parse(&query).unwrap()).await;
                assert!(answer.is_ok(), "{}.{}: {answer:?}", collection.name, attribute.name);
            }
        }
    }

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn what_a_collection_does_not_have_is_refused_by_name(pool: PgPool) {
        let mut conn = pool.acquire().await.unwrap();
        for query in [
            "filter[]=colour='red'",
            "sort_by=colour",
            "expand=resources&attributes=colour",
            "filter[]=counts='1'",
            "filter[]=created_on='yesterday'",
            "filter[]=name=~'('",
        ] {
            let answer = PROVIDERS.list(&mut conn, "", &params::parse(query).unwrap()).await;
            assert!(matches!(answer, Err(ApiError::BadRequest(_))), "{query}: {answer:?}");
        }
    }
}
