//! Whether anybody known speaks on a connection: the server lets those that nobody is known on make room first.

use http::Extensions;
use std::fmt;
use std::sync::Arc;

/// Put into a request's extensions by whoever accepted its connection; called once the request has proven who makes it.
#[derive(Clone)]
pub struct Standing(Arc<dyn Fn() + Send + Sync>);

impl Standing {
    /// `proven` may be called many times.
    pub fn new(proven: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(proven))
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standing(…)")
    }
}

/// Says that a known person, or a known script, made this request.
pub(crate) fn prove(extensions: &Extensions) {
    if let Some(standing) = extensions.get::<Standing>() {
        (standing.0)();
    }
}
