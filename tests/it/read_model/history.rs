//! Generates histories of orders from a seed, and stores them with SQL.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use orders::{
    event_sourcing::DomainEvent,
    order::{
        Currency, CustomerId, ItemId, Money, OrderEvent, OrderId, ProductId, Quantity, Reason,
        event::OrderedItem,
    },
};
use sqlx::PgPool;
use uuid::Uuid;

pub fn eur() -> Currency {
    Currency::from_str("EUR").unwrap()
}

/// A generator of pseudo-random numbers (splitmix64). The same seed gives the same numbers.
pub struct SeededRandom(u64);

impl SeededRandom {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, from 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// An event that a test stores.
pub struct TestEvent {
    pub order_id: OrderId,
    pub version: i32,
    pub event_type: String,
    pub schema_version: i16,
    pub data: String,
    pub at: DateTime<Utc>,
}

impl TestEvent {
    pub fn new(order_id: OrderId, version: i32, event: &OrderEvent, at: DateTime<Utc>) -> Self {
        Self {
            order_id,
            version,
            event_type: event.event_type().to_owned(),
            schema_version: event.schema_version(),
            data: event.encode().unwrap().get().to_owned(),
            at,
        }
    }
}

pub fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 123_456_000).unwrap() + TimeDelta::seconds(second)
}

/// One order while its history is generated.
struct Draft {
    id: OrderId,
    version: i32,
    lines: Vec<ItemId>,
    is_open: bool,
}

/// Histories of `orders` orders with `events` events in all. Some events happen at the same time.
pub fn histories(seed: u64, orders: usize, events: usize) -> Vec<TestEvent> {
    let random = &mut SeededRandom::new(seed);
    let mut drafts: Vec<Draft> = Vec::new();
    let mut generated = Vec::with_capacity(events);
    for second in 0..events as i64 {
        let open: Vec<usize> = (0..drafts.len()).filter(|at| drafts[*at].is_open).collect();
        let is_new = drafts.len() < orders && (open.is_empty() || random.below(4) == 0);
        let index = if is_new || open.is_empty() {
            drafts.push(Draft {
                id: OrderId::new(Uuid::from_u128(
                    u128::from(random.below(u64::MAX)) << 64 | 7,
                )),
                version: 0,
                lines: Vec::new(),
                is_open: true,
            });
            drafts.len() - 1
        } else {
            open[usize::try_from(random.below(open.len() as u64)).unwrap()]
        };
        let draft = &mut drafts[index];
        let event = draft.next(random);
        draft.version += 1;
        generated.push(TestEvent::new(
            draft.id,
            draft.version,
            &event,
            at(second / 3),
        ));
    }
    generated
}

impl Draft {
    fn next(&mut self, random: &mut SeededRandom) -> OrderEvent {
        if self.version == 0 {
            let items: Vec<_> = (0..random.below(4)).map(|_| self.item(random)).collect();
            return OrderEvent::Created {
                order_id: self.id,
                customer_id: CustomerId::stored(&format!("customer-{}", random.below(5))),
                currency: eur(),
                items,
            };
        }
        match (random.below(10), self.lines.is_empty()) {
            (0, false) => {
                self.is_open = false;
                OrderEvent::Completed
            }
            (1, _) => {
                self.is_open = false;
                let reason = (random.below(2) == 0).then(|| Reason::stored("changed my mind"));
                OrderEvent::Cancelled { reason }
            }
            (2 | 3, false) => OrderEvent::ItemRemoved {
                item_id: self
                    .lines
                    .swap_remove(random.below(self.lines.len() as u64) as usize),
            },
            (4 | 5, false) => OrderEvent::ItemQuantityChanged {
                item_id: self.lines[random.below(self.lines.len() as u64) as usize],
                quantity: quantity(random),
            },
            _ => OrderEvent::ItemAdded {
                item: self.item(random),
                currency: eur(),
            },
        }
    }

    fn item(&mut self, random: &mut SeededRandom) -> OrderedItem {
        let item_id = ItemId::new(Uuid::from_u128(u128::from(random.below(u64::MAX))));
        self.lines.push(item_id);
        OrderedItem {
            item_id,
            product_id: ProductId::stored(&format!("product-{}", random.below(8))),
            quantity: quantity(random),
            price: Money::from_minor(random.below(100_000) as i64),
        }
    }
}

fn quantity(random: &mut SeededRandom) -> Quantity {
    Quantity::new(1 + random.below(10_000) as u32).unwrap()
}

/// Stores events in this order. The positions have some holes.
pub async fn store(pool: &PgPool, events: &[TestEvent]) {
    for events in events.chunks(97) {
        let ids: Vec<_> = events.iter().map(|event| event.order_id.get()).collect();
        let versions: Vec<_> = events.iter().map(|event| event.version).collect();
        let types: Vec<_> = events
            .iter()
            .map(|event| event.event_type.clone())
            .collect();
        let schemas: Vec<_> = events.iter().map(|event| event.schema_version).collect();
        let data: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
        let times: Vec<_> = events.iter().map(|event| event.at).collect();
        sqlx::query(
            "insert into events (event_id, aggregate_type, aggregate_id, version, type,
                 schema_version, data, metadata, created_at)
             select gen_random_uuid(), 'Order', id, version, type, schema, data::jsonb, '{}', at
             from unnest($1::uuid[], $2::int[], $3::text[], $4::smallint[], $5::text[],
                 $6::timestamptz[]) with ordinality as e(id, version, type, schema, data, at, n)
             order by n",
        )
        .bind(&ids)
        .bind(&versions)
        .bind(&types)
        .bind(&schemas)
        .bind(&data)
        .bind(&times)
        .execute(pool)
        .await
        .unwrap();
        sqlx::query("select nextval(pg_get_serial_sequence('events', 'position'))")
            .execute(pool)
            .await
            .unwrap();
    }
}
