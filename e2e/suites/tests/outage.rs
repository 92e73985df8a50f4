//! The shop while one of its data services does not answer: it serves what it can, says of the rest
//! when to come again, is whole again within seconds, and loses nothing that it acknowledged.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::ListParams};
use orlop_suites::{
    Answer, TestNamespace, documents, edge_address, eventually, figure, get, in_namespace,
    observe_for, process::Paused, ready, send,
};
use serde_json::json;
use tokio::{task::JoinHandle, time::Instant};

const READY_WITHIN: Duration = Duration::from_mins(4);
const OUTAGE: Duration = Duration::from_secs(30);
/// From the end of the outage to the first order of an unbroken row.
const WHOLE_WITHIN: Duration = Duration::from_secs(5);
/// The orders of all outages are fewer than the mailer remembers (1,000).
const PAUSE: Duration = Duration::from_millis(250);
const MAILED_WITHIN: Duration = Duration::from_mins(2);

#[tokio::test]
async fn a_data_service_that_does_not_answer_costs_nothing_that_was_acknowledged() -> Result<()> {
    in_namespace("outage", async |namespace| {
        let application = documents("examples/shop/app.yaml")?
            .pop()
            .context("the example is empty")?;
        let applied = namespace.apply(&application).await?;
        ready(namespace, &applied.name_any(), READY_WITHIN).await?;
        let shop = Shop::open(edge_address(namespace, "shop").await?).await?;
        for (part, serves) in [("cache", true), ("mq", true), ("db", false)] {
            outage(namespace, &shop, part, serves).await?;
        }
        shop.has_every_order().await
    })
    .await
}

/// Stops all nodes of a part under load, and lets them go on.
async fn outage(namespace: &TestNamespace, shop: &Shop, part: &str, serves: bool) -> Result<()> {
    let nodes = ListParams::default().labels(&format!("app.kubernetes.io/name={part}"));
    let nodes = namespace.api::<Pod>().list(&nodes).await?.items;
    ensure!(!nodes.is_empty(), "{part} has no pods");
    let customers = Customers::come(shop);
    {
        let _paused = Paused::all(&nodes)?;
        observe_for(OUTAGE, &format!("{part} does not answer")).await;
    }
    let ended = Instant::now();
    eventually(WHOLE_WITHIN, format!("{part} is whole again"), async || {
        for _ in 0..3 {
            shop.order().await?;
            shop.read().await?;
        }
        Ok(())
    })
    .await?;
    let whole = format!("{:.1}", ended.elapsed().as_secs_f64());
    figure(&format!("outage.{part}.whole-after"), whole, "s");
    let told = customers.leave().await?;
    for (answer, times) in &told {
        figure(&format!("outage.{part}.answers.{answer}"), times, "times");
    }
    let well = told.get("served").copied().unwrap_or_default();
    let refused = told.get("refused, come again").copied().unwrap_or_default();
    let others: u32 = told.values().sum::<u32>() - well - refused;
    ensure!(others == 0, "while {part} did not answer: {told:?}");
    // With the cache or the broker away everything is served but what was just under way.
    ensure!(
        !serves || well > 10 * refused,
        "while {part} did not answer: {told:?}"
    );
    Ok(())
}

/// Who orders and who reads.
struct Customers {
    leave: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<BTreeMap<String, u32>>>,
}

impl Customers {
    fn come(shop: &Shop) -> Self {
        let leave = Arc::new(AtomicBool::new(false));
        let tasks = [true, false].map(|orders| {
            let (shop, leave) = (shop.clone(), Arc::clone(&leave));
            tokio::spawn(async move {
                let mut told = BTreeMap::new();
                let mut next = tokio::time::interval(PAUSE);
                while !leave.load(Ordering::Relaxed) {
                    next.tick().await;
                    let answer = if orders {
                        shop.order().await
                    } else {
                        shop.read().await
                    };
                    let what = match answer {
                        Ok(()) => "served".to_owned(),
                        Err(error) => format!("{error:#}"),
                    };
                    *told.entry(what).or_default() += 1;
                }
                told
            })
        });
        Self {
            leave,
            tasks: tasks.into(),
        }
    }

    async fn leave(self) -> Result<BTreeMap<String, u32>> {
        self.leave.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for task in self.tasks {
            for (answer, times) in task.await? {
                *all.entry(answer).or_default() += times;
            }
        }
        Ok(all)
    }
}

/// The shop's API through its edge.
#[derive(Clone)]
struct Shop {
    edge: SocketAddr,
    product: String,
    customer: String,
    acknowledged: Arc<Mutex<Vec<String>>>,
}

impl Shop {
    async fn open(edge: SocketAddr) -> Result<Self> {
        let product = json!({"sku": "rope", "name": "rope", "price": "3.00"});
        let customer = json!({"name": "Ida", "email": "ida@shop.example"});
        Ok(Self {
            edge,
            product: create(edge, "products", &product.to_string()).await?,
            customer: create(edge, "customers", &customer.to_string()).await?,
            acknowledged: Arc::default(),
        })
    }

    async fn order(&self) -> Result<()> {
        let item = json!({"product": self.product, "quantity": 1, "unitPrice": "3.00"});
        let order = json!({"customer": self.customer, "items": [item]});
        let id = create(self.edge, "orders", &order.to_string()).await?;
        let mut acknowledged = self.acknowledged();
        acknowledged.push(id);
        Ok(())
    }

    async fn read(&self) -> Result<()> {
        let path = format!("/api/products/{}", self.product);
        judged(get(self.edge, &path).await?).map(drop)
    }

    /// Every acknowledged order is there, and its receipt was sent.
    async fn has_every_order(&self) -> Result<()> {
        let orders = self.acknowledged().clone();
        for order in &orders {
            judged(get(self.edge, &format!("/api/orders/{order}")).await?)?;
        }
        eventually(MAILED_WITHIN, "every receipt was sent", async || {
            let mails = get(self.edge, "/mails").await?.body;
            let missing = orders.iter().filter(|order| !mails.contains(*order));
            let missing = missing.count();
            ensure!(missing == 0, "{missing} of {} are missing", orders.len());
            Ok(())
        })
        .await?;
        figure(
            "outage.orders",
            orders.len(),
            "acknowledged, stored, mailed",
        );
        Ok(())
    }

    fn acknowledged(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The new thing's id.
async fn create(edge: SocketAddr, things: &str, body: &str) -> Result<String> {
    let request = Request::post(format!("/api/{things}"))
        .header("content-type", "application/json")
        .body(body.to_owned())?;
    let answer = judged(send(edge, request).await?)?;
    let id = answer.header("location").rsplit('/').next();
    Ok(id.context("a path has an end")?.to_owned())
}

/// An answer is one that serves, or one that tells when to come again.
fn judged(answer: Answer) -> Result<Answer> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let come_again = answer.status.as_u16() == 503 && !answer.header("retry-after").is_empty();
    ensure!(!come_again, "refused, come again");
    anyhow::bail!("{}: {}", answer.status, answer.body)
}
