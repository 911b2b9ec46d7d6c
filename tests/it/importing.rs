//! `orders import` on PostgreSQL: flat files with everything that is wrong with flat files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
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
    http::server::context::now,
    live::FreshEvents,
    order::{CustomerId, Order, upcasters::upcasters},
    postgres::{self, PgEventStore, Writer, writer::WriterOptions},
    read_model::{Projector, Verify},
};
use sqlx::PgPool;
use tempfile::TempDir;

use crate::support::servers::fresh_database;

/// Where files are imported to and from.
struct World {
    pool: PgPool,
    store: PgEventStore,
    directory: TempDir,
}

impl World {
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

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

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

    /// The file of rejects; empty where there is none.
    fn rejects(&self) -> String {
        fs::read_to_string(self.path("rejects.csv")).unwrap_or_default()
    }

    /// Brings the read model up to date and verifies it; its orders in the order of their
    /// customers: customer, status, currency, total and pieces.
    async fn orders(&self) -> Vec<(String, String, String, i64, i64)> {
        let chain = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
        let projector = Projector::new(self.pool.clone(), self.store.clone(), chain);
        projector.catch_up(|_| ()).await.unwrap();
        let report = Verify::new(projector).run(false, |_| (), |_| ()).await;
        assert!(report.unwrap().is_clean());
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

fn shop(
    customer: &str,
    status: &str,
    total: i64,
    pieces: i64,
) -> (String, String, String, i64, i64) {
    let (customer, status) = (customer.to_owned(), status.to_owned());
    (customer, status, "GBP".to_owned(), total, pieces)
}

/// Two good orders, one of them scattered, and one of each kind of bad one. The heading has a byte
/// order mark, the columns stand in another order and there is one more.
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

#[tokio::test]
async fn a_file_is_imported_and_what_is_bad_is_rejected_whole() {
    let world = World::new().await;
    let file = world.file("mixed.csv", MIXED);

    let imported = world.import(&file, false).await;

    let expected = Imported {
        orders: 2,
        lines: 4,
        present: 0,
        refused: 10,
        refused_lines: 12,
    };
    assert_eq!(imported, expected);
    assert_eq!(
        world.orders().await,
        [shop("c1", "created", 1900, 6), shop("c2", "created", 50, 1)]
    );
}

#[tokio::test]
async fn rejects_are_the_lines_as_they_were_with_their_reasons() {
    let world = World::new().await;
    let file = world.file("mixed.csv", MIXED);

    world.import(&file, false).await;

    let rejects = world.rejects();
    let mut lines: Vec<_> = rejects.lines().collect();
    let heading = lines.remove(0);
    assert_eq!(
        heading.trim_start_matches('\u{feff}'),
        "InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID,reason"
    );
    // Orders are sent many at once; the lines of one stand together all the same.
    let third = lines
        .iter()
        .position(|line| line.starts_with("3,A"))
        .unwrap();
    assert!(lines[third + 1].starts_with("3,B"), "{rejects}");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            ",A,,1,1.00,c10,the order's number is empty",
            "10,A,,1,abc,c10,\"price abc must be a decimal amount of zero or more, without sign or exponent\"",
            "11,,,1,1.00,c11,\"product \"\"\"\" must not be empty\"",
            "3,A,,-1,1.00,c3,quantity -1 must be between 1 and 10000",
            "3,B,,1,1.00,c3,line 5: quantity -1 must be between 1 and 10000",
            "4,A,,1,1.005,c4,\"price 1.005 must not have more digits than the currency has, nor more than 15 significant ones\"",
            "5,A,,1,1.00,,the customer is empty",
            "6,A,,1,1.00,c6,\"line 10: the order's lines name two customers: \"\"c6\"\", \"\"c7\"\"\"",
            "6,A,,1,1.00,c7,\"the order's lines name two customers: \"\"c6\"\", \"\"c7\"\"\"",
            "7,A,,1,,,cell 5 is missing",
            "8,A,,0,1.00,c8,quantity 0 must be between 1 and 10000",
            "9,A,,1.5,1.00,c9,\"quantity \"\"1.5\"\" is no whole number\"",
        ]
    );
}

#[tokio::test]
async fn importing_again_doubles_nothing() {
    let world = World::new().await;
    let file = world.file("mixed.csv", MIXED);
    world.import(&file, false).await;
    let (orders, rejects, events) = (world.orders().await, world.rejects(), world.events().await);

    let again = world.import(&file, false).await;

    assert_eq!((again.orders, again.lines, again.present), (0, 0, 2));
    assert_eq!(again.refused, 10);
    assert_eq!(world.events().await, events);
    assert_eq!(world.orders().await, orders);
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        sorted(&world.rejects()),
        sorted(&rejects),
        "rejects are replaced, not added to"
    );
}

