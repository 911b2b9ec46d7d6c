//! An event as a NATS message: its headers, how it is written and how it is read. Sending and
//! receiving do not belong here.
//!
//! Subject: `<prefix>.<AggregateType>.<EventType>`. It holds no ids, because filters over many
//! subjects are slow. The body is a history entry with the aggregate's id and type; the stored
//! texts of `data` and `metadata` are copied, not parsed. The headers hold what a consumer needs
//! without the body, among them `Event-Previous-Position`: the position of the previous event in
//! the store.

pub mod decode;
pub mod encode;
pub mod headers;
#[cfg(test)]
mod test_event;

pub use decode::decode;
pub use encode::{OutgoingMessage, encode};
pub use headers::{InvalidMessage, identify};
