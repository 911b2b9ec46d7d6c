//! Real order lines: four months of a UK online gift retailer, or the excerpt in `tests/data` if the
//! larger file is missing.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use anyhow::Context;
use ruzstd::decoding::StreamingDecoder;

/// The first four months, beside the repository.
const WHOLE: &str = "../shared/data/online-retail-2010-12_2011-03.csv.zst";
/// The excerpt in the repository.
const EXCERPT: &str = "tests/data/orders.csv";

/// A line that the service accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The number of its invoice.
    pub invoice: String,
    /// The customer.
    pub customer: String,
    /// The product.
    pub product: String,
    /// How many items.
    pub quantity: u32,
    /// The price of one item, as text.
    pub price: String,
}

impl Line {
    /// The line as a command's body and as an element of a new order's `items`.
    pub fn json(&self) -> String {
        let Self {
            product,
            quantity,
            price,
            ..
        } = self;
        format!(r#"{{"productId":"{product}","quantity":{quantity},"price":"{price}"}}"#)
    }
}

/// All acceptable lines, in the order of the file.
///
/// # Errors
/// If neither file can be read.
pub fn lines() -> anyhow::Result<Vec<Line>> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let whole = project.join(WHOLE);
    if whole.exists() {
        let file = BufReader::new(File::open(whole)?);
        return read(StreamingDecoder::new(file)?);
    }
    read(File::open(project.join(EXCERPT))?)
}

fn read(csv: impl Read) -> anyhow::Result<Vec<Line>> {
    let mut reader = csv::Reader::from_reader(csv);
    let headings = reader.headers()?.clone();
    let place = |name: &str| {
        let mut headings = headings.iter();
        headings
            .position(|heading| heading == name)
            .with_context(|| format!("no column {name}"))
    };
    let [invoice, customer] = [place("InvoiceNo")?, place("CustomerID")?];
    let [product, quantity, price] = [place("StockCode")?, place("Quantity")?, place("UnitPrice")?];
    let mut lines = vec![];
    for record in reader.records() {
        let record = record?;
        // Cancellations and corrections are negative; a few quantities are above the limit.
        let quantity: i64 = record[quantity].parse()?;
        if !(1..=10_000).contains(&quantity) {
            continue;
        }
        let customer = &record[customer];
        lines.push(Line {
            invoice: record[invoice].to_owned(),
            customer: if customer.is_empty() {
                "guest"
            } else {
                customer
            }
            .to_owned(),
            product: record[product].to_owned(),
            quantity: u32::try_from(quantity)?,
            price: record[price].to_owned(),
        });
    }
    Ok(lines)
}
