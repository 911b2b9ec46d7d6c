//! What an import rejects, and how it reports that.

use orders::cli::import::source::Source;

use super::{ImportTest, MIXED, columns, order};

#[tokio::test]
async fn rejects_are_the_original_lines_with_a_reason() {
    let test = ImportTest::new().await;
    let file = test.file("mixed.csv", MIXED);

    test.import(&file, false).await;

    let rejects = test.rejects();
    let mut lines: Vec<_> = rejects.lines().collect();
    let heading = lines.remove(0);
    assert_eq!(
        heading.trim_start_matches('\u{feff}'),
        "InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID,reason"
    );
    // Orders are imported concurrently, but the lines of one order stay together.
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
            "9,A,,1.5,1.00,c9,\"quantity \"\"1.5\"\" is not a whole number\"",
        ]
    );
}

#[tokio::test]
async fn an_order_that_has_changed_in_the_file_is_rejected_and_not_changed() {
    let test = ImportTest::new().await;
    let file = test.file(
        "a.csv",
        "InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID\n1,A,1,1,c1\n",
    );
    test.import(&file, false).await;
    let file = test.file(
        "a.csv",
        "InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID\n1,A,2,1,c1\n",
    );

    let imported = test.import(&file, false).await;

    assert_eq!(
        (imported.orders, imported.present, imported.refused),
        (0, 0, 1)
    );
    assert!(
        test.rejects().contains("exists already"),
        "{}",
        test.rejects()
    );
    assert_eq!(test.orders().await, [order("c1", "created", 100, 1)]);
}

#[tokio::test]
async fn an_import_without_rejects_removes_an_old_file_of_rejects() {
    let test = ImportTest::new().await;
    test.import(&test.file("mixed.csv", MIXED), false).await;
    assert!(!test.rejects().is_empty());

    let good =
        "InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID\n\"1\",\"A\",\"1\",\"1\",\"c1\"\n";
    let imported = test.import(&test.file("good.csv", good), false).await;

    // The first file has an order of the same number with other values.
    assert_eq!(imported.refused, 1);
    let good = good.replace("\"1\",\"A\"", "\"99\",\"A\"");
    let imported = test.import(&test.file("good.csv", good), false).await;
    assert_eq!((imported.orders, imported.refused), (1, 0));
    assert!(!test.path("rejects.csv").exists());
}

#[tokio::test]
async fn an_error_about_missing_columns_names_the_columns_of_the_file() {
    let test = ImportTest::new().await;
    let file = test.file(
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
    let missing = Source::open(&test.path("nowhere.csv"), &columns());
    assert!(
        missing
            .err()
            .unwrap()
            .to_string()
            .contains("nowhere.csv cannot be read")
    );
}
