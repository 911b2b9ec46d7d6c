//! A testing kit: given/when/then, an in-memory store, and the contract that every store passes.
