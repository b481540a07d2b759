//! One mechanism for every collection: a table of attributes, each an SQL expression, from which one statement per request is built.
//!
//! The expressions are constants of this program; everything that a caller sends is a bound parameter. See docs/adr/0001.

use super::attribute::{self, Attribute, Named};
use super::condition::{push_filters, push_order};
use super::error::ApiError;
use super::filter::{self, Filter};
use super::params::{LIMIT_HEAVY, LIMIT_MAX, Params};
use serde_json::{Map, Value as Json, json};
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

/// No statement of an answer takes longer: a caller's pattern must not keep the database busy.
const STATEMENT: &str = "15s";
/// `jsonb_build_object` takes at most 50 pairs.
const PAIRS: usize = 50;

/// A collection of the API.
pub(crate) struct Collection {
    pub name: &'static str,
    /// `FROM …`, with the aliases that the expressions use.
    pub from: &'static str,
    /// What every listed resource fulfils, unless a filter is by one of `lifted_by`.
    pub base: &'static str,
    pub lifted_by: &'static [&'static str],
    /// The id's expression.
    pub id: &'static str,
    pub attributes: &'static [Attribute],
    /// Actions on one resource, for its `actions`.
    pub actions: &'static [&'static str],
    /// Actions on the collection: on several resources, or making one.
    pub collection_actions: &'static [&'static str],
}

/// The attributes of an answer.
struct Chosen {
    attributes: Vec<Named>,
    actions: bool,
}

impl Collection {
    /// The attribute of that name, or the field of an association (`operating_system.distribution`).
    ///
    /// # Errors
    /// `BadRequest` that lists the names there are.
    pub fn attribute(&self, name: &str) -> Result<Named, ApiError> {
        attribute::find(self.attributes, self.name, name)
    }

    /// What `names` choose. None: the default ones. Only ones beyond these: these too. Otherwise the named ones alone.
    ///
    /// Source: ManageIQ's `Renderer#validate_attr_selection` and `#render_actions`.
    fn chosen(&self, names: &[String]) -> Result<Chosen, ApiError> {
        let beside = |name: &&String| matches!(name.as_str(), "id" | "href" | "actions");
        let mut named = Vec::new();
        for name in names.iter().filter(|name| !beside(name)) {
            named.push(self.attribute(name)?);
        }
        let narrow = if named.is_empty() { !names.is_empty() } else { named.iter().any(|attribute| attribute.default) };
        let mut attributes = Vec::new();
        if !narrow {
            attributes.extend(self.attributes.iter().filter(|attribute| attribute.default).map(attribute::named));
        }
        for attribute in named {
            if !attributes.contains(&attribute) {
                attributes.push(attribute);
            }
        }
        Ok(Chosen { attributes, actions: !narrow || names.iter().any(|name| name == "actions") })
    }

    /// The path of a resource.
    pub fn path(&self, id: &str) -> String {
        format!("/api/{}/{id}", self.name)
    }

    /// What to say when there is no such resource.
    pub fn missing(&self, id: impl std::fmt::Display) -> String {
        format!("Couldn't find a resource with id {id} in {}", self.name)
    }

    fn select(&self, attributes: &[Named]) -> String {
        let pair = |attribute: &Named| format!("'{}', {}", attribute.name, attribute.sql);
        let objects: Vec<String> =
            attributes.chunks(PAIRS).map(|some| format!("jsonb_build_object({})", some.iter().map(pair).collect::<Vec<_>>().join(", "))).collect();
        let object = if objects.is_empty() { "'{}'::JSONB".to_owned() } else { objects.join(" || ") };
        format!("SELECT {}::TEXT AS id, {object} AS resource {} ", self.id, self.from)
    }

    fn resource(&self, host: &str, id: &str, document: Json, actions: bool) -> Json {
        let mut resource = Map::new();
        let href = format!("{host}{}", self.path(id));
        resource.insert("href".into(), json!(href));
        resource.insert("id".into(), json!(id));
        if let Json::Object(document) = document {
            document.into_iter().for_each(|(name, value)| insert(&mut resource, name, value));
        }
        if actions {
            resource.insert("actions".into(), actions_at(self.actions, &href));
        }
        Json::Object(resource)
    }

