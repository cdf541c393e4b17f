//! `--token-auth-file`: a CSV file of `token,user,uid,"group1,group2"`. Read once at start, as upstream does.

use std::{collections::HashMap, path::Path};

use async_trait::async_trait;
use ring::digest;

use super::{Authenticated, AuthenticationError, TokenAuthenticator};
use crate::user::UserInfo;

/// The file's users, by the digest of their token: a lookup takes the same time however much of a token is right.
pub struct TokenFile {
    users: HashMap<[u8; 32], UserInfo>,
}

/// Why the file was refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("reading the token file {path:?}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A record is short.
    #[error("token file {path:?}, record {record}: need at least token, user name and user uid")]
    Short {
        /// The file.
        path: std::path::PathBuf,
        /// Which, from 1.
        record: usize,
    },
}

impl TokenFile {
    /// Reads and parses the file.
    pub fn read(path: &Path) -> Result<Self, TokenFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| TokenFileError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|record| TokenFileError::Short {
            path: path.to_owned(),
            record,
        })
    }

    /// Parses; `Err` is the number of the first bad record.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut users = HashMap::new();
        for (index, record) in records(text).into_iter().enumerate() {
            let [token, name, uid, rest @ ..] = record.as_slice() else {
                return Err(index + 1);
            };
            if token.is_empty() {
                tracing::warn!(record = index + 1, "empty token in the token file: ignored");
                continue;
            }
            let groups = rest.first().map(|groups| groups.split(','));
            let user = UserInfo {
                name: name.clone(),
                uid: uid.clone(),
                groups: groups.into_iter().flatten().map(str::to_owned).collect(),
                ..UserInfo::default()
            };
            users.insert(fingerprint(token), user);
        }
        Ok(Self { users })
    }
}

#[async_trait]
impl TokenAuthenticator for TokenFile {
    async fn authenticate_token(
        &self,
        token: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let user = self.users.get(&fingerprint(token)).cloned();
        Ok(user.map(|user| Authenticated {
            user,
            ..Authenticated::default()
        }))
    }
}

fn fingerprint(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    out
}

/// RFC 4180 records: fields may be quoted, quotes in them doubled. Blank lines are left out.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let mut record: Vec<String> = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            ' ' if !quoted && field.is_empty() => {}
            _ => field.push(c),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    records.retain(|record| record.iter().any(|field| !field.is_empty()));
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn users_and_their_groups() {
        let file = TokenFile::parse("a,alice,1,\"g1,g2\"\n\nb,bob,2\n,nobody,3\nd,dora,4,\n")
            .ok()
            .unwrap();
        let alice = file.authenticate_token("a").await.unwrap().unwrap().user;
        assert_eq!((alice.name.as_str(), alice.uid.as_str()), ("alice", "1"));
        assert_eq!(alice.groups, ["g1", "g2"]);
        assert!(
            file.authenticate_token("b")
                .await
                .unwrap()
                .unwrap()
                .user
                .groups
                .is_empty()
        );
        let dora = file.authenticate_token("d").await.unwrap().unwrap().user;
        assert_eq!(dora.groups, [""]);
        assert!(file.authenticate_token("").await.unwrap().is_none());
        assert!(file.authenticate_token("c").await.unwrap().is_none());
    }

    #[test]
    fn a_short_record_is_named() {
        assert_eq!(TokenFile::parse("a,alice,1\nb,bob\n").err(), Some(2));
    }
}
