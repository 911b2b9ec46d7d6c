//! The bodies of commands: how they are documented and how they are read. What a body means for an
//! order is decided in [`crate::order`].

mod documented;
mod read;

pub use documented::{
    CancelOrder, ChangeItem, CompleteOrder, CreateOrder, CreateOrderItem, NewOrderItem, PriceInput,
};
pub use read::{
    CreateCommand, add_item, cancel_order, change_item, complete_order, create_order, nothing,
};
