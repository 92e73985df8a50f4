//! The writer's side: what surrounds a transaction that changes cacheable rows.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::{Client, Error, Transaction};

use super::{
    Cache,
    link::CallError,
    metrics::WriteResult,
    protocol::{self, Debt, Epoch, Inside, Outside, Since},
    row::Key,
    script::{Operation, Reply, Script, Token},
    trust::{self, GRACE},
};

/// How long a writer waits for the cache to confirm. Longer than a reader does, because what
/// follows costs every process its cache.
const CONFIRM: Duration = Duration::from_millis(250);

/// What a transaction owes to the cache. It has to be settled between the commit and the answer
/// to the client; one that is dropped keeps its rows from being cached for a minute.
#[derive(Debug)]
#[must_use = "the write may be acknowledged only after it is settled"]
pub struct Intent {
    cache: Cache,
    token: Token,
    keys: Vec<Key>,
    debt: Debt,
    /// When the trust was first seen off, if it was.
    seen_off: Option<Instant>,
}

impl Cache {
    /// Comes before the first change in the transaction, with the keys of all rows that it
    /// changes (none that it creates: absence is not cached), also when this revision caches none
    /// of them: another one may. The transaction must be READ COMMITTED and over within 30 s,
    /// its commit included.
    ///
    /// # Errors
    /// When the database fails. A cache that fails is not an error.
    pub async fn intend(
        &self,
        transaction: &Transaction<'_>,
        keys: Vec<Key>,
    ) -> Result<Intent, Error> {
        let asked = Instant::now();
        let trust = trust::read_for_write(transaction).await?;
        let mut intent = Intent {
            cache: self.clone(),
            token: Token::random(),
            keys,
            debt: Debt::Nothing,
            seen_off: self.shared.view.observe(trust, asked),
        };
        let mut next = protocol::trust_read(trust, self.shared.layout, self.is_usable());
        loop {
            next = match next {
                Inside::Intend(epoch) => {
                    let token = intent.token;
                    let confirmed = intent.tell_all(epoch, &Operation::Intend { token }).await;
                    protocol::intended(epoch, confirmed)
                }
                Inside::Revoke(epoch) => {
                    trust::revoke(transaction, epoch).await?;
                    protocol::revoked_inside(epoch)
                }
                Inside::Commit(debt) => {
                    intent.debt = debt;
                    return Ok(intent);
                }
            };
        }
    }
}

impl Intent {
    /// Comes after the commit and before the acknowledgement. Waits for up to a second and a half
    /// when the cache could not be told.
    ///
    /// # Errors
    /// When neither the cache nor the database could be told: the write is committed, but must
    /// not be acknowledged.
    pub async fn settle(self, client: &Client) -> Result<(), Error> {
        let mut next = match self.debt {
            Debt::Nothing => return Ok(()),
            Debt::Settle(epoch) => {
                let token = self.token;
                let confirmed = self.tell_all(epoch, &Operation::Settle { token }).await;
                protocol::settled(epoch, confirmed)
            }
            Debt::Wait(since) => Outside::Wait(since),
        };
        let mut result = WriteResult::Settled;
        loop {
            next = match next {
                Outside::Acknowledge => break,
                Outside::Revoke(epoch) => {
                    trust::revoke(client, epoch).await?;
                    let (now, _) = trust::read(client).await?;
                    protocol::revoked_outside(epoch, now)
                }
                Outside::Wait(since) => {
                    result = WriteResult::Waited;
                    self.wait(since).await;
                    Outside::Acknowledge
                }
            };
        }
        self.cache.shared.metrics.written(result);
        Ok(())
    }

    /// The transaction was rolled back: the rows may be cached again at once.
    pub async fn abandon(self) {
        if let Debt::Settle(epoch) = self.debt {
            let token = self.token;
            // Otherwise the intents expire.
            self.tell_all(epoch, &Operation::Settle { token }).await;
        }
    }

    async fn wait(&self, since: Since) {
        let (Since::SeenOff(epoch) | Since::Now(epoch)) = since;
        self.cache.shared.view.lose(epoch);
        let since = match since {
            Since::SeenOff(_) => self.seen_off,
            Since::Now(_) => None,
        };
        sleep_until(since.unwrap_or_else(Instant::now) + GRACE).await;
    }

    /// Whether the cache has confirmed for every key.
    async fn tell_all(&self, epoch: Epoch, operation: &Operation<'_>) -> bool {
        if self.keys.is_empty() {
            return true;
        }
        let script = Arc::new(Script::new(epoch));
        let script = self.cache.shared.view.script(Some(epoch)).unwrap_or(script);
        let told = join_all(
            self.keys
                .iter()
                .map(|key| self.tell(&script, key, operation)),
        )
        .await;
        told.into_iter().all(|confirmed| confirmed)
    }

    async fn tell(&self, script: &Script, key: &Key, operation: &Operation<'_>) -> bool {
        match self.cache.call(script, key, operation, CONFIRM).await {
            Ok(Reply::Stored | Reply::None) => true,
            Ok(reply) => {
                tracing::error!(?reply, "the cache answered a write with what is not one");
                false
            }
            Err(CallError::Open) => false,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "failed to tell the cache of a write");
                false
            }
        }
    }
}
