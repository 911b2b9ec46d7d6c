//! The safeguards, and how each is removed: those in SQL by changed functions in the round's own
//! database, the others by the program itself (see `src/event_sourcing/testing/sabotage.rs`).

/// A safeguard of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safeguard {
    /// The lock that serialises appends, so that positions are in the order of commits.
    AppendLock,
    /// The key is looked up in the append.
    KeyInTheAppend,
    /// The append's check of the expected version, and the primary key of events.
    ExpectedVersion,
    /// The sequence that a publication expects at the end of the stream.
    ExpectedSequence,
    /// The checkpoint moves in the transaction of the rows.
    CheckpointInTheTransaction,
    /// The check of the epoch: a former holder of the lease writes nothing.
    EpochFence,
    /// The check that a row is only replaced by a newer version.
    VersionGuard,
    /// The position that a process has shown: its reads show no lower one.
    ShownPosition,
}

impl Safeguard {
    /// The SQL that removes it from a database; empty if the program removes it.
    pub fn sql(self) -> String {
        match self {
            Self::AppendLock => {
                let without_lock =
                    "create or replace function events_serialise_appends() returns trigger
                     language plpgsql as $$ begin return null; end $$;";
                let [many, one] = ["append_commands", "append_event"]
                    .map(|function| rewritten(function, "if pg_advisory_xact_lock", "if abs"));
                format!("{without_lock}{many}{one}")
            }
            Self::KeyInTheAppend => {
                rewritten("append_commands", "k.created_at > now() - key_ttl", "false")
            }
            Self::ExpectedVersion => {
                let without_key = "alter table events drop constraint events_pkey;
                     create index on events (aggregate_id, version);";
                let unchecked_commands = rewritten(
                    "append_commands",
                    "when coalesce(tail.version, 0) = c.expected_version then",
                    "when true then",
                );
                let unchecked_insert = rewritten(
                    "append_commands",
                    "is_judged or g.expected_version",
                    "true or g.expected_version",
                );
                let unchecked_event = rewritten(
                    "append_event",
                    "where expected_version =",
                    "where true or expected_version =",
                );
                format!("{without_key}{unchecked_commands}{unchecked_insert}{unchecked_event}")
            }
            // The program checks the epoch, too, before it has anything to write.
            Self::EpochFence => rewritten("write_chunk", "and c.epoch <= to_epoch", ""),
            Self::ExpectedSequence
            | Self::CheckpointInTheTransaction
            | Self::VersionGuard
            | Self::ShownPosition => String::new(),
        }
    }

    /// The value of `ORDERS_SABOTAGE` that removes it from the program; `None` if SQL removes it.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::AppendLock | Self::KeyInTheAppend | Self::ExpectedVersion => None,
            Self::ExpectedSequence => Some("expected-sequence"),
            Self::CheckpointInTheTransaction => Some("checkpoint-in-the-transaction"),
            Self::EpochFence => Some("epoch-fence"),
            Self::VersionGuard => Some("version-guard"),
            Self::ShownPosition => Some("shown-position"),
        }
    }
}

/// SQL that replaces a text in a function. It fails if the function does not contain the text.
fn rewritten(function: &str, old: &str, new: &str) -> String {
    format!(
        "do $do$ declare body text;
         begin
             select pg_get_functiondef(oid) into strict body
             from pg_proc where proname = '{function}';
             if position('{old}' in body) = 0 then raise exception 'the function has changed'; end if;
             execute replace(body, '{old}', '{new}');
         end $do$;"
    )
}
