//! What a plugin is: something that may answer a question.

use async_trait::async_trait;
use hickory_proto::{
    op::ResponseCode,
    rr::{LowerName, Record, RecordType},
};

/// A question, its name in lower case.
#[derive(Clone, Debug)]
pub struct Question {
    /// Asked name.
    pub name: LowerName,
    /// Asked type.
    pub record_type: RecordType,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `NoError`, `NXDomain`, `ServFail`, …
    pub code: ResponseCode,
    /// Whether it comes from whoever owns the zone.
    pub authoritative: bool,
    /// The answers.
    pub answers: Vec<Record>,
    /// The zone's SOA, where there is no answer.
    pub soa: Vec<Record>,
    /// Addresses of names in the answers.
    pub additionals: Vec<Record>,
}

impl Answer {
    /// An answer without records.
    pub fn empty(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            answers: Vec::new(),
            soa: Vec::new(),
            additionals: Vec::new(),
        }
    }
}

/// A link of the chain.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// CoreDNS' name for it.
    fn name(&self) -> &'static str;
    /// `None` passes the question on.
    async fn answer(&self, question: &Question) -> Option<Answer>;
}
