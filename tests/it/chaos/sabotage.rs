//! The safeguards, and how each is taken out: those that are SQL by other SQL in the round's own
//! database, the others by the program itself (see `src/sabotage.rs`).

/// A safeguard of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safeguard {
    /// Appends take turns, so that the order of positions is the order of commits.
    AppendLock,
    /// The key is looked up in the append.
    KeyInTheAppend,
    /// The append's judgement of the expected version, and the primary key behind it.
    ExpectedVersion,
    /// A publication names the sequence that it expects at the stream's end.
    ExpectedSequence,
    /// The checkpoint moves in the transaction of the rows.
    CheckpointInTheTransaction,
    /// Who lost the lease writes nothing.
    EpochFence,
    /// A row takes only what is newer than it.
    VersionGuard,
}

impl Safeguard {
    /// What takes it out of a database.
    pub fn sql(self) -> String {
        match self {
            Self::AppendLock => {
                let lockless =
                    "create or replace function events_serialise_appends() returns trigger
                     language plpgsql as $$ begin return null; end $$;";
                let [many, one] = ["append_commands", "append_event"]
                    .map(|function| rewritten(function, "if pg_advisory_xact_lock", "if abs"));
                format!("{lockless}{many}{one}")
            }
            Self::KeyInTheAppend => {
                rewritten("append_commands", "k.created_at > now() - key_ttl", "false")
            }
            Self::ExpectedVersion => {
                let refereeless = "alter table events drop constraint events_pkey;
                     create index on events (aggregate_id, version);";
                let blind = rewritten(
                    "append_commands",
                    "when coalesce(tail.version, 0) = a.expected then",
                    "when true then",
                );
                let blind_insert = rewritten(
                    "append_commands",
                    "is_judged or expected_versions",
                    "true or expected_versions",
                );
                let blind_event = rewritten(
                    "append_event",
                    "where expected_version =",
                    "where true or expected_version =",
                );
                format!("{refereeless}{blind}{blind_insert}{blind_event}")
            }
            // The program looks at the epoch too, before it has anything to write.
            Self::EpochFence => rewritten("write_chunk", "and c.epoch <= to_epoch", ""),
            Self::ExpectedSequence | Self::CheckpointInTheTransaction | Self::VersionGuard => {
                String::new()
            }
        }
    }

    /// The name by which the program takes it out.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::AppendLock | Self::KeyInTheAppend | Self::ExpectedVersion => None,
            Self::ExpectedSequence => Some("expected-sequence"),
            Self::CheckpointInTheTransaction => Some("checkpoint-in-the-transaction"),
            Self::EpochFence => Some("epoch-fence"),
            Self::VersionGuard => Some("version-guard"),
        }
    }
}

/// Makes a function anew with another text in it, which must be there.
fn rewritten(function: &str, old: &str, new: &str) -> String {
    format!(
        "do $do$ declare body text;
         begin
             select pg_get_functiondef(oid) into strict body
             from pg_proc where proname = '{function}';
             if position('{old}' in body) = 0 then raise exception 'nothing to take out'; end if;
             execute replace(body, '{old}', '{new}');
         end $do$;"
    )
}
