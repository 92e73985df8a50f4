//! What is cached under which key, and what is told of a read.

use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};

/// `<class prefix><type>:<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    pub fn new(prefix: &str, type_name: &str, id: impl fmt::Display) -> Self {
        Self(format!("{prefix}{type_name}:{id}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A row as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub version: i64,
    /// Opaque here; with its shape it tells readers of other revisions apart.
    pub body: Bytes,
}

impl Row {
    pub(super) fn encode(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(8 + self.body.len());
        payload.put_i64(self.version);
        payload.put_slice(&self.body);
        payload.freeze()
    }

    /// `None` when it was not made by [`Row::encode`].
    pub(super) fn decode(payload: &Bytes) -> Option<Self> {
        let version = payload.first_chunk::<8>()?;
        Some(Self {
            version: i64::from_be_bytes(*version),
            body: payload.slice(8..),
        })
    }
}

/// Where a read was answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// From the cache.
    Hit,
    /// From the cache, while the database could not be asked: at most as old as the class's TTL.
    Unverified,
    /// From the database.
    Miss { stored: bool },
    /// By another read of the same row, which was under way.
    Collapsed,
    /// From the database, the cache left alone.
    Bypass(Bypass),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// Its rows cannot be relied on at the moment.
    Untrusted,
    /// It does not answer, or not in time.
    Unreachable,
    /// The row is being written, or loaded by another process.
    Busy,
}

impl Lookup {
    /// Value of the `Cache-Status` header, after RFC 9211.
    pub fn header(self) -> &'static str {
        match self {
            Self::Hit => "orlop; hit",
            Self::Unverified => "orlop; hit; detail=unverified",
            Self::Miss { stored: true } => "orlop; fwd=miss; stored",
            Self::Miss { stored: false } => "orlop; fwd=miss",
            Self::Collapsed => "orlop; fwd=miss; collapsed",
            Self::Bypass(Bypass::Untrusted) => "orlop; fwd=bypass; detail=untrusted",
            Self::Bypass(Bypass::Unreachable) => "orlop; fwd=bypass; detail=unreachable",
            Self::Bypass(Bypass::Busy) => "orlop; fwd=bypass; detail=busy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was_stored() {
        let row = Row {
            version: 7,
            body: Bytes::from_static(b"{\"name\":\"lantern\"}"),
        };
        assert_eq!(Row::decode(&row.encode()), Some(row));
        assert_eq!(Row::decode(&Bytes::from_static(b"short")), None);
    }
}
