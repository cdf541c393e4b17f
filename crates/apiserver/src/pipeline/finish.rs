//! What every answer carries: the audit id, the flow control it ran under, that it must not be cached, and warnings.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response, header};

use crate::{
    body::Body,
    context::{Context, FlowIds},
    warnings::shortened,
};

/// Headers to be set once there is an answer.
pub(super) struct Marks {
    audit_id: String,
    /// Once the request belongs to a flow.
    pub(super) flow: Option<FlowIds>,
    /// Whether it was refused before any handler saw it.
    pub(super) refused: bool,
    /// What a stage that refused it had to say besides.
    pub(super) warnings: Vec<String>,
    context: Option<Arc<Context>>,
}

pub(super) const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const FLOW_SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const PRIORITY_LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

impl Marks {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            audit_id: context.audit_id.clone(),
            flow: None,
            refused: false,
            warnings: Vec::new(),
            context: None,
        }
    }

    /// Warnings are taken from here.
    pub(super) fn follow(&mut self, context: &Arc<Context>) {
        self.context = Some(Arc::clone(context));
    }

    pub(super) fn audit_id(&self) -> &str {
        &self.audit_id
    }

    pub(super) fn apply(self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(AUDIT_ID, &self.audit_id);
        if self.refused {
            set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        }
        if let Some(flow) = self.flow {
            headers.insert(FLOW_SCHEMA, flow.flow_schema);
            headers.insert(PRIORITY_LEVEL, flow.priority_level);
        }
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-cache, private"));
        let mut warnings = self.warnings;
        if let Some(context) = self.context {
            warnings.extend(context.take_warnings());
        }
        for warning in shortened(warnings) {
            if let Ok(value) = HeaderValue::from_str(&format!("299 - {}", quote(&warning))) {
                headers.append(header::WARNING, value);
            }
        }
        response
    }
}

/// As a quoted string of RFC 9110, control characters left out.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
