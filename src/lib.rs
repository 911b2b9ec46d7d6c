//! `orders`: an event-sourced CQRS order-management service on PostgreSQL and NATS JetStream.
//!
//! ```text
//! POST ─► http ─► Repository::execute ─► writer (group commit) ─► events ──(position = commit order)──► relay ─► JetStream
//!                  │ load: cache → snapshot + tail      │ same statement: idempotency_keys                       │
//!                  ▼ decide / evolve (pure)             ▼                                                        ▼
//!                Order                              snapshots (after commit, best effort)       projector (subscriber task)
//! GET ─► http ─► read_model::queries ◄── order_views, order_items, projection_checkpoint (one transaction) ◄─────┘
//! GET …/stream ─► http ─► feed ◄── events
//! ```
//!
//! # Reading order
//! [`order`] (the domain, pure) → [`event_sourcing`] (the generic core) →
//! [`event_sourcing::execute`] (load, decide, append) → [`postgres::writer`] (group commit) →
//! [`nats::relay`] → [`nats::subscriber`] → [`read_model`] (projector, queries, rebuild, verify) →
//! [`http`] → [`app`] (puts it together).
//!
//! # Words
//! A *stream* is all events of one aggregate. An event's *version* is its place in the stream, from
//! 1; its *position* its place in the store. The *expected version* is what an append insists on.
//! A *command* is *decided* into *new events*; stored they are *recorded events*, and state
//! *evolves* by them. An *upcaster* lifts an event of an old schema version; a *snapshot* is a cache
//! of folded state. The *relay* brings events to NATS, the *projector* keeps the *read model*. An
//! order is *parked* when one of its events cannot be applied.
//!
//! # Who may import whom
//! `event_sourcing` imports nothing of ours; `order` and [`live`] only `event_sourcing`; `postgres`
//! and `nats` only these but `order`; `read_model` only `event_sourcing`, `order` and [`sql`], which
//! `postgres` uses, too; `http` neither `postgres` nor `nats`; `embedded` nothing. Only [`app`] and
//! [`cli`] see all. The test `tests/it/architecture.rs` reads the sources and fails on another edge.
//!
//! # What the guarantees rest on
//! - **Appends take turns** behind an advisory lock, and positions are drawn behind it: position
//!   order is commit order, and "position > cursor" misses nothing. A plpgsql function judges and
//!   stores a whole batch ([`postgres::batch`]): each of its statements sees what was committed
//!   before it, so after the lock nothing can change underfoot. A batch without keys is judged by
//!   the insert itself, which takes only what is expected at its stream's last version.
//! - **Events and idempotency key commit together**, in one statement. A resent batch is recognised
//!   by the ids of its events and commands. Under the key stand status, version and location of the
//!   answer, not its text: events never change, so the state at that version gives the same text
//!   again, from a tenth of the room.
//! - **A stale cache never refuses.** Decisions on cached state are checked by the expected
//!   version; refusals and no-ops count only on freshly loaded state.
//! - **NATS is the doorbell, the store the truth.** The stream's tail is the relay's cursor, each
//!   message insists on its place, and each carries the position of the event before it: the
//!   projector sees what was lost and reads it from the store.
//! - **The checkpoint moves with the rows**, in one transaction, fenced by the lease's epoch. It is
//!   not flushed to disk at once: what a crash takes back is applied again. The projector folds on
//!   rows that it remembers or has read without a lock; they are written only where position and
//!   revision of the checkpoint are still those that it knows, and each row is of the version that
//!   it was folded on.
//! - **A view in memory is the database's** at the position that is reported with it
//!   ([`read_model::hot_views`]): only the process that projects keeps any.
//! - **A stream is one store's, in one incarnation.** It carries the store's id; a stream of another
//!   store is left alone, and this store's own from before a restore is made anew
//!   ([`nats::lifecycle`]). Nothing is applied from a stream that has not been vouched for.
//! - **A live stream is a position.** It shows what the store holds after that, read once for all who
//!   look on ([`live::feed`]), or for one who is behind. Positions are in the order of
//!   commits, so none is missed or repeated; NATS has no part in it.
//! - **Dead is not slow.** One question is always on its way to PostgreSQL; when no answer comes,
//!   whoever waits is told at once ([`event_sourcing::pulse`]).
//!
//! # What the speed rests on
//! One flush for all commands that wait; no load on the hot path; one plan kept for each statement
//! that looks up by key; rows updated in place, no indexed column changing with each event; one call
//! a chunk for the projector, on rows that it remembers; a window of messages acknowledged by its
//! first and last; a relay that need not read back what this process has just appended
//! ([`live::fresh`]) and rests between windows while no read waits for it; and answers and
//! messages written at a stroke ([`event_sourcing::json`]).
//!
//! # What happens on `POST /v1/orders`
//! 1. [`http::server::context`] names the request; [`http::orders::bodies`] reads the body, strictly, and
//!    lists every bad field at once.
//! 2. The command runs in a task of its own ([`http::orders::commands`]): a client that hangs up
//!    stops nothing half way. [`event_sourcing::Repository`] takes the aggregate's turn, decides,
//!    evolves, and writes the answer.
//! 3. [`postgres::Writer`] takes all commands that wait and appends them in one statement. It wakes
//!    the relay and answers each command by its own outcome.
//! 4. The client gets the order as the write side knows it, its version as `ETag`, and a
//!    `Consistency-Token` with the position. [`nats::Relay`] publishes; [`nats::Subscriber`] hands
//!    what arrives to [`read_model::Projector`]; a read that brings the token waits for that.
//!
//! # What happens while NATS is down for an hour
//! Commands are stored and answered as ever. Reads show the last projected state; those with a
//! token answer 503 `read_model_behind` after their wait, and `minVersion` is served from the event
//! store. Readiness says `degraded`. When NATS is back the relay looks at the stream's tail,
//! publishes what lies behind it in windows, and the projector catches up. Had NATS lost what it
//! acknowledged, the tail would be older and more would be published; had it lost everything, the
//! stream would be filled anew from the store.
//!
//! # Recipes
//! - **A command**: a variant of [`order::OrderCommand`], a rule in `Order::decide`
//!   (`order/aggregate.rs`), a specification in `order/specs.rs`, a body in
//!   [`http::orders::bodies`], a handler in [`http::orders::commands`] and a line in `http::routes`;
//!   then `make openapi`.
//! - **An event**: a variant of [`order::OrderEvent`] with its stored name and shape
//!   (`order/event.rs`, `order/event_json.rs`); the compiler then names every fold that must know
//!   it. Stored names and shapes are promises.
//! - **A new version of an event**: raise its number in `OrderEvent::SCHEMAS`, change its shape, and
//!   add one step to [`order::upcasters`]; without the step the service refuses to start.
//! - **An aggregate**: implement [`event_sourcing::Aggregate`] and
//!   [`event_sourcing::DomainEvent`]; stores and core stay as they are.
//! - **A read model**: implement [`event_sourcing::projection::Projection`] with its checkpoint in
//!   the transaction of its rows, and run a [`nats::Subscriber`] with it in [`app`].
//! - **An endpoint**: a handler with `#[utoipa::path]`, a line in `http::routes`, `make openapi`.

pub mod app;
pub mod cli;
pub mod embedded;
pub mod event_sourcing;
pub mod http;
pub mod live;
pub mod nats;
pub mod order;
pub mod postgres;
pub mod read_model;
pub mod sql;
