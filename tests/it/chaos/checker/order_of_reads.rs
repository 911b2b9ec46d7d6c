//! Compares the reads of one process with each other: of two reads, one after the other, the later one
//! shows no lower position, and without a required version no older state of the order.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Found, Rule};
use crate::chaos::history::{Consistency, Read, ReadAnswer};

/// A read that was answered with a state, or with 404: then the version is zero.
#[derive(Debug, Clone, Copy)]
struct Shown<'a> {
    read: &'a Read,
    version: i64,
    position: i64,
}

impl<'a> Shown<'a> {
    fn of(read: &'a Read) -> Option<Self> {
        let (version, position) = match &read.answer {
            ReadAnswer::Order(shown, position) => (shown.version, *position),
            ReadAnswer::Absent(position) => (0, *position),
            ReadAnswer::NotModified | ReadAnswer::Unavailable | ReadAnswer::Unexpected(_) => {
                return None;
            }
        };
        Some(Self {
            read,
            version: version.into(),
            position,
        })
    }

    /// Whether its state is that of the read model: with a required version it may come from the store.
    fn is_of_read_model(&self) -> bool {
        matches!(
            self.read.consistency,
            Consistency::Nothing | Consistency::Token(_)
        )
    }
}

pub fn check(reads: &[Read], found: &mut Found) {
    let mut of_process: HashMap<&str, Vec<Shown>> = HashMap::new();
    let mut of_order: HashMap<(&str, Uuid), Vec<Shown>> = HashMap::new();
    for shown in reads.iter().filter_map(Shown::of) {
        let process = shown.read.process.as_str();
        of_process.entry(process).or_default().push(shown);
        if shown.is_of_read_model() {
            let order = (process, shown.read.order);
            of_order.entry(order).or_default().push(shown);
        }
    }
    for reads in of_process.values() {
        check_rising(reads, "position", |shown| shown.position, found);
    }
    for reads in of_order.values() {
        check_rising(reads, "version", |shown| shown.version, found);
    }
}

/// Checks that no read shows a lower value than one that was answered before it was sent.
fn check_rising(reads: &[Shown], what: &str, value: fn(&Shown) -> i64, found: &mut Found) {
    let (mut by_answer, mut by_sending) = (reads.to_vec(), reads.to_vec());
    by_answer.sort_by_key(|shown| shown.read.answered);
    by_sending.sort_by_key(|shown| shown.read.sent);
    let mut answered = by_answer.into_iter().peekable();
    let mut highest: Option<Shown> = None;
    for shown in by_sending {
        while let Some(earlier) = answered.next_if(|it| it.read.answered < shown.read.sent) {
            if highest.is_none_or(|highest| value(&earlier) > value(&highest)) {
                highest = Some(earlier);
            }
        }
        if let Some(highest) = highest.filter(|highest| value(highest) > value(&shown)) {
            let what = format!("the {what} fell: {:?}, then {:?}", highest.read, shown.read);
            found.add(Rule::WentBack, what);
        }
    }
}
