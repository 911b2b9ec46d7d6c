//! What one live stream takes of the limits on all of them.

use bytes::Bytes;

use crate::http::{
    problem::ApiError,
    request::{caller::Caller, shares::Share},
};

/// A stream that is counted while it is open, also in the metric `orders_streams`.
pub struct OpenStream {
    caller: Caller,
    _share: Share,
}

/// A text that counts until the connection has dropped it.
struct Unsent {
    text: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl OpenStream {
    /// Counts a stream of this caller.
    ///
    /// # Errors
    /// 503 `overloaded` if too many are open.
    pub fn of(caller: &Caller) -> Result<Self, ApiError> {
        let share = caller.stream()?;
        metrics::gauge!("orders_streams").increment(1.0);
        Ok(Self {
            caller: caller.clone(),
            _share: share,
        })
    }

    /// The same text, counted until it is sent or given up. `None` where clients at this address have
    /// too much to take: those that do not read their streams must not fill the memory.
    pub fn count_unsent(&self, text: Bytes) -> Option<Bytes> {
        let share = self.caller.unsent(text.len())?;
        Some(Bytes::from_owner(Unsent {
            text,
            _share: share,
        }))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        metrics::gauge!("orders_streams").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::http::request::{
        caller::{Work, WorkLimits},
        client::ClientAddress,
        shares::Limits,
    };

    #[test]
    fn a_text_counts_until_it_is_dropped() {
        let work = Work::new(WorkLimits {
            unsent_bytes: Limits::shared(100),
            ..WorkLimits::default()
        });
        let caller = work.caller(ClientAddress(Ipv4Addr::LOCALHOST.into()));
        let streams = [(); 2].map(|()| OpenStream::of(&caller).unwrap());
        let text = || Bytes::from_static(&[b'x'; 40]);

        let unsent = streams[0].count_unsent(text());
        let rest = unsent.clone().map(|unsent| unsent.slice(30..));
        let refused = streams[1].count_unsent(text());
        drop(unsent);
        let refused_too = streams[1].count_unsent(text());
        drop(rest);

        assert_eq!((refused, refused_too), (None, None));
        assert_eq!(streams[1].count_unsent(text()), Some(text()));
    }
}
