//! `filter[]` and `sort_by` as SQL: names become expressions of the program's own tables, values are bound.

use super::attribute::{Kind, Named};
use super::collection::Collection;
use super::error::ApiError;
use super::filter::{Filter, Operator, Value};
use super::params::Params;
use sqlx::{Postgres, QueryBuilder};

/// Adds the conditions of `filters`: all plain ones together, or any one that begins with `or`.
///
/// Source: ManageIQ's `Api::Filter#parse`.
///
/// # Errors
/// `BadRequest`: an unknown attribute, or a value that does not fit its kind.
pub(super) fn push_filters(query: &mut QueryBuilder<Postgres>, collection: &Collection, filters: &[Filter]) -> Result<(), ApiError> {
    if filters.is_empty() {
        return Ok(());
    }
    let (or, and): (Vec<&Filter>, Vec<&Filter>) = filters.iter().partition(|filter| filter.or);
    query.push(" AND (");
    for (position, filter) in and.iter().enumerate() {
        query.push(if position == 0 { "(" } else { " AND " });
        push_filter(query, collection, filter)?;
    }
    query.push(if and.is_empty() { "" } else { ")" });
    for (position, filter) in or.iter().enumerate() {
        query.push(if position == 0 && and.is_empty() { "" } else { " OR " });
        push_filter(query, collection, filter)?;
    }
    query.push(")");
    Ok(())
}

fn push_filter(query: &mut QueryBuilder<Postgres>, collection: &Collection, filter: &Filter) -> Result<(), ApiError> {
    let attribute = collection.attribute(&filter.attribute)?;
    if matches!(attribute.kind, Kind::Json | Kind::One(_) | Kind::Many(_)) {
        return Err(ApiError::BadRequest(format!("{} cannot be filtered by {}", collection.name, attribute.name)));
    }
    let not = filter.operator == Operator::NotEqual;
    match &filter.value {
        Value::One(value) => return push_comparison(query, &attribute, filter.operator, value),
        _ if !matches!(filter.operator, Operator::Equal | Operator::NotEqual) => {
            return Err(ApiError::BadRequest(format!("NULL and lists are compared by = and != only, in the filter by {}", attribute.name)));
        }
        Value::Null => {
            query.push("(").push(&attribute.sql).push(if not { ") IS NOT NULL" } else { ") IS NULL" });
        }
        Value::Any(values) => {
            for (position, value) in values.iter().enumerate() {
                query.push(match (position, not) {
                    (0, _) => "(",
                    (_, true) => " AND ",
                    (_, false) => " OR ",
                });
                push_comparison(query, &attribute, filter.operator, value)?;
            }
            query.push(")");
        }
    }
    Ok(())
}

fn push_comparison(query: &mut QueryBuilder<Postgres>, attribute: &Named, operator: Operator, value: &str) -> Result<(), ApiError> {
    let wrong = |kind: &str| ApiError::BadRequest(format!("{} is compared with {kind}, not {value:?}", attribute.name));
    let pattern = pattern(value).filter(|_| attribute.kind == Kind::Text && matches!(operator, Operator::Equal | Operator::NotEqual));
    query.push("((").push(&attribute.sql).push(")");
    let (sign, end) = match operator {
        Operator::Equal if pattern.is_some() => (" LIKE ", ")"),
        // Where nothing is there, nothing is equal and nothing matches.
        Operator::NotEqual if pattern.is_some() => (" LIKE ", ") IS NOT TRUE"),
        Operator::Equal => (" = ", ")"),
        Operator::NotEqual => (" IS DISTINCT FROM ", ")"),
        Operator::Less => (" < ", ")"),
        Operator::LessOrEqual => (" <= ", ")"),
        Operator::Greater => (" > ", ")"),
        Operator::GreaterOrEqual => (" >= ", ")"),
        Operator::Matches | Operator::NotMatches if attribute.kind != Kind::Text => return Err(wrong("= != < <= > >=")),
        Operator::Matches => (" ~ ", ")"),
        Operator::NotMatches => (" ~ ", ") IS NOT TRUE"),
    };
    query.push(sign);
    match attribute.kind {
        Kind::Text => query.push_bind(pattern.unwrap_or_else(|| value.to_owned())),
        Kind::Integer => query.push_bind(value.parse::<i64>().map_err(|_| wrong("a whole number"))?),
        Kind::Boolean => query.push_bind(value.parse::<bool>().map_err(|_| wrong("true or false"))?),
        Kind::Time => {
            let time = chrono::DateTime::parse_from_rfc3339(value).map_err(|_| wrong("a time such as 2026-01-31T12:00:00Z"))?;
            query.push_bind(time.to_utc())
        }
        Kind::Json | Kind::One(_) | Kind::Many(_) => return Err(wrong("nothing")),
    };
    query.push(end);
    Ok(())
}

/// A pattern of LIKE when `value` has a wildcard: `*` and `%` stand for any text, all else for itself.
fn pattern(value: &str) -> Option<String> {
    let literal = || value.replace('\\', r"\\").replace('_', r"\_").replace('*', "%");
    value.contains(['%', '*']).then(literal)
}

/// Adds the order; the id makes it complete.
///
/// # Errors
/// `BadRequest`: an unknown attribute, or one that has no order.
pub(super) fn push_order(query: &mut QueryBuilder<Postgres>, collection: &Collection, params: &Params) -> Result<(), ApiError> {
    query.push(" ORDER BY ");
    for (position, name) in params.sort_by.iter().enumerate() {
        let attribute = collection.attribute(name)?;
        match attribute.kind {
            Kind::Json | Kind::One(_) | Kind::Many(_) => return Err(ApiError::BadRequest(format!("{} cannot be sorted by {name}", collection.name))),
            Kind::Text if params.ignore_case => query.push("LOWER(").push(&attribute.sql).push(")"),
            _ => query.push(&attribute.sql),
        };
        query.push(direction(params, position)).push(" NULLS LAST, ");
    }
    query.push(collection.id).push(direction(params, 0));
    Ok(())
}

/// Of the attribute at `position`; `sort_order` names one for each, and what it does not name ascends.
fn direction(params: &Params, position: usize) -> &'static str {
    if params.descending.get(position).is_some_and(|descending| *descending) { " DESC" } else { " ASC" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_value_with_a_wildcard_all_other_characters_stand_for_themselves() {
        assert_eq!(pattern("a_b").as_deref(), None);
        assert_eq!(pattern(r"a_b*\").as_deref(), Some(r"a\_b%\\"));
    }
}
