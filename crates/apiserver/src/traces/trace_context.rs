//! Which trace a request is part of, as headers say it (W3C Trace Context): `traceparent: 00-<trace>-<span>-<flags>`, and `tracestate`.

use http::HeaderMap;

use super::{header, otlp};

/// Longer ones are not passed on.
const MAX_STATE: usize = 512;

/// A span's place in its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceContext {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) parent_id: Option<[u8; 8]>,
    pub(super) sampled: bool,
    pub(super) state: String,
}

impl TraceContext {
    /// What the client says; `None` if it says nothing that can be understood.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parts = header(headers, "traceparent")?.split('-');
        let version: [u8; 1] = hex(parts.next()?)?;
        let trace_id: [u8; 16] = hex(parts.next()?)?;
        let span_id: [u8; 8] = hex(parts.next()?)?;
        let flags: [u8; 1] = hex(parts.next()?)?;
        // Later versions may have more parts, ours has none.
        let understood = version[0] != 0xff && (version[0] != 0 || parts.next().is_none());
        if !understood || trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        let state = header(headers, "tracestate").unwrap_or_default();
        let state = if state.len() > MAX_STATE { "" } else { state };
        Some(Self {
            trace_id,
            span_id,
            parent_id: None,
            sampled: flags[0] & 1 == 1,
            state: state.to_owned(),
        })
    }

    /// The beginning of a trace, if it is one of the sampled: whether it is the trace's own id decides, as everywhere along its way.
    pub(super) fn root(per_million: u64) -> Option<Self> {
        if per_million == 0 {
            return None;
        }
        let (trace_id, span_id): ([u8; 16], _) = (random()?, random()?);
        let [.., a, b, c, d, e, f, g, h] = trace_id;
        let drawn = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
        // In 128 bits nothing overflows.
        let bound = (1u128 << 63) * u128::from(per_million) / 1_000_000;
        (u128::from(drawn) < bound).then_some(Self {
            trace_id,
            span_id,
            parent_id: None,
            sampled: true,
            state: String::new(),
        })
    }

    /// Below this one. Without randomness there is nothing to tell spans apart by, and all are one.
    pub(super) fn child(&self) -> Self {
        Self {
            span_id: random().unwrap_or([1; 8]),
            parent_id: Some(self.span_id),
            ..self.clone()
        }
    }

    /// As something that is not above, but has to do with it.
    pub(super) fn into_link(self) -> otlp::Link {
        otlp::Link {
            trace_id: self.trace_id.to_vec(),
            span_id: self.span_id.to_vec(),
            trace_state: self.state,
        }
    }
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// Lower case alone, as the standard has it.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parent: &str) -> Option<TraceContext> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", parent.parse().ok()?);
        headers.insert("tracestate", "a=1".parse().ok()?);
        TraceContext::of(&headers)
    }

    #[test]
    fn headers_are_read_as_the_standard_writes_them() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let span = "b7ad6b7169203331";
        let context = of(&format!("00-{trace}-{span}-01")).unwrap();
        assert!(context.sampled);
        assert_eq!(context.trace_id[..2], [0x0a, 0xf7]);
        assert_eq!(context.state, "a=1");
        let child = context.child();
        assert_eq!(child.parent_id, Some(context.span_id));
        assert_ne!(child.span_id, context.span_id);
        assert!(!of(&format!("00-{trace}-{span}-02")).unwrap().sampled);
        assert!(of(&format!("01-{trace}-{span}-01-more")).is_some());
        for wrong in [
            String::new(),
            "00".to_owned(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}é-{span}-01"),
            format!("00-{}-{span}-01", &trace[1..]),
        ] {
            assert_eq!(of(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_rate_is_kept() {
        assert_eq!(TraceContext::root(0), None);
        assert!((0..100).all(|_| TraceContext::root(1_000_000).is_some()));
        let sampled = (0..10_000)
            .filter(|_| TraceContext::root(500_000).is_some())
            .count();
        assert!((4_500..5_500).contains(&sampled), "{sampled}");
    }
}
