//! The script does what its specification says, operation for operation.

use std::time::Duration;

use bytes::Bytes;
use orlop_api::cache::{
    Key, Shape,
    protocol::Epoch,
    script::{Operation, Reply, Script, Token},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    cell::{self, Asked, Cell},
    support::redis::Redis,
};

const STEPS: u32 = 20_000;
const SHAPE: Shape = Shape(9);

#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_script_and_its_specification_agree() {
    let redis = Redis::start().await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let scripts = [Script::new(Epoch(0)), Script::new(Epoch(1))];
    for script in &scripts {
        let loaded = script.load().query_async::<String>(&mut connection).await;
        assert_eq!(loaded.unwrap().len(), 40);
    }
    let seed = 20_261_122;
    let mut random = StdRng::seed_from_u64(seed);
    let key = Key::new("lantern:", "Lantern", 1);
    let mut cell: Cell = None;
    for step in 0..STEPS {
        let (epoch, token, version) = (
            random.random_range(0..2_u8),
            random.random_range(0..4_u8),
            random.random_range(0..100_u8),
        );
        let payload = Bytes::copy_from_slice(&[version]);
        let before = cell.clone();
        let (operation, expected) = match random.random_range(0..8) {
            0..3 => ask(&mut cell, epoch, token),
            3..5 => fill(&mut cell, epoch, token, (version, &payload)),
            5..6 => {
                cell::intend(&mut cell, epoch, token);
                (Operation::Intend { token: long(token) }, Reply::Stored)
            }
            _ => settle(&mut cell, epoch, token),
        };
        let command = scripts[usize::from(epoch)].call(&key, &operation);
        let value = command.query_async(&mut connection).await.unwrap();
        assert_eq!(
            Reply::parse(value),
            Some(expected),
            "step {step} of seed {seed}: {operation:?} in {epoch} on {before:?}"
        );
    }
}

fn ask(cell: &mut Cell, epoch: u8, token: u8) -> (Operation<'static>, Reply) {
    let expected = match cell::ask(cell, epoch, token) {
        Asked::Hit(version) => Reply::Hit(Bytes::copy_from_slice(&[version])),
        Asked::Granted => Reply::Granted,
        Asked::Held(holder) => Reply::Held(long(holder)),
        Asked::Written => Reply::Written,
    };
    let token = long(token);
    (
        Operation::Ask {
            token,
            shape: SHAPE,
        },
        expected,
    )
}

fn fill<'a>(
    cell: &mut Cell,
    epoch: u8,
    token: u8,
    (version, payload): (u8, &'a Bytes),
) -> (Operation<'a>, Reply) {
    let stored = cell::fill(cell, epoch, token, version);
    let operation = Operation::Fill {
        token: long(token),
        ttl: Duration::from_mins(1),
        shape: SHAPE,
        payload,
    };
    (operation, if stored { Reply::Stored } else { Reply::None })
}

/// It tells `Stored` where other writers' intents are left.
fn settle(cell: &mut Cell, epoch: u8, token: u8) -> (Operation<'static>, Reply) {
    cell::settle(cell, epoch, token);
    let left = matches!(cell, Some((of, _)) if *of == epoch);
    let token = long(token);
    let expected = if left { Reply::Stored } else { Reply::None };
    (Operation::Settle { token }, expected)
}

fn long(token: u8) -> Token {
    Token(u64::from(token))
}
