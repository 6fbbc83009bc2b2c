//! What can be wrong with a topology or a credentials file.

/// A file that cannot be used. `Display` names the file, the key and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error(
        "topology '{file}' cannot be read: {reason}\n  hint: give the path of a topology file, such as regions/local.toml"
    )]
    Read { file: String, reason: String },
    #[error("topology '{file}', line {line}: {problem}\n  hint: {hint}")]
    Syntax {
        file: String,
        line: usize,
        problem: String,
        hint: &'static str,
    },
    #[error("topology '{file}', key `{key}`: {problem}\n  hint: {hint}")]
    Invalid {
        file: String,
        key: String,
        problem: String,
        hint: String,
    },
    #[error(
        "credentials '{file}' cannot be read: {reason}\n  hint: give the path of a file in the AWS CLI's format, such as ~/.aws/credentials"
    )]
    CredentialsRead { file: String, reason: String },
    #[error(
        "credentials '{file}', line {line}: {problem}\n  hint: each [profile] needs aws_access_key_id = ... and aws_secret_access_key = ..."
    )]
    Credentials {
        file: String,
        line: usize,
        problem: String,
    },
}
