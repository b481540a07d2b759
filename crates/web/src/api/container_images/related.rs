//! What belongs to an image: the fields of its associations.

use crate::api::attribute::{Attribute, Kind};

/// Failed rules by severity.
pub(super) const FAILED: &[Attribute] = &[
    Attribute::plain("Critical", "n.failed_critical", Kind::Integer),
    Attribute::plain("High", "n.failed_high", Kind::Integer),
    Attribute::plain("Medium", "n.failed_medium", Kind::Integer),
    Attribute::plain("Low", "n.failed_low", Kind::Integer),
    Attribute::plain("Unknown", "n.failed_unknown", Kind::Integer),
];

/// Of `inspections n`.
pub(super) const OPERATING_SYSTEM: &[Attribute] = &[
    Attribute::plain("distribution", "n.os_id", Kind::Text),
    Attribute::plain("version", "n.os_version", Kind::Text),
    Attribute::plain("product_name", "n.os_name", Kind::Text),
];

/// Of `providers p`.
pub(super) const PROVIDER: &[Attribute] =
    &[Attribute::plain("id", "p.id::TEXT", Kind::Text), Attribute::plain("name", "p.name", Kind::Text), Attribute::plain("kind", "p.kind", Kind::Text)];

/// Of `image_registries r`.
pub(super) const REGISTRY: &[Attribute] = &[
    Attribute::plain("id", "r.id::TEXT", Kind::Text),
    Attribute::plain("name", "r.name", Kind::Text),
    Attribute::plain("host", "r.host", Kind::Text),
    Attribute::plain("port", "r.port::BIGINT", Kind::Integer),
];

/// Of `scans s`, `providers q` and `inspections m`.
pub(super) const SCAN_RESULT: &[Attribute] = &[
    Attribute::plain("id", "s.id::TEXT", Kind::Text),
    Attribute::plain("scan_type", "'OpenSCAP'::TEXT", Kind::Text),
    Attribute::plain("provider", "COALESCE(q.name, m.provider_name, 'a removed provider')", Kind::Text),
    Attribute::plain("ems_id", "s.provider_id::TEXT", Kind::Text),
    Attribute::plain("scan_status", "s.outcome", Kind::Text),
    Attribute::plain("scan_message", "s.message", Kind::Text),
    Attribute::plain("reason_code", "s.reason_code", Kind::Text),
    Attribute::plain("advice", "s.advice", Kind::Text),
    Attribute::plain("requested_on", "s.requested_at", Kind::Time),
    Attribute::plain("created_on", "s.finished_at", Kind::Time),
    Attribute::plain("layers", "FROM scan_layers l WHERE l.scan_id = s.id ORDER BY l.layer", Kind::Many(LAYER)),
];

/// Of `scan_layers l`.
const LAYER: &[Attribute] = &[
    Attribute::plain("layer", "l.layer", Kind::Text),
    Attribute::plain("state", "l.state", Kind::Text),
    Attribute::plain("reason", "l.reason", Kind::Text),
    Attribute::plain("profile", "l.profile", Kind::Text),
    Attribute::plain("content", "l.content", Kind::Text),
    Attribute::plain("rules", "l.rules", Kind::Integer),
    Attribute::plain("failed", "l.failed", Kind::Integer),
    Attribute::plain("definitions", "l.definitions", Kind::Integer),
    Attribute::plain("definitions_evaluated", "l.definitions_evaluated", Kind::Integer),
    Attribute::plain("definitions_passed", "l.definitions_passed", Kind::Integer),
    Attribute::plain("definitions_not_applicable", "l.definitions_not_applicable", Kind::Integer),
    Attribute::plain("definitions_undecided", "l.definitions_undecided", Kind::Integer),
];

/// Of `rule_results o` and `rules u`.
pub(super) const RULE_RESULT: &[Attribute] = &[
    Attribute::plain("name", "u.rule_id", Kind::Text),
    Attribute::plain("result", "o.outcome", Kind::Text),
    Attribute::plain("severity", "o.severity", Kind::Text),
    Attribute::plain("title", "u.title", Kind::Text),
    Attribute::plain("cves", "(SELECT string_agg(e ->> 'text', ',') FROM jsonb_array_elements(u.identifiers) e WHERE e ->> 'text' LIKE 'CVE-%')", Kind::Text),
    Attribute::plain("identifiers", "u.identifiers", Kind::Json),
    Attribute::plain("description", "u.description", Kind::Text),
    Attribute::plain("fix", "u.fix", Kind::Text),
    Attribute::plain("layer", "o.layer", Kind::Text),
    Attribute::plain("message", "o.message", Kind::Text),
];

/// Of `packages k`.
pub(super) const PACKAGE: &[Attribute] = &[
    Attribute::plain("name", "k.name", Kind::Text),
    Attribute::plain("version", "k.version", Kind::Text),
    Attribute::plain("arch", "k.architecture", Kind::Text),
    Attribute::plain("typename", "k.kind", Kind::Text),
    Attribute::plain("vendor", "k.vendor", Kind::Text),
    Attribute::plain("description", "k.summary", Kind::Text),
    Attribute::plain("source", "k.source", Kind::Text),
];

/// Of `pods d` and `projects j`.
pub(super) const POD: &[Attribute] =
    &[Attribute::plain("id", "d.id::TEXT", Kind::Text), Attribute::plain("name", "d.name", Kind::Text), Attribute::plain("project", "j.name", Kind::Text)];
