//! Loads of rows that are under way in this process, so that many readers of one row ask the
//! database once.
//!
//! A reader may take the result of another one's load only if it has itself just seen that one's
//! lease stand: then no write was settled since the lease was given, and the load began later than
//! that. Joining whatever load is under way would be the same race as storing whatever was loaded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{row::Row, script::Token};

/// As many as there are reads under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Token, watch::Receiver<Loaded>>>>);

/// `None` until loaded; then the row, if there is one.
type Loaded = Option<Option<Row>>;

/// The right to load; gone when dropped.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Flights,
    token: Token,
    loaded: watch::Sender<Loaded>,
}

impl Flights {
    /// Comes before the lease is asked for: whoever is told of it must find the flight.
    pub(super) fn depart(&self, token: Token) -> Flight {
        let (loaded, joined) = watch::channel(None);
        self.lock().insert(token, joined);
        Flight {
            flights: self.clone(),
            token,
            loaded,
        }
    }

    /// What the holder of the lease loads. `None` when it is another process's, or has failed.
    pub(super) async fn join(&self, token: Token) -> Option<Option<Row>> {
        let mut joined = self.lock().get(&token).cloned()?;
        let loaded = joined.wait_for(Option::is_some).await.ok()?;
        loaded.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Token, watch::Receiver<Loaded>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    pub(super) fn token(&self) -> Token {
        self.token
    }

    pub(super) fn land(self, row: Option<Row>) {
        self.loaded.send_replace(Some(row));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_takes_what_the_holder_of_the_lease_loads() {
        let flights = Flights::default();
        let flight = flights.depart(Token(1));
        let joined = tokio::spawn({
            let flights = flights.clone();
            async move { flights.join(Token(1)).await }
        });
        tokio::task::yield_now().await;
        flight.land(None);
        assert_eq!(joined.await.unwrap(), Some(None));
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_reader_is_let_go_when_the_load_fails() {
        let flights = Flights::default();
        let flight = flights.depart(Token(1));
        let mut joined = Box::pin(flights.join(Token(1)));
        assert!(futures::poll!(&mut joined).is_pending());
        drop(flight);
        assert_eq!(joined.await, None);
        assert_eq!(flights.join(Token(1)).await, None);
    }
}
