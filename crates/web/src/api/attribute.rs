//! What a resource has: the table from which statements and the OpenAPI document are made (docs/adr/0001).

use super::error::ApiError;

/// How an attribute is compared, sorted and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Boolean,
    Time,
    /// Any JSON; it can be asked for, not filtered or sorted by.
    Json,
    /// A resource that belongs to this one, or null. Its fields can be named behind a dot.
    One(&'static [Attribute]),
    /// Several that belong to this one, never null.
    Many(&'static [Attribute]),
}

/// One attribute of a resource, or a field of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub name: &'static str,
    /// An expression; of [`Kind::One`] and [`Kind::Many`] all that follows `SELECT fields`.
    pub sql: &'static str,
    pub kind: Kind,
    /// Part of a resource without being asked for by `attributes`; ManageIQ calls these physical, the others virtual.
    pub default: bool,
    /// So large that a list gives few resources at a time with it ([`super::params::LIMIT_HEAVY`]).
    pub heavy: bool,
}

impl Attribute {
    pub const fn plain(name: &'static str, sql: &'static str, kind: Kind) -> Self {
        Self { name, sql, kind, default: true, heavy: false }
    }

    pub const fn extra(name: &'static str, sql: &'static str, kind: Kind) -> Self {
        Self { name, sql, kind, default: false, heavy: false }
    }

    pub const fn heavy(name: &'static str, sql: &'static str, kind: Kind) -> Self {
        Self { name, sql, kind, default: false, heavy: true }
    }

    /// The attribute as one SQL expression.
    pub fn expression(&self) -> String {
        match self.kind {
            Kind::One(fields) => format!("(SELECT {} {})", object(fields), self.sql),
            Kind::Many(fields) => format!("COALESCE((SELECT jsonb_agg(many.one) FROM (SELECT {} AS one {}) many), '[]')", object(fields), self.sql),
            _ => self.sql.to_owned(),
        }
    }
}

fn object(fields: &[Attribute]) -> String {
    let fields: Vec<_> = fields.iter().map(|field| format!("'{}', {}", field.name, field.expression())).collect();
    format!("jsonb_build_object({})", fields.join(", "))
}

/// An attribute that was asked for by name: `name`, or `association.field`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub name: String,
    pub sql: String,
    pub kind: Kind,
    pub default: bool,
    pub heavy: bool,
}

/// Finds an attribute by name, one association deep. `collection`: for the message.
///
/// # Errors
/// `BadRequest` that lists the names there are.
pub(crate) fn find(attributes: &'static [Attribute], collection: &str, name: &str) -> Result<Named, ApiError> {
    let (first, field) = name.split_once('.').map_or((name, None), |(first, field)| (first, Some(field)));
    let attribute = attributes.iter().find(|attribute| attribute.name == first).ok_or_else(|| unknown(collection, name, attributes))?;
    let Some(field) = field else { return Ok(named(attribute)) };
    match attribute.kind {
        Kind::One(fields) => {
            let field = fields.iter().find(|other| other.name == field).ok_or_else(|| unknown(&format!("{collection}.{first}"), field, fields))?;
            let sql = format!("(SELECT {} {})", field.expression(), attribute.sql);
            Ok(Named { name: name.to_owned(), sql, kind: field.kind, default: false, heavy: attribute.heavy })
        }
        Kind::Many(_) => Err(ApiError::BadRequest(format!("{first} of {collection} are several; ask for {first:?} as a whole"))),
        _ => Err(ApiError::BadRequest(format!("{first} of {collection} has no fields; ask for {first:?}"))),
    }
}

/// `attribute` under its own name.
pub(crate) fn named(attribute: &Attribute) -> Named {
    Named { name: attribute.name.to_owned(), sql: attribute.expression(), kind: attribute.kind, default: attribute.default, heavy: attribute.heavy }
}

fn unknown(of: &str, name: &str, attributes: &[Attribute]) -> ApiError {
    let known: Vec<_> = attributes.iter().map(|attribute| attribute.name).collect();
    ApiError::BadRequest(format!("{of} have no attribute {name:?}; they have {}", known.join(", ")))
}
