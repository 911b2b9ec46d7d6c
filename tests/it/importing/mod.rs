//! `orders import` on PostgreSQL. This file prepares a database and files; the tests of what is
//! imported are in [`accepted`], those of what is rejected in [`rejected`].

mod accepted;
mod rejected;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use orders::{
    cli::{
        import::{
            Import, Imported,
            draft::Drafting,
            source::{Columns, Source},
        },
        progress::Progress,
    },
    event_sourcing::{Repository, repository::RepositoryOptions},
    http::request::context::now,
    live::FreshEvents,
    order::{Order, upcasters::upcasters},
    postgres::{self, PgEventStore, Writer, writer::WriterOptions},
    read_model::Projector,
};
use sqlx::PgPool;
use tempfile::TempDir;

use crate::support::{servers::fresh_database, truth};

/// Customer, status, currency, total in minor units, number of items.
type ImportedOrder = (String, String, String, i64, i64);

/// A database to import into, and a directory for the files.
struct ImportTest {
    pool: PgPool,
    store: PgEventStore,
    directory: TempDir,
}

impl ImportTest {
    async fn new() -> Self {
        let (options, _) = fresh_database().await;
        let (writer, handle) = Writer::new(
            options.clone(),
            WriterOptions::default(),
            FreshEvents::default(),
        );
        tokio::spawn(writer.run());
        let pool = postgres::pool(options, 8);
        Self {
            store: PgEventStore::new(pool.clone(), handle, Duration::from_hours(1)),
            pool,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// The path of a file of this name.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    async fn import(&self, file: &Path, is_completed: bool) -> Imported {
        let source = Source::open(file, &columns()).unwrap();
        let import = Import {
            drafting: Drafting {
                source: "shop".to_owned(),
                currency: "GBP".parse().unwrap(),
                default_customer: None,
                places: source.places,
            },
            source,
            is_completed,
            rejects: self.path("rejects.csv"),
            clock: now,
        };
        self.run(import).await
    }

    async fn run(&self, import: Import) -> Imported {
        let chain = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
        let orders =
            Repository::<Order, _>::new(self.store.clone(), chain, RepositoryOptions::default());
        let progress = Progress::start("lines");
        import.run(Arc::new(orders), &progress).await.unwrap()
    }

    /// The text of the file of rejects; empty if there is no file.
    fn rejects(&self) -> String {
        fs::read_to_string(self.path("rejects.csv")).unwrap_or_default()
    }

    /// Brings the read model up to date and verifies it. Returns its orders, sorted by customer.
    async fn orders(&self) -> Vec<ImportedOrder> {
        let chain = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
        let projector = Projector::new(self.pool.clone(), self.store.clone(), chain);
        projector.catch_up(|_| ()).await.unwrap();
        truth::assert_views_are_the_fold(&self.pool, "EUR".parse().unwrap(), false).await;
        sqlx::query_as(
            "select customer_id, status, currency, total_minor, total_quantity
             from order_views order by customer_id, total_minor",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    async fn events(&self) -> i64 {
        sqlx::query_scalar("select count(*) from events")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

fn columns() -> Columns {
    let [order, customer, product, quantity, price] = [
        "InvoiceNo",
        "CustomerID",
        "StockCode",
        "Quantity",
        "UnitPrice",
    ]
    .map(str::to_owned);
    Columns {
        order_column: order,
        customer_column: customer,
        product_column: product,
        quantity_column: quantity,
        price_column: price,
    }
}

/// An order in pounds.
fn order(customer: &str, status: &str, total: i64, pieces: i64) -> ImportedOrder {
    let (customer, status) = (customer.to_owned(), status.to_owned());
    (customer, status, "GBP".to_owned(), total, pieces)
}

/// Two good orders, one of them with scattered lines, and one bad order of each kind. The heading has a
/// byte order mark, the columns are in another order and there is an additional one.
const MIXED: &str = "\u{feff}InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID
1,A,\"a thing, red\",2,1.50,c1
2,B,,1,0.50,c2
1,C,,1,10,c1
3,A,,-1,1.00,c3
3,B,,1,1.00,c3
4,A,,1,1.005,c4
5,A,,1,1.00,
6,A,,1,1.00,c6
6,A,,1,1.00,c7
7,A,,1
8,A,,0,1.00,c8
9,A,,1.5,1.00,c9
,A,,1,1.00,c10
10,A,,1,abc,c10
11,,,1,1.00,c11
1,A,,3,2,c1
";
