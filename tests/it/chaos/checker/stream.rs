//! The stream against the store: every event once, in order of position.

use super::{Found, Rule};
use crate::chaos::observe::Observed;

/// What a purge took before it reached the read model only is not published again, so the stream
/// may begin later than the store; but it has no hole, and lacks nothing that was stored after the
/// last purge.
pub fn check(observed: &Observed, found: &mut Found) {
    let last = observed.events.last().map_or(0, |event| event.position);
    // What came after the store was looked at is of no interest.
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
            "it lacks all up to position {lacked}, was purged up to {}",
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
