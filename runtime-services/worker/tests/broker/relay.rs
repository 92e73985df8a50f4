//! A way to the broker that can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lapin::uri::AMQPUri;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct Relay {
    broker: AMQPUri,
    address: SocketAddr,
    open: Arc<AtomicBool>,
    cuts: watch::Sender<u32>,
}

impl Relay {
    pub(crate) async fn start(broker: AMQPUri) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = (broker.authority.host.clone(), broker.authority.port);
        let open = Arc::new(AtomicBool::new(true));
        let cuts = watch::Sender::new(0);
        let (accepts, cut) = (Arc::clone(&open), cuts.clone());
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                if !accepts.load(Ordering::SeqCst) {
                    continue;
                }
                let mut cut = cut.subscribe();
                let target = target.clone();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        copied = copy_bidirectional(&mut near, &mut far) => drop(copied),
                        changed = cut.changed() => changed.unwrap(),
                    }
                });
            }
        });
        Self {
            broker,
            address,
            open,
            cuts,
        }
    }

    pub(crate) fn url(&self) -> String {
        let mut relayed = self.broker.clone();
        relayed.authority.host = self.address.ip().to_string();
        relayed.authority.port = self.address.port();
        relayed.to_string()
    }

    /// Ends all connections and lets none through until it is mended.
    pub(crate) fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}
