//! Real orders: the invoices of a UK online gift retailer (see `tests/data/README.md`).
//!
//! The expected totals are computed here from the file's text, in pence, without the service's own
//! type of money.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use ruzstd::decoding::StreamingDecoder;

/// The variable with the path of the project's copy, if that is elsewhere.
const WHOLE_VARIABLE: &str = "ORDERS_REAL_ORDERS";
/// The project's copy of the first four months, beside the repository.
const WHOLE: &str = "../shared/data/online-retail-2010-12_2011-03.csv.zst";
/// The excerpt that is part of the repository.
const EXCERPT: &str = "tests/data/orders.csv";
/// The customer if the file names none.
const GUEST: &str = "guest";
/// An invoice is complete after this number of lines of other invoices. The largest gap in the file
/// is two lines.
const GAP: usize = 100;

/// A line of an invoice, with the texts of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub product: String,
    /// Negative on cancellations and stock corrections.
    pub quantity: i64,
    pub price: String,
}

/// An invoice with all its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    pub number: String,
    pub customer: String,
    pub lines: Vec<Line>,
}

impl Line {
    /// How many items, whether bought or taken back.
    pub fn pieces(&self) -> u64 {
        self.quantity.unsigned_abs()
    }

    /// The price of one item, in pence.
    pub fn pence(&self) -> u64 {
        let (pounds, pence) = self.price.split_once('.').unwrap_or((&self.price, ""));
        assert!(pence.len() <= 2, "{} has no whole pence", self.price);
        format!("{pounds}{pence:0<2}").parse().expect("digits")
    }
}

impl Invoice {
    /// Whether it takes an earlier invoice back.
    pub fn is_cancellation(&self) -> bool {
        self.number.starts_with('C')
    }

    /// Whether the service accepts every line. For a cancellation the sign of the quantities is
    /// ignored.
    pub fn is_acceptable(&self) -> bool {
        self.lines.iter().all(|line| {
            let has_right_sign = self.is_cancellation() || line.quantity > 0;
            has_right_sign && (1..=10_000).contains(&line.pieces())
        })
    }

    /// Its total, as the service writes it.
    pub fn total(&self) -> String {
        let pence: u64 = self
            .lines
            .iter()
            .map(|line| line.pieces() * line.pence())
            .sum();
        format!("{}.{:02}", pence / 100, pence % 100)
    }

    /// How many items it has.
    pub fn pieces(&self) -> u64 {
        self.lines.iter().map(Line::pieces).sum()
    }
}

/// The first acceptable invoices of the project's copy, or those of the excerpt if the copy is missing;
/// and the unacceptable invoices between them.
pub fn first(count: usize) -> (Vec<Invoice>, Vec<Invoice>) {
    let named = std::env::var_os(WHOLE_VARIABLE).map(PathBuf::from);
    let whole = named.unwrap_or_else(|| beside_the_manifest(WHOLE));
    if !whole.exists() {
        return excerpt();
    }
    let file = BufReader::new(File::open(whole).expect("the file opens"));
    let unpacked = StreamingDecoder::new(file).expect("zstd");
    partition(read(unpacked, count * 2), count)
}

/// The acceptable invoices of the excerpt, and the unacceptable ones.
pub fn excerpt() -> (Vec<Invoice>, Vec<Invoice>) {
    let file = File::open(beside_the_manifest(EXCERPT)).expect("the excerpt opens");
    partition(read(file, usize::MAX), usize::MAX)
}

fn beside_the_manifest(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn partition(invoices: Vec<Invoice>, count: usize) -> (Vec<Invoice>, Vec<Invoice>) {
    let (mut good, mut bad) = (vec![], vec![]);
    for invoice in invoices {
        if good.len() == count {
            break;
        }
        let side = if invoice.is_acceptable() {
            &mut good
        } else {
            &mut bad
        };
        side.push(invoice);
    }
    (good, bad)
}

/// Reads `enough` complete invoices, in the order of their first lines.
fn read(csv: impl Read, enough: usize) -> Vec<Invoice> {
    let mut reader = csv::Reader::from_reader(csv);
    let headings = reader.headers().expect("a heading").clone();
    let place = |name| {
        headings
            .iter()
            .position(|heading| heading == name)
            .expect("the column")
    };
    let number = place("InvoiceNo");
    let [product, quantity, price, customer] =
        ["StockCode", "Quantity", "UnitPrice", "CustomerID"].map(place);
    let mut invoices: Vec<Invoice> = vec![];
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut lines_after_enough = 0;
    for record in reader.records() {
        let record = record.expect("CSV");
        let found = places.get(&record[number]).copied();
        if found.is_none() && invoices.len() == enough {
            lines_after_enough += 1;
            if lines_after_enough > GAP {
                break;
            }
            continue;
        }
        let index = found.unwrap_or(invoices.len());
        if found.is_none() {
            places.insert(record[number].to_owned(), index);
            let customer = &record[customer];
            let named = (!customer.is_empty()).then_some(customer);
            invoices.push(Invoice {
                number: record[number].to_owned(),
                customer: named.unwrap_or(GUEST).to_owned(),
                lines: vec![],
            });
        }
        invoices[index].lines.push(Line {
            product: record[product].to_owned(),
            quantity: record[quantity].parse().expect("a whole number"),
            price: record[price].to_owned(),
        });
    }
    invoices
}

#[test]
fn the_excerpt_contains_all_kinds_of_difficult_orders() {
    let (good, bad) = excerpt();
    let all: Vec<&Invoice> = good.iter().chain(&bad).collect();
    let some = |holds: &dyn Fn(&Invoice) -> bool| all.iter().any(|invoice| holds(invoice));

    assert!(good.len() >= 60, "{}", good.len());
    assert!(some(&|invoice| invoice.lines.len() == 1));
    assert!(some(&|invoice| invoice.lines.len() > 80));
    assert!(some(&Invoice::is_cancellation));
    assert!(some(&|invoice| invoice.customer == GUEST));
    assert!(some(&|invoice| invoice
        .lines
        .iter()
        .any(|l| l.pence() == 0)));
    assert!(
        bad.iter()
            .any(|invoice| !invoice.is_cancellation() && invoice.lines[0].quantity < 0)
    );
    assert!(bad.iter().any(|invoice| invoice.lines[0].quantity > 10_000));
    assert!(some(&|invoice| {
        let products: std::collections::HashSet<_> =
            invoice.lines.iter().map(|line| &line.product).collect();
        products.len() < invoice.lines.len()
    }));
    let scattered = good.iter().find(|invoice| invoice.number == "542806");
    assert_eq!(scattered.map(|invoice| invoice.lines.len()), Some(39));
}
