//! `orders`: an event-sourced CQRS order service on PostgreSQL and NATS JetStream.
//!
//! Every change of an order is an event. Events are stored in PostgreSQL, published to NATS, and
//! folded into the tables that answer queries. PostgreSQL is the only source of truth.
//!
//! ```text
//! POST ─► http ─► Repository ───────────► Writer ────────────► table events ─► Relay ─► NATS stream
//!                  │ load: cache, or      (group commit)         │   │   │                 ┊ bell
//!                  │ snapshot + events     same transaction:     │   │   │                 ▼
//!                  ▼                       idempotency_keys      │   │   └───────────► Subscriber
//!                Order: decide, evolve                           │   │                     │
//!                (pure)                                          │   │                     ▼
//! GET ?version, /events ─► http ─► Repository ◄──────────────────┘   │                 Projector
//! GET …/stream ─► http ─► Feed ◄─────────────────────────────────────┘                     │
//! GET ─► http ─► read model (order_views, order_items, projection_checkpoint) ◄────────────┘
//! ```
//!
//! # Reading order
//! [`order`] (the domain, pure) → [`event_sourcing`] (the generic core) →
//! [`event_sourcing::repository`] (load) and [`event_sourcing::execute`] (decide, append) →
//! [`postgres::writer`] (group commit) →
//! [`nats::relay`] → [`nats::subscriber`] → [`read_model`] (projector, queries, rebuild, verify) →
//! [`http`] → [`app`] (starts and stops all parts).
//!
//! # Glossary
//! One word for one thing, in code, SQL, documents and logs.
//!
//! | word | meaning |
//! |---|---|
//! | aggregate | a thing that changes as a whole, and alone: here an [`Order`](order::Order) |
//! | stream | all events of one aggregate, oldest first. Also the JetStream stream in NATS: then we write "NATS stream" where it could be mistaken |
//! | version | the number of an event in its stream: 1, 2, 3 … without a gap. The version of an order is that of its last event |
//! | position | the number of an event in the whole store. Positions rise in the order of commits, and may have gaps |
//! | expected version | the version at which a stream must be for an append to succeed |
//! | version conflict | the stream is not at the expected version |
//! | command | what a client asks for: [`OrderCommand`](order::OrderCommand) |
//! | decide | turns a command and a state into new events, or refuses. Pure |
//! | event | what happened: [`OrderEvent`](order::OrderEvent). Events never change |
//! | evolve | turns a state and an event into the next state. Pure, and never refuses |
//! | fold | to evolve the first state by all events of a stream, in order |
//! | new event, recorded event | an event before it is stored, and after: then it has a position |
//! | schema version | the version of the stored shape of an event type. Not the version in the stream |
//! | upcaster | lifts the stored shape of an event by one schema version, when it is read |
//! | snapshot | a stored state at a version. A cache: it may be missing or ignored |
//! | idempotency key | a name that the client gives to a command. The command is applied once, and its answer can be asked for again |
//! | lock (of an aggregate) | lets one command on one aggregate run at a time in one process |
//! | writer | the task that appends all waiting commands in one transaction (group commit) |
//! | lease | the right to be the only process that does something, for some seconds |
//! | epoch | how often a lease has changed its holder. A write with an old epoch is refused |
//! | relay | the task that publishes events to NATS |
//! | subscriber | the task that brings new events of the store to the projector, when NATS says that there may be some |
//! | projector | the code that applies events to the read model |
//! | read model | the tables that answer queries: `order_views`, `order_items` |
//! | checkpoint | the position up to which the read model holds all events |
//! | consistency token | names a position. A read that brings it waits for the checkpoint to reach that position |
//! | parked | said of an order with an event that cannot be applied to the read model |
//! | rebuild | building the read model again from the first event, beside the live tables |
//! | refold | building the rows of one order again from its events |
//! | feed, follower | the one reader of new events for all live clients, and one client's place in it |
//! | fresh events | the events that this process has just appended, kept in memory |
//! | store id | the name of an event store. A restored backup keeps it |
//! | incarnation | how often the NATS stream of a store was created |
//! | pulse | whether PostgreSQL answers at all |
//! | embedded | with PostgreSQL and NATS as private child processes |
//! | floor | (benchmarks) the fastest that the same servers do the same work without this service |
//!
//! # Who may import whom
//! `event_sourcing` and `embedded` import no other module of ours. [`order`], [`live`] and [`sql`]
//! import only `event_sourcing`. [`postgres`] also imports `live` and `sql`, [`nats`] also `live`,
//! [`read_model`] also `order` and `sql`. [`http`] imports neither `postgres` nor `nats`. [`app`]
//! imports everything but `cli`, and [`cli`] everything. The test `tests/it/architecture/` reads the
//! sources and fails on any other import.
//!
//! # What the guarantees rest on
//! The reasons are in `docs/adr/`.
//! - **Appends run one after another**, behind an advisory lock. The position is drawn after the lock
//!   is taken, so the order of positions is the order of commits, and "position > cursor" misses
//!   nothing. One call of an SQL function checks and stores a whole batch ([`postgres::batch`]).
//! - **Events and idempotency key are committed together.** A batch that is sent again is recognised
//!   by the ids of its events and commands. The text of the answer is not stored: events never
//!   change, so the state at that version gives the same text again.
//! - **A stale cache never refuses a command.** The store checks the expected version of a decision
//!   on cached state. A refusal, or a command that changes nothing, counts only on freshly loaded
//!   state.
//! - **NATS is the doorbell, the store is the truth.** The relay's cursor is the last message of the
//!   NATS stream; for a purged one, the relay's last report. Each message names the sequence it expects. For the subscriber a message only
//!   says that there may be new events: it reads them from memory or from the store, so nothing on
//!   the wire can forge, skip or repeat an event, and reads need no NATS ([`nats::subscriber`]).
//! - **The checkpoint moves with the rows**, in one transaction that checks the lease's epoch. This
//!   transaction is not flushed at once: what a crash takes back is applied again. Rows are folded
//!   without a lock, and written only if checkpoint and rows are still the ones that were read.
//! - **A view in memory equals the database** at the position that is reported with it
//!   ([`read_model::hot_views`]). Only the process that projects keeps views in memory.
//! - **Reads of a process never go back**: each requires the highest position that the process has
//!   shown ([`http::orders::reads`]).
//! - **A NATS stream belongs to one store, in one incarnation.** A stream of another store is never
//!   touched. A stream from before a restore of this store is replaced ([`nats::lifecycle`]).
//! - **A live stream is only a position.** The feed reads new events once for all clients
//!   ([`live::feed`]). A client that is behind reads the store itself. NATS is not involved.
//! - **A dead server is not a slow server.** The heartbeat asks PostgreSQL five times a second. If no
//!   answer comes for 1.4 seconds, all waiting requests fail at once ([`event_sourcing::pulse`]).
//!
//! # What the speed rests on
//! - All commands that wait share one flush to disk.
//! - The state of recent orders is in memory, so most commands load nothing.
//! - Each look-up by key keeps one query plan. No indexed column changes with each event.
//! - The projector writes a chunk of events with one call, on rows that it remembers.
//! - The relay publishes windows of messages, takes them from memory ([`live::fresh`]), and pauses
//!   between windows. The projector takes them from the same memory.
//!
//! # What happens on `POST /v1/orders`
//! In short; `docs/ARCHITECTURE.md` has every step.
//! 1. [`http::server::context`] gives the request an id. [`http::orders::bodies`] reads the body and
//!    lists every bad field at once.
//! 2. [`event_sourcing::Repository`] takes the lock of the aggregate, behind the trait
//!    [`order::Orders`]. Then the command runs in a task of its own ([`http::orders::execute`]), so a
//!    client that disconnects does not stop it half way. The repository decides and evolves.
//! 3. [`postgres::Writer`] appends all commands that wait in one transaction and gives each its own
//!    outcome. It puts the new events into memory ([`live::fresh`]), which wakes the relay of this
//!    process.
//! 4. The client gets the order as the write side knows it, with its version as `ETag` and its
//!    position as `Consistency-Token`. [`nats::Relay`] publishes the event. The message wakes
//!    [`nats::Subscriber`], which gives the new events of the store to [`read_model::Projector`]. A
//!    read with the token waits for that.
//!
//! # What happens while NATS is down
//! Commands, reads and live streams work as before: the subscriber looks at the store by itself, every
//! 250 ms, and at once while a read of its own process waits. Readiness says `degraded`. When NATS is back, the relay
//! reads the last message of the NATS stream and publishes the events after it. If NATS lost messages,
//! the last message is an older one and more is published.
//!
//! # Recipes
//! - **Add a command**: a variant of [`order::OrderCommand`], a rule in `Order::decide`
//!   (`order/aggregate.rs`), specifications in `order/specs/`, a body in
//!   [`http::orders::bodies`], a handler in [`http::orders::commands`] and a line in `http::routes`.
//!   Then `make openapi`.
//! - **Add an event**: a variant of [`order::OrderEvent`] with its stored name and shape
//!   (`order/event_json.rs`), and a line in `SCHEMAS`. The compiler then names every fold that must
//!   handle it. Stored names and shapes can never change.
//! - **Add a version of an event**: in `order/event_json.rs` change its shape and raise its schema version, in
//!   `SCHEMAS` and in `schema_version`.
//!   Add one upcaster to [`order::upcasters`]. Without it the service refuses to start.
//! - **Add an aggregate**: implement [`event_sourcing::Aggregate`] and
//!   [`event_sourcing::DomainEvent`]. Stores and core do not change.
//! - **Add a read model**: implement [`event_sourcing::projection::Projection`], with its checkpoint
//!   in the transaction of its rows, and run a [`nats::Subscriber`] with it in [`app`].
//! - **Add an endpoint**: a handler with `#[utoipa::path]`, a line in `http::routes`, `make openapi`.
//! - **Add a migration**: see `CONTRIBUTING.md`.

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
