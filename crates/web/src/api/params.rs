//! The query parameters that every collection understands.
//!
//! Source: ManageIQ's REST API, "Querying collections": `expand`, `attributes`, `filter[]`, `sort_by`, `sort_order`, `sort_options`, `offset`, `limit`.

use super::error::ApiError;

/// The most resources in one answer; ManageIQ's `max_results_per_page`.
pub(crate) const LIMIT_MAX: i64 = 1000;
/// The most with attributes of which one resource has hundreds of rows.
pub(crate) const LIMIT_HEAVY: i64 = 50;

/// Parsed query parameters; names that are not known are an error, so that a typo never widens a result.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Params {
    /// `expand=resources`: whole resources instead of their addresses.
    pub expand: bool,
    pub attributes: Vec<String>,
    /// Raw texts of `filter[]`, in order.
    pub filters: Vec<String>,
    pub sort_by: Vec<String>,
    /// One per attribute of `sort_by`; ascending where there is none.
    pub descending: Vec<bool>,
    pub ignore_case: bool,
    pub offset: i64,
    pub limit: i64,
}

fn words(value: &str) -> impl Iterator<Item = String> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned)
}

fn number(name: &str, value: &str, most: i64) -> Result<i64, ApiError> {
    match value.parse::<i64>() {
        Ok(number) if number >= 0 => Ok(number.min(most)),
        _ => Err(ApiError::BadRequest(format!("{name} must be a whole number from 0, not {value:?}"))),
    }
}

fn descending(word: &str) -> Result<bool, ApiError> {
    match word.to_ascii_lowercase().as_str() {
        "asc" | "ascending" => Ok(false),
        "desc" | "descending" => Ok(true),
        _ => Err(ApiError::BadRequest(format!("sort_order must be asc or desc, one for each attribute of sort_by, not {word:?}"))),
    }
}

/// Reads a raw query string.
///
/// # Errors
/// `BadRequest` for an unknown parameter or a value of the wrong kind; the message names it.
pub(crate) fn parse(query: &str) -> Result<Params, ApiError> {
    let mut params = Params { limit: LIMIT_MAX, ..Params::default() };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if value.contains('\0') {
            return Err(ApiError::BadRequest(format!("{name} has a NUL character, which nothing here has")));
        }
        match name.as_ref() {
            "expand" => params.expand |= words(&value).any(|word| word == "resources"),
            "attributes" => params.attributes.extend(words(&value)),
            "filter[]" | "filter" => params.filters.push(value.into_owned()),
            "sort_by" => params.sort_by.extend(words(&value)),
            "sort_order" => {
                for word in words(&value) {
                    params.descending.push(descending(&word)?);
                }
            }
            "sort_options" => params.ignore_case |= words(&value).any(|word| word == "ignore_case"),
            "offset" => params.offset = number("offset", &value, i64::from(i32::MAX))?,
            "limit" => params.limit = number("limit", &value, LIMIT_MAX)?,
            other => {
                return Err(ApiError::BadRequest(format!(
                    "unknown parameter {other:?}; known are expand, attributes, filter[], sort_by, sort_order, sort_options, offset and limit"
                )));
            }
        }
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_collection_are_read() {
        let params = parse("expand=resources&attributes=name,digest&filter[]=name%3D'a'&sort_by=name,id&sort_order=desc,asc&limit=5&offset=10").unwrap();
        assert!(params.expand);
        assert_eq!((params.sort_by, params.descending), (vec!["name".to_owned(), "id".to_owned()], vec![true, false]));
        assert_eq!(params.attributes, ["name", "digest"]);
        assert_eq!(params.filters, ["name='a'"]);
        assert_eq!((params.offset, params.limit), (10, 5));
    }

    #[test]
    fn a_typo_is_refused_by_name() {
        let Err(ApiError::BadRequest(text)) = parse("flter[]=x") else { panic!("accepted") };
        assert!(text.contains("flter[]"));
        assert!(parse("limit=-1").is_err());
    }
}
