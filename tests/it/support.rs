//! What the tests stand on.

use std::str::FromStr;

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

/// A database of its own, migrated.
pub async fn fresh_database() -> PgPool {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL names a PostgreSQL server");
    let name = format!("it_{}", Uuid::now_v7().simple());
    let options = PgConnectOptions::from_str(&url).unwrap();
    let mut server = PgConnection::connect_with(&options).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    sqlx::raw_sql(create).execute(&mut server).await.unwrap();
    let options = orders::read_model::OrderViews::connect_options(options.database(&name));
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_with(options)
        .await
        .unwrap();
    sqlx::migrate!().run(&pool).await.unwrap();
    pool
}