    /// One page of the collection in ManageIQ's shape. `host`: scheme and host for the addresses inside. `params.limit` becomes what was kept to.
    ///
    /// The caller's transaction; its statements are bounded from here on.
    ///
    /// # Errors
    /// `BadRequest`: an unknown attribute, a value that does not fit its kind, or a question that takes too long.
    pub async fn list(&self, conn: &mut PgConnection, host: &str, params: &mut Params) -> Result<Json, ApiError> {
        let filters = params.filters.iter().map(|text| filter::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let chosen = if params.expand { self.chosen(&params.attributes)? } else { Chosen { attributes: Vec::new(), actions: false } };
        let most = if chosen.attributes.iter().any(|attribute| attribute.heavy) { LIMIT_HEAVY } else { LIMIT_MAX };
        params.limit = params.limit.min(most);
        bound(conn, STATEMENT).await?;
        let count: i64 = self.count(conn, &[]).await?;
        let matching = if filters.is_empty() { count } else { self.count(conn, &filters).await? };
        let resources = self.page(conn, host, params, &filters, &chosen).await?;
        let mut answer = json!({
            "name": self.name,
            "count": count,
            "subcount": resources.len(),
            "subquery_count": matching,
            "pages": if params.limit > 0 { (matching + params.limit - 1) / params.limit } else { 0 },
            "offset": params.offset,
            "limit": params.limit,
            "resources": resources,
            "actions": actions_at(self.collection_actions, &format!("{host}/api/{}", self.name)),
        });
        if filters.is_empty() {
            answer.as_object_mut().map(|fields| fields.remove("subquery_count"));
        }
        Ok(answer)
    }

    async fn page(&self, conn: &mut PgConnection, host: &str, params: &Params, filters: &[Filter], chosen: &Chosen) -> Result<Vec<Json>, ApiError> {
        let mut query = QueryBuilder::new(self.select(&chosen.attributes));
        self.push_where(&mut query, filters)?;
        push_order(&mut query, self, params)?;
        query.push(" LIMIT ").push_bind(params.limit).push(" OFFSET ").push_bind(params.offset);
        let rows = query.build().fetch_all(conn).await?;
        let mut resources = Vec::with_capacity(rows.len());
        for row in rows {
            let id: String = row.try_get("id")?;
            resources.push(match params.expand {
                true => self.resource(host, &id, row.try_get("resource")?, chosen.actions),
                false => json!({"href": format!("{host}{}", self.path(&id))}),
            });
        }
        Ok(resources)
    }

    async fn count(&self, conn: &mut PgConnection, filters: &[Filter]) -> Result<i64, ApiError> {
        let mut query = QueryBuilder::new(format!("SELECT COUNT(*) {} ", self.from));
        self.push_where(&mut query, filters)?;
        Ok(query.build_query_scalar().fetch_one(conn).await?)
    }

    /// One resource with the attributes that `names` choose; one that is no longer listed too.
    ///
    /// # Errors
    /// `NotFound`; `BadRequest` for an unknown attribute.
    pub async fn show(&self, conn: &mut PgConnection, host: &str, id: i64, names: &[String]) -> Result<Json, ApiError> {
        let chosen = self.chosen(names)?;
        bound(conn, STATEMENT).await?;
        let mut query = QueryBuilder::new(self.select(&chosen.attributes));
        query.push("WHERE ").push(self.id).push(" = ").push_bind(id);
        let row = query.build().fetch_optional(conn).await?.ok_or_else(|| ApiError::NotFound(self.missing(id)))?;
        Ok(self.resource(host, &id.to_string(), row.try_get("resource")?, chosen.actions))
    }

    fn push_where(&self, query: &mut QueryBuilder<Postgres>, filters: &[Filter]) -> Result<(), ApiError> {
        let lifted = filters.iter().any(|filter| self.lifted_by.contains(&filter.attribute.as_str()));
        query.push("WHERE ").push(if lifted { "TRUE" } else { self.base });
        push_filters(query, self, filters)
    }
}

/// Lets no later statement of the transaction take longer than `time`, as Postgres writes times.
async fn bound(conn: &mut PgConnection, time: &str) -> Result<(), ApiError> {
    sqlx::query!("SELECT set_config('statement_timeout', $1, TRUE)", time).fetch_one(conn).await?;
    Ok(())
}

fn actions_at(names: &[&str], href: &str) -> Json {
    names.iter().map(|name| json!({"name": name, "method": "post", "href": href})).collect()
}

/// `association.field` becomes a field of an object.
fn insert(resource: &mut Map<String, Json>, name: String, value: Json) {
    let Some((association, field)) = name.split_once('.') else {
        return match (resource.get_mut(&name), value) {
            (Some(Json::Object(old)), Json::Object(new)) => old.extend(new),
            (_, value) => drop(resource.insert(name, value)),
        };
    };
    let object = resource.entry(association).or_insert_with(|| json!({}));
    if let Json::Object(fields) = object {
        fields.insert(field.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;
