//! `NextToken`: where the next page of a SELECT starts, bound to the statement. Clients can not read it,
//! and what they send is not trusted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::reads::Resume;
use crate::item::json::{item_from_json, write_item};
use crate::replica::ApiError;

const VERSION: u8 = 1;
/// Version, digest of the statement, position of the partition.
const HEAD: usize = 1 + 8 + 2;

/// The longest token.
pub(super) const TOKEN_MAX: usize = 32_768;

pub(super) fn encode(digest: u64, resume: &Resume) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&digest.to_be_bytes());
    bytes.extend_from_slice(&resume.partition.to_be_bytes());
    if let Some(key) = &resume.key {
        write_item(key, &mut bytes);
    }
    STANDARD.encode(bytes)
}

pub(super) fn decode(token: &str, digest: u64) -> Result<Resume, ApiError> {
    let bytes = STANDARD.decode(token).map_err(|_| invalid())?;
    let (head, key) = bytes.split_at_checked(HEAD).ok_or_else(invalid)?;
    let [version, bound @ .., high, low] = head else {
        return Err(invalid());
    };
    if *version != VERSION {
        return Err(invalid());
    }
    if bound != digest.to_be_bytes().as_slice() {
        return Err(ApiError::validation("NextToken does not match request"));
    }
    let key = if key.is_empty() {
        None
    } else {
        let json = serde_json::from_slice(key).map_err(|_| invalid())?;
        Some(item_from_json(json).map_err(|_| invalid())?)
    };
    Ok(Resume {
        partition: u16::from_be_bytes([*high, *low]),
        key,
    })
}

fn invalid() -> ApiError {
    ApiError::validation("Invalid NextToken")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Value;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_bound_to_its_statement() {
        let key = [("pk".to_owned(), Value::S("a".into()))].into();
        for key in [None, Some(key)] {
            let resume = Resume { partition: 3, key };
            let token = encode(7, &resume);
            assert_eq!(decode(&token, 7).expect("its own"), resume);
            let error = decode(&token, 8).expect_err("another's").to_string();
            assert_eq!(error, "NextToken does not match request");
        }
    }

    proptest! {
        #[test]
        fn no_token_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), text in ".{0,40}") {
            decode(&text, 0).ok();
            let mut forged = vec![VERSION];
            forged.extend_from_slice(&0u64.to_be_bytes());
            forged.extend_from_slice(&bytes);
            decode(&STANDARD.encode(&forged), 0).ok();
        }
    }
}
