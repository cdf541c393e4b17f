//! Carrying out changes: one netlink batch, which the kernel takes whole or not at all.

use nlink::netlink::{Connection, Nftables as Protocol, nftables as nft};

use super::{
    changes::Changes,
    lower,
    table::{Family, Table},
};

/// Elements in one message; a message's attribute cannot be longer than 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 256;

/// Why the kernel would not.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct NftablesError {
    operation: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl NftablesError {
    pub(super) fn new(
        operation: String,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            operation,
            source: source.into(),
        }
    }
}

/// A connection to the nftables of the network namespace in which it was opened.
pub struct Nftables {
    connection: Connection<Protocol>,
}

impl Nftables {
    /// Opens one, in the caller's network namespace.
    pub fn open() -> Result<Self, NftablesError> {
        let connection = Connection::<Protocol>::new()
            .map_err(|error| NftablesError::new("opening nftables".to_owned(), error))?;
        Ok(Self { connection })
    }

    /// Brings the kernel from wherever `changes` started to `table`.
    pub async fn apply(&self, table: &Table, changes: &Changes) -> Result<(), NftablesError> {
        if changes.is_empty() {
            return Ok(());
        }
        let replace = changes.recreate && self.exists(table).await?;
        let transaction = self.transaction(table, changes, replace)?;
        transaction.commit(&self.connection).await.map_err(|error| {
            NftablesError::new(format!("changing nftables table {}", table.name), error)
        })
    }

    /// Removes a table with all that is in it, if it is there.
    pub async fn remove(&self, family: Family, name: &str) -> Result<(), NftablesError> {
        self.connection
            .del_table_if_exists(name, family.into())
            .await
            .map(drop)
            .map_err(|error| NftablesError::new(format!("removing nftables table {name}"), error))
    }

    async fn exists(&self, table: &Table) -> Result<bool, NftablesError> {
        let tables = self
            .connection
            .list_tables_in(table.family.into())
            .await
            .map_err(|error| NftablesError::new("listing nftables tables".to_owned(), error))?;
        Ok(tables.iter().any(|found| found.name == table.name))
    }

    fn transaction(
        &self,
        table: &Table,
        changes: &Changes,
        replace: bool,
    ) -> Result<nft::Transaction, NftablesError> {
        let (name, family) = (table.name.as_str(), nft::Family::from(table.family));
        let mut batch = self.connection.transaction();
        if replace {
            batch = batch.del_table(name, family);
        }
        if changes.recreate {
            batch = batch.add_table(name, family);
        }
        for set in &changes.add_sets {
            batch = batch.add_set(lower::set(table.family, name, set, &table.sets[set]));
        }
        for chain in &changes.add_chains {
            let mut lowered = nft::Chain::new(name, chain.as_str())
                .map_err(|error| NftablesError::new(format!("naming chain {chain}"), error))?
                .family(family);
            if let Some(hook) = table.chains[chain].hook {
                lowered = lowered.base(lower::base_chain(hook));
            }
            batch = batch.add_chain(lowered);
        }
        for (set, elements) in &changes.remove_elements {
            let lowered_set = lower::set(table.family, name, set, &table.sets[set]);
            for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
                let elements: Vec<_> = chunk
                    .iter()
                    .map(|key| lower::element(key, None))
                    .collect::<Result<_, _>>()?;
                batch = batch.del_set_elements(&lowered_set, &elements);
            }
        }
        for (set, elements) in &changes.add_elements {
            let lowered_set = lower::set(table.family, name, set, &table.sets[set]);
            for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
                let elements: Vec<_> = chunk
                    .iter()
                    .map(|(key, verdict)| lower::element(key, verdict.as_ref()))
                    .collect::<Result<_, _>>()?;
                batch = batch.add_set_elements(&lowered_set, &elements);
            }
        }
        for chain in &changes.write_rules {
            if !changes.add_chains.contains(chain) {
                batch = batch.flush_chain(name, chain, family);
            }
            for rule in &table.chains[chain].rules {
                let mut lowered = nft::Rule::new(name, chain).family(family);
                for item in lower::statements(table.family, rule)? {
                    lowered = lowered.then(item);
                }
                batch = batch.add_rule(lowered);
            }
        }
        for chain in &changes.remove_chains {
            batch = batch.flush_chain(name, chain, family);
        }
        for set in &changes.remove_sets {
            batch = batch.del_set(name, set, family);
        }
        for chain in &changes.remove_chains {
            batch = batch.del_chain(name, chain, family);
        }
        Ok(batch)
    }
}
