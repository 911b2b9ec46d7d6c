//! The safeguards, and how each is taken out: what the checker must notice.

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
    #[cfg(feature = "sabotage")]
    ExpectedSequence,
    /// The checkpoint moves in the transaction of the rows.
    #[cfg(feature = "sabotage")]
    CheckpointInTheTransaction,
    /// Who lost the lease writes nothing.
    #[cfg(feature = "sabotage")]
    EpochFence,
    /// A row takes only what is newer than it.
    #[cfg(feature = "sabotage")]
    VersionGuard,
}

impl Safeguard {
    /// What takes it out of a database.
    pub fn sql(self) -> String {
        match self {
            Self::AppendLock => {
                let lockless = "create or replace function events_serialise_appends() returns trigger
                     language plpgsql as $$ begin return null; end $$;";
                format!("{lockless}{}", rewritten(&[("perform pg_advisory_xact_lock", "perform abs")]))
            }
            Self::KeyInTheAppend => rewritten(&[("when held.command_id is not null then", "when false then")]),
            Self::ExpectedVersion => {
                let refereeless = "alter table events drop constraint events_pkey;
                     create index on events (aggregate_id, version);";
                let blind = rewritten(&[("when coalesce(tail.version, 0) <> a.expected then", "when false then")]);
                format!("{refereeless}{blind}")
            }
            #[cfg(feature = "sabotage")]
            _ => String::new(),
        }
    }

    /// The name by which the program takes it out.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::AppendLock | Self::KeyInTheAppend | Self::ExpectedVersion => None,
            #[cfg(feature = "sabotage")]
            Self::ExpectedSequence => Some("expected-sequence"),
            #[cfg(feature = "sabotage")]
            Self::CheckpointInTheTransaction => Some("checkpoint-in-the-transaction"),
            #[cfg(feature = "sabotage")]
            Self::EpochFence => Some("epoch-fence"),
            #[cfg(feature = "sabotage")]
            Self::VersionGuard => Some("version-guard"),
        }
    }
}

/// Makes `append_events` anew with other texts in it. Each of them must be there.
fn rewritten(changes: &[(&str, &str)]) -> String {
    let mut body = "body".to_owned();
    let mut checks = String::new();
    for (old, new) in changes {
        checks += &format!(
            "if position('{old}' in body) = 0 then raise exception 'no %', '{old}'; end if;"
        );
        body = format!("replace({body}, '{old}', '{new}')");
    }
    format!(
        "do $do$ declare body text;
         begin
             select pg_get_functiondef(oid) into strict body from pg_proc where proname = 'append_events';
             {checks}
             execute {body};
         end $do$;"
    )
}