#[tokio::test]
async fn an_import_that_was_cut_short_is_finished_by_the_next() {
    let world = World::new().await;
    let half: String = MIXED.split_inclusive('\n').take(3).collect();
    let second_only = half.replace("1,A,\"a thing, red\",2,1.50,c1\n", "");
    world
        .import(&world.file("half.csv", second_only), false)
        .await;

    let imported = world.import(&world.file("mixed.csv", MIXED), true).await;

    assert_eq!((imported.orders, imported.present), (1, 1));
    assert_eq!(
        world.orders().await,
        [
            shop("c1", "completed", 1900, 6),
            shop("c2", "completed", 50, 1)
        ]
    );
    let again = world.import(&world.file("mixed.csv", MIXED), true).await;
    assert_eq!((again.orders, again.present, again.refused), (0, 2, 10));
}

#[tokio::test]
async fn an_order_that_changed_in_the_file_is_refused_and_stays_as_it_is() {
    let world = World::new().await;
    let file = world.file(
        "a.csv",
        "InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID\n1,A,1,1,c1\n",
    );
    world.import(&file, false).await;
    let file = world.file(
        "a.csv",
        "InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID\n1,A,2,1,c1\n",
    );

    let imported = world.import(&file, false).await;

    assert_eq!(
        (imported.orders, imported.present, imported.refused),
        (0, 0, 1)
    );
    assert!(
        world.rejects().contains("exists already"),
        "{}",
        world.rejects()
    );
    assert_eq!(world.orders().await, [shop("c1", "created", 100, 1)]);
}

#[tokio::test]
async fn a_file_without_rejects_leaves_none_behind() {
    let world = World::new().await;
    world.import(&world.file("mixed.csv", MIXED), false).await;
    assert!(!world.rejects().is_empty());

    let good =
        "InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID\n\"1\",\"A\",\"1\",\"1\",\"c1\"\n";
    let imported = world.import(&world.file("good.csv", good), false).await;

    // The number is that of an order of the first file, which was made from other values.
    assert_eq!(imported.refused, 1);
    let good = good.replace("\"1\",\"A\"", "\"99\",\"A\"");
    let imported = world.import(&world.file("good.csv", good), false).await;
    assert_eq!((imported.orders, imported.refused), (1, 0));
    assert!(!world.path("rejects.csv").exists());
}

#[tokio::test]
async fn a_file_compressed_by_zstd_is_unpacked_on_the_way() {
    let world = World::new().await;
    let file = world.file("mixed.csv", MIXED);
    // The program is the reference; where it is missing, this test cannot tell anything.
    let packed = Command::new("zstd").arg("-q").arg(&file).status();
    if !packed.is_ok_and(|status| status.success()) {
        return;
    }

    let imported = world.import(&world.path("mixed.csv.zst"), false).await;

    assert_eq!(
        (imported.orders, imported.lines, imported.refused),
        (2, 4, 10)
    );
}

#[tokio::test]
async fn orders_that_name_no_customer_can_be_given_one() {
    let world = World::new().await;
    let text = "InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID\n1,A,1,1,\n2,A,1,2,c2\n";
    let source = Source::open(&world.file("a.csv", text), &columns()).unwrap();
    let import = Import {
        drafting: Drafting {
            source: "shop".to_owned(),
            currency: "GBP".parse().unwrap(),
            default_customer: Some(CustomerId::parse("walk-in").unwrap()),
            places: source.places,
        },
        source,
        is_completed: false,
        rejects: world.path("rejects.csv"),
        clock: now,
    };

    let imported = world.run(import).await;

    assert_eq!((imported.orders, imported.refused), (2, 0));
    assert_eq!(
        world.orders().await,
        [
            shop("c2", "created", 200, 1),
            shop("walk-in", "created", 100, 1)
        ]
    );
}

#[tokio::test]
async fn a_file_without_the_columns_says_which_it_has() {
    let world = World::new().await;
    let file = world.file(
        "a.csv",
        "InvoiceNo,Stock,Quantity,Price,CustomerID\n1,A,1,1,c1\n",
    );

    let refused = Source::open(&file, &columns()).err().unwrap().to_string();

    assert!(
        refused.contains("no column StockCode, UnitPrice"),
        "{refused}"
    );
    assert!(
        refused.contains("it has InvoiceNo, Stock, Quantity, Price, CustomerID"),
        "{refused}"
    );
    let missing = Source::open(&world.path("nowhere.csv"), &columns());
    assert!(
        missing
            .err()
            .unwrap()
            .to_string()
            .contains("nowhere.csv cannot be read")
    );
}
