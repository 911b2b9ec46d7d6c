//! Reads a CSV file of order lines, optionally compressed by zstd, and groups the lines into
//! orders.
//!
//! The lines of an order usually follow one another. A first pass over the file counts the lines
//! and finds the orders whose lines do not; only these are kept in memory until their last line is
//! read.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    fs::File,
    hash::BuildHasher,
    io::{BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use clap::Args;
use csv::{ByteRecord, ReaderBuilder};

/// The first bytes of a file compressed by zstd.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The names of the columns.
#[derive(Debug, Clone, Args)]
pub struct Columns {
    /// Column that holds the order's number: lines with the same number are one order
    #[arg(long, value_name = "NAME", default_value = "orderId")]
    pub order_column: String,
    /// Column that holds the customer
    #[arg(long, value_name = "NAME", default_value = "customerId")]
    pub customer_column: String,
    /// Column that holds the product
    #[arg(long, value_name = "NAME", default_value = "productId")]
    pub product_column: String,
    /// Column that holds the quantity
    #[arg(long, value_name = "NAME", default_value = "quantity")]
    pub quantity_column: String,
    /// Column that holds the price of one
    #[arg(long, value_name = "NAME", default_value = "price")]
    pub price_column: String,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened or read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A line is not CSV.
    #[error("{path} is not a CSV file")]
    NotCsv {
        /// The file.
        path: PathBuf,
        /// What is wrong with the line.
        #[source]
        source: csv::Error,
    },
    /// Columns are missing.
    #[error("{path} has no column {missing}; it has {found}")]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The columns that are missing.
        missing: String,
        /// The columns of the file.
        found: String,
    },
}

/// A line of the file.
#[derive(Debug, Clone)]
pub struct SourceLine {
    /// The line's number, from 1.
    pub number: u64,
    /// All its cells, as bytes.
    pub record: ByteRecord,
}

/// All lines of one order.
#[derive(Debug, Clone)]
pub struct SourceOrder {
    /// The order's number: the cell's bytes, which may not be UTF-8.
    pub number: Vec<u8>,
    /// The order's lines, at least one.
    pub lines: Vec<SourceLine>,
}

/// The indexes of the columns.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    order: usize,
    /// The index of the customer.
    pub customer: usize,
    /// The index of the product.
    pub product: usize,
    /// The index of the quantity.
    pub quantity: usize,
    /// The index of the price.
    pub price: usize,
}

/// A file of order lines.
pub struct Source {
    path: PathBuf,
    /// The heading.
    pub heading: ByteRecord,
    /// The indexes of the columns.
    pub places: Places,
    /// The number of lines below the heading.
    pub lines: u64,
    /// For each order whose lines do not follow one another: how many lines are still to be read.
    /// The key is the hash of the order's number.
    scattered: HashMap<u64, u64>,
    hasher: RandomState,
}

impl Source {
    /// Opens a file and makes the first pass over it.
    ///
    /// # Errors
    /// If the file cannot be read, is not CSV, or lacks a column.
    pub fn open(path: &Path, columns: &Columns) -> Result<Self, SourceError> {
        let mut reader = reader(path)?;
        let heading = reader.byte_headers().map_err(not_csv(path))?.clone();
        let places = places(path, &heading, columns)?;
        let hasher = RandomState::new();
        let (mut lines, mut last) = (0, None);
        let mut counts: HashMap<u64, u64> = HashMap::new();
        let mut scattered = HashSet::new();
        let mut record = ByteRecord::new();
        while reader
            .read_byte_record(&mut record)
            .map_err(not_csv(path))?
        {
            lines += 1;
            let order = hasher.hash_one(record.get(places.order).unwrap_or_default().trim_ascii());
            let count = counts.entry(order).or_default();
            if *count > 0 && last != Some(order) {
                scattered.insert(order);
            }
            *count += 1;
            last = Some(order);
        }
        counts.retain(|order, _| scattered.contains(order));
        let path = path.to_owned();
        Ok(Self {
            path,
            heading,
            places,
            lines,
            scattered: counts,
            hasher,
        })
    }

