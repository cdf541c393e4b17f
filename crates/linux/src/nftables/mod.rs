//! nftables: a table as data, the difference of two tables, and one transaction that carries it out.
//!
//! What an Ironclad component wants in the kernel is a value ([`Table`]), so that it can be computed by a pure function, compared and
//! printed in tests. [`Changes::between`] finds the least that must be done; [`Nftables::apply`] does it in one netlink batch,
//! which the kernel takes whole or not at all: packets see the old rules or the new ones, never a mixture.

mod apply;
mod changes;
mod lower;
mod table;

pub use apply::{Nftables, NftablesError};
pub use changes::Changes;
pub use table::{
    Chain, Element, Family, Hook, Key, KeyField, Protocol, Rule, Set, SetKey, Statement, Table,
    Verdict,
};
