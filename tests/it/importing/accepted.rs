//! What an import stores.

use std::process::Command;

use orders::{
    cli::import::{Import, Imported, draft::Drafting, source::Source},
    http::request::context::now,
    order::CustomerId,
};

use super::{ImportTest, MIXED, columns, order};

#[tokio::test]
async fn good_orders_are_imported_and_bad_ones_rejected_as_a_whole() {
    let test = ImportTest::new().await;
    let file = test.file("mixed.csv", MIXED);

    let imported = test.import(&file, false).await;

    let expected = Imported {
        orders: 2,
        lines: 4,
        present: 0,
        refused: 10,
        refused_lines: 12,
    };
    assert_eq!(imported, expected);
    assert_eq!(
        test.orders().await,
        [
            order("c1", "created", 1900, 6),
            order("c2", "created", 50, 1)
        ]
    );
}

#[tokio::test]
async fn importing_a_file_again_stores_nothing_twice() {
    let test = ImportTest::new().await;
    let file = test.file("mixed.csv", MIXED);
    test.import(&file, false).await;
    let (orders, rejects, events) = (test.orders().await, test.rejects(), test.events().await);

    let again = test.import(&file, false).await;

    assert_eq!((again.orders, again.lines, again.present), (0, 0, 2));
    assert_eq!(again.refused, 10);
    assert_eq!(test.events().await, events);
    assert_eq!(test.orders().await, orders);
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        sorted(&test.rejects()),
        sorted(&rejects),
        "the file of rejects is replaced, not appended to"
    );
}

#[tokio::test]
async fn the_next_import_completes_an_interrupted_one() {
    let test = ImportTest::new().await;
    let half: String = MIXED.split_inclusive('\n').take(3).collect();
    let second_only = half.replace("1,A,\"a thing, red\",2,1.50,c1\n", "");
    test.import(&test.file("half.csv", second_only), false)
        .await;

    let imported = test.import(&test.file("mixed.csv", MIXED), true).await;

    assert_eq!((imported.orders, imported.present), (1, 1));
    assert_eq!(
        test.orders().await,
        [
            order("c1", "completed", 1900, 6),
            order("c2", "completed", 50, 1)
        ]
    );
    let again = test.import(&test.file("mixed.csv", MIXED), true).await;
    assert_eq!((again.orders, again.present, again.refused), (0, 2, 10));
}

#[tokio::test]
async fn a_file_compressed_with_zstd_is_imported() {
    let test = ImportTest::new().await;
    let file = test.file("mixed.csv", MIXED);
    // The program `zstd` compresses the file. Without it there is nothing to test.
    let packed = Command::new("zstd").arg("-q").arg(&file).status();
    if !packed.is_ok_and(|status| status.success()) {
        return;
    }

    let imported = test.import(&test.path("mixed.csv.zst"), false).await;

    assert_eq!(
        (imported.orders, imported.lines, imported.refused),
        (2, 4, 10)
    );
}

#[tokio::test]
async fn orders_without_a_customer_get_the_default_customer() {
    let test = ImportTest::new().await;
    let lines = "InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID\n1,A,1,1,\n2,A,1,2,c2\n";
    let source = Source::open(&test.file("a.csv", lines), &columns()).unwrap();
    let import = Import {
        drafting: Drafting {
            source: "shop".to_owned(),
            currency: "GBP".parse().unwrap(),
            default_customer: Some(CustomerId::parse("walk-in").unwrap()),
            places: source.places,
        },
        source,
        is_completed: false,
        rejects: test.path("rejects.csv"),
        clock: now,
    };

    let imported = test.run(import).await;

    assert_eq!((imported.orders, imported.refused), (2, 0));
    assert_eq!(
        test.orders().await,
        [
            order("c2", "created", 200, 1),
            order("walk-in", "created", 100, 1)
        ]
    );
}