    /// Reads the orders and passes each one to `take`, until `take` returns false.
    ///
    /// # Errors
    /// If the file cannot be read any more.
    pub fn read(mut self, mut take: impl FnMut(SourceOrder) -> bool) -> Result<(), SourceError> {
        let mut reader = reader(&self.path)?;
        let mut record = ByteRecord::new();
        let mut together: Option<SourceOrder> = None;
        let mut held: HashMap<Vec<u8>, SourceOrder> = HashMap::new();
        while reader
            .read_byte_record(&mut record)
            .map_err(not_csv(&self.path))?
        {
            let cell = record
                .get(self.places.order)
                .unwrap_or_default()
                .trim_ascii();
            let line_number = record.position().map_or(0, csv::Position::line);
            let line = SourceLine {
                number: line_number,
                record: record.clone(),
            };
            let number = cell.to_owned();
            if let Some(left) = self.scattered.get_mut(&self.hasher.hash_one(cell)) {
                *left -= 1;
                let is_last = *left == 0;
                let order = held.entry(number.clone());
                order
                    .or_insert_with(|| SourceOrder::new(number.clone()))
                    .lines
                    .push(line);
                if is_last
                    && let Some(order) = held.remove(&number)
                    && !take(order)
                {
                    return Ok(());
                }
                continue;
            }
            if together
                .as_ref()
                .is_some_and(|order| order.number != number)
                && let Some(order) = together.take()
                && !take(order)
            {
                return Ok(());
            }
            together
                .get_or_insert_with(|| SourceOrder::new(number))
                .lines
                .push(line);
        }
        if let Some(order) = together {
            take(order);
        }
        Ok(())
    }
}

impl SourceOrder {
    fn new(number: Vec<u8>) -> Self {
        Self {
            number,
            lines: vec![],
        }
    }
}

type Reader = csv::Reader<Box<dyn Read>>;

fn reader(path: &Path) -> Result<Reader, SourceError> {
    let unreadable = |source| SourceError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut magic = [0; 4];
    let is_packed = file.read_exact(&mut magic).is_ok() && magic == ZSTD_MAGIC;
    file.rewind().map_err(unreadable)?;
    let file = BufReader::with_capacity(1 << 16, file);
    let bytes: Box<dyn Read> = if is_packed {
        let unpacked = ruzstd::decoding::StreamingDecoder::new(file)
            .map_err(|error| unreadable(std::io::Error::other(error)))?;
        Box::new(unpacked)
    } else {
        Box::new(file)
    };
    // A line with too few cells is invalid, but the other lines can be read.
    Ok(ReaderBuilder::new().flexible(true).from_reader(bytes))
}

fn not_csv(path: &Path) -> impl Fn(csv::Error) -> SourceError {
    move |source| SourceError::NotCsv {
        path: path.to_owned(),
        source,
    }
}

fn places(path: &Path, heading: &ByteRecord, columns: &Columns) -> Result<Places, SourceError> {
    let names: Vec<String> = heading
        .iter()
        // Spreadsheet programs write a byte order mark before the first name.
        .map(|name| {
            String::from_utf8_lossy(name)
                .trim_start_matches('\u{feff}')
                .trim()
                .to_owned()
        })
        .collect();
    let mut missing = vec![];
    let mut place = |name: &str| {
        names
            .iter()
            .position(|found| found == name)
            .unwrap_or_else(|| {
                missing.push(name.to_owned());
                0
            })
    };
    let places = Places {
        order: place(&columns.order_column),
        customer: place(&columns.customer_column),
        product: place(&columns.product_column),
        quantity: place(&columns.quantity_column),
        price: place(&columns.price_column),
    };
    if missing.is_empty() {
        return Ok(places);
    }
    let (path, missing, found) = (path.to_owned(), missing.join(", "), names.join(", "));
    Err(SourceError::NoColumn {
        path,
        missing,
        found,
    })
}
