//! Takes a safeguard out, so that the fault harness can show that it would notice.
//!
//! For tests only: without the feature `sabotage`, which no build for use has, nothing here can be
//! asked for, and the compiler removes every question. With it, the environment variable
//! `ORDERS_SABOTAGE` names one safeguard for the life of the process. Safeguards that are written in
//! SQL are taken out by the harness itself (`tests/it/chaos`).

/// A safeguard that can be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safeguard {
    /// A publication names the sequence that it expects at the stream's end.
    ExpectedSequence,
    /// The checkpoint moves in the transaction of the rows.
    CheckpointInTheTransaction,
    /// Who lost the lease writes nothing.
    EpochFence,
    /// A row takes only events that are newer than it.
    VersionGuard,
}

/// Whether the safeguard is taken out: never, without the feature.
#[cfg(not(feature = "sabotage"))]
#[must_use]
pub const fn is_out(_safeguard: Safeguard) -> bool {
    false
}

/// Whether the safeguard is taken out.
#[cfg(feature = "sabotage")]
#[must_use]
pub fn is_out(safeguard: Safeguard) -> bool {
    static NAMED: std::sync::OnceLock<Option<std::ffi::OsString>> = std::sync::OnceLock::new();
    let name = match safeguard {
        Safeguard::ExpectedSequence => "expected-sequence",
        Safeguard::CheckpointInTheTransaction => "checkpoint-in-the-transaction",
        Safeguard::EpochFence => "epoch-fence",
        Safeguard::VersionGuard => "version-guard",
    };
    let named = NAMED.get_or_init(|| std::env::var_os("ORDERS_SABOTAGE"));
    named.as_deref() == Some(name.as_ref())
}
