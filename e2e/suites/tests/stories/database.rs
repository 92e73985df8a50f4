//! A database: whatever is deleted of it comes back, rows and credentials outlive it.

use std::time::Duration;

use anyhow::{Result, ensure};
use orlop_suites::{eventually, fixture, in_namespace, with};
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use crate::tier::Tier;

const DATABASE: &str = "ledger";
const ROWS: i64 = 1000;
/// three Secrets, a ConfigMap, two Services, a StatefulSet.
const OBJECTS: usize = 7;
/// A database that is Ready accepts connections, but a node may learn of its address later.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn whatever_is_deleted_of_a_database_comes_back_with_its_rows() -> Result<()> {
    in_namespace("database", async |namespace| {
        let tier = Tier::start(namespace, fixture(DATABASE)?).await?;
        write_rows(&tier).await?;
        let password = tier.secret("binding", "password").await?;
        tier.each_of_its_objects_comes_back(OBJECTS).await?;
        has_all(&tier, &password).await
    })
    .await
}

#[tokio::test]
async fn rows_and_credentials_outlive_a_database_that_is_made_again() -> Result<()> {
    in_namespace("rows", async |namespace| {
        let tier = Tier::start(namespace, fixture(DATABASE)?).await?;
        write_rows(&tier).await?;
        let password = tier.secret("binding", "password").await?;
        let superuser = tier.secret("auth", "superuser-password").await?;

        tier.delete().await?;
        let left = tier.claims().await?;
        ensure!(left == 1, "{left} volumes are left");

        tier.make().await?;
        let after = tier.secret("auth", "superuser-password").await?;
        ensure!(after == superuser, "the superuser has another password");
        has_all(&tier, &password).await
    })
    .await
}

#[tokio::test]
async fn a_database_that_is_to_be_deleted_with_its_data_leaves_nothing() -> Result<()> {
    in_namespace("no-rows", async |namespace| {
        let manifest = with(fixture(DATABASE)?, "/spec/deletion", json!("Delete"))?;
        let tier = Tier::start(namespace, manifest).await?;
        tier.delete().await?;
        tier.leaves_nothing().await
    })
    .await
}

async fn write_rows(tier: &Tier<'_>) -> Result<()> {
    let rows = eventually(ANSWERS_WITHIN, "rows are written", async || {
        let client = connect(tier).await?;
        client
            .batch_execute("create table if not exists entry (number bigint primary key)")
            .await?;
        let write = "insert into entry select generate_series(1, $1::bigint)";
        Ok(client.execute(write, &[&ROWS]).await?)
    });
    let rows = rows.await?;
    ensure!(i64::try_from(rows)? == ROWS, "{rows} rows were written");
    Ok(())
}

/// All rows, for who has the password of before.
async fn has_all(tier: &Tier<'_>, password: &str) -> Result<()> {
    let now = tier.secret("binding", "password").await?;
    ensure!(now == password, "users have another password");
    let rows: i64 = eventually(ANSWERS_WITHIN, "rows are read", async || {
        let client = connect(tier).await?;
        let row = client.query_one("select count(*) from entry", &[]).await?;
        Ok(row.try_get(0)?)
    })
    .await?;
    ensure!(rows == ROWS, "{rows} of {ROWS} rows are there");
    Ok(())
}

/// With what the binding says.
async fn connect(tier: &Tier<'_>) -> Result<Client> {
    let (client, connection) = tokio_postgres::Config::new()
        .host(tier.address().await?.to_string())
        .user(tier.secret("binding", "username").await?)
        .password(tier.secret("binding", "password").await?)
        .dbname(tier.secret("binding", "database").await?)
        .connect_timeout(Duration::from_secs(10))
        .connect(NoTls)
        .await?;
    // It ends with the client; what goes wrong on it is told to the statement under way.
    tokio::spawn(connection);
    Ok(client)
}
