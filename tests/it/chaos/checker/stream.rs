//! Compares the stream with the store: it holds every event once, in order of position.

use super::{Found, Rule};
use crate::chaos::observe::Observed;

/// After a purge, events that the read model already holds are not published again. So the stream may
/// begin later than the store, but it has no hole and holds all events after the last purge.
pub fn check(observed: &Observed, found: &mut Found) {
    let last = observed.events.last().map_or(0, |event| event.position);
    // Messages that came after the store was read are ignored.
    let stream = observed
        .stream
        .iter()
        .copied()
        .filter(|(position, _)| *position <= last);
    let stream: Vec<_> = stream.collect();
    let begin = stream.first().map_or(i64::MAX, |(position, _)| *position);
    let stored = observed
        .events
        .iter()
        .map(|event| (event.position, event.id));
    let stored: Vec<_> = stored.collect();
    let lacked = stored
        .iter()
        .rfind(|(position, _)| *position < begin)
        .map_or(0, |(position, _)| *position);
    found.add_unless(lacked <= observed.purged, Rule::Stream, || {
        format!(
            "the stream lacks events up to position {lacked}, but was purged up to {}",
            observed.purged
        )
    });
    let expected = stored.iter().filter(|(position, _)| *position >= begin);
    let expected: Vec<_> = expected.copied().collect();
    if stream != expected {
        let same = stream
            .iter()
            .zip(&expected)
            .take_while(|(one, other)| one == other);
        let same = same.count();
        let (is, should) = (stream.get(same), expected.get(same));
        let (count, wanted) = (stream.len(), expected.len());
        let what = format!(
            "message {same} is {is:?} and should be {should:?}; {count} messages, {wanted} events"
        );
        found.add(Rule::Stream, what);
    }
}
