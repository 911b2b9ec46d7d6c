//! Records which members and parameters a reader asks for, so that tests can compare them with the
//! documented ones.

use std::{cell::RefCell, collections::BTreeSet};

thread_local! {
    static ASKED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Records a name.
pub fn record(name: &str) {
    ASKED.with_borrow_mut(|asked| asked.insert(name.to_owned()));
}

/// Returns the names that `read` asks for.
pub fn during<T>(read: impl FnOnce() -> T) -> BTreeSet<String> {
    ASKED.take();
    let _ = read();
    ASKED.take()
}

/// Returns the names of the documented query parameters.
#[must_use]
pub fn documented<T: utoipa::IntoParams>() -> BTreeSet<String> {
    let parameters = T::into_params(|| None);
    parameters
        .into_iter()
        .map(|parameter| parameter.name)
        .collect()
}
