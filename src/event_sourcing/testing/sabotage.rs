//! Switches a safeguard off, to prove that the fault tests notice its absence.
//!
//! For tests only. Without the feature `sabotage`, which no release build has, [`is_out`] is the
//! constant `false` and the compiler removes every check. With it, the environment variable
//! `ORDERS_SABOTAGE` names the one safeguard that is switched off while the process runs.
//! Safeguards that are written in SQL are switched off by the tests themselves (`tests/it/chaos`).

/// A safeguard that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safeguard {
    /// A publication names the last sequence that it expects in the stream.
    ExpectedSequence,
    /// The checkpoint is updated in the same transaction as the rows.
    CheckpointInTheTransaction,
    /// A process that lost its lease writes nothing.
    EpochFence,
    /// Only events newer than a row change it.
    VersionGuard,
    /// A read shows no older position than an earlier read of the process.
    ShownPosition,
}

/// Whether the safeguard is switched off: never, without the feature.
#[cfg(not(feature = "sabotage"))]
#[must_use]
pub const fn is_out(_safeguard: Safeguard) -> bool {
    false
}

/// Whether the safeguard is switched off.
#[cfg(feature = "sabotage")]
#[must_use]
pub fn is_out(safeguard: Safeguard) -> bool {
    static NAMED: std::sync::OnceLock<Option<std::ffi::OsString>> = std::sync::OnceLock::new();
    let name = match safeguard {
        Safeguard::ExpectedSequence => "expected-sequence",
        Safeguard::CheckpointInTheTransaction => "checkpoint-in-the-transaction",
        Safeguard::EpochFence => "epoch-fence",
        Safeguard::VersionGuard => "version-guard",
        Safeguard::ShownPosition => "shown-position",
    };
    let named = NAMED.get_or_init(|| std::env::var_os("ORDERS_SABOTAGE"));
    named.as_deref() == Some(name.as_ref())
}
