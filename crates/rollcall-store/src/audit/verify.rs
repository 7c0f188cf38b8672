//! Whether the sealed record is whole.

use rollcall_core::mac::MacKey;
use sea_orm::FromQueryResult;

use crate::audit::chain::{self, AuditRow, COLUMNS, End, start_signature};
use crate::audit::payload::Payload;
use crate::audit::seal::{AuditHead, NO_END};
use crate::db::query::{row, rows};
use crate::error::Result;
use crate::purpose::Purpose;
use crate::store::Store;
use crate::tables::json::audit::AuditPayload;

/// Rows that are read at a time.
const ROWS: usize = 500;

/// Something in the record that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The rows between these positions are missing.
    Missing {
        /// The first.
        first: i64,
        /// The last.
        last: i64,
    },
    /// This row is not what was sealed here, or does not follow the row before it.
    Changed {
        /// Its position.
        position: i64,
    },
    /// The personal data of this row is not what was sealed, or it is gone without an erasure.
    PayloadChanged {
        /// Its position.
        position: i64,
    },
    /// Retention did not write the note where the record starts.
    Start {
        /// Its position.
        position: i64,
    },
    /// The newest row is not the head that the store notes.
    Head {
        /// The head's position.
        position: i64,
    },
    /// The head that was kept elsewhere is not in this record.
    KeptHead {
        /// Its position.
        position: i64,
    },
    /// The head that was kept elsewhere is older than all that is kept: nothing can be said about it.
    KeptHeadTooOld {
        /// Its position.
        position: i64,
    },
}

/// What a verification found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    /// How many rows were looked at.
    pub rows: u64,
    /// How many of them have lost personal data to an erasure.
    pub erased: u64,
    /// The newest row. Keep a copy elsewhere if no fault was found.
    pub head: AuditHead,
}

#[derive(FromQueryResult)]
struct Stored {
    #[sea_orm(nested)]
    row: AuditRow,
    payload_id: Option<i64>,
    payload_time: Option<i64>,
    actor: Option<String>,
    client_address: Option<String>,
    erasure: Option<Vec<u8>>,
    #[sea_orm(nested)]
    payload: Payload,
}

impl Store {
    /// Reads the whole record, in constant memory, and reports each fault. Events that are sealed meanwhile are not
    /// looked at. `kept` is a head that was kept elsewhere. Without one, nobody can tell whether the newest rows were
    /// cut off and the head set back. Global by nature.
    ///
    /// # Errors
    /// `Unavailable`; `CursorExpired` if retention deletes what is being read: begin anew.
    pub async fn verify_audit(
        &self,
        kept: Option<&AuditHead>,
        mut tell: impl FnMut(Fault),
    ) -> Result<Verification> {
        let key = self.keys()?.of(Purpose::AuditRecord);
        let head = self.chain_end("head").await?;
        let start = self.chain_end("start").await?;
        if !is_start(key, &start) {
            tell(Fault::Start {
                position: start.position,
            });
        }
        let mut walk = Walk {
            position: start.position,
            hash: start.hash.clone(),
            rows: 0,
            erased: 0,
        };
        let mut kept_is_there = kept.map(|kept| kept.position == start.position && kept.hash == start.hash);
        loop {
            let found = self.stored(walk.position, head.position).await?;
            let read = found.len();
            for stored in found {
                walk.step(key, stored, &mut tell);
                if kept.is_some_and(|kept| kept.position == walk.position && kept.hash == walk.hash) {
                    kept_is_there = Some(true);
                }
            }
            if read < ROWS {
                break;
            }
        }
        if self.chain_end("start").await?.position != start.position {
            return Err(crate::StoreError::CursorExpired);
        }
        if walk.position < head.position {
            tell(Fault::Missing {
                first: walk.position + 1,
                last: head.position,
            });
        } else if walk.hash != head.hash || self.is_beyond(head.position).await? {
            tell(Fault::Head {
                position: head.position,
            });
        }
        if let (Some(kept), Some(false)) = (kept, kept_is_there) {
            let position = kept.position;
            tell(match position < start.position {
                true => Fault::KeptHeadTooOld { position },
                false => Fault::KeptHead { position },
            });
        }
        Ok(Verification {
            rows: walk.rows,
            erased: walk.erased,
            head: AuditHead {
                position: head.position,
                hash: head.hash,
            },
        })
    }

    async fn stored(&self, after: i64, up_to: i64) -> Result<Vec<Stored>> {
        let columns = COLUMNS.map(|column| format!("e.{column}")).join(", ");
        let sql = format!(
            "SELECT {columns}, p.id AS payload_id, p.time AS payload_time, p.actor, p.client_address, p.erasure, p.salt,
                p.payload
            FROM audit_events e LEFT JOIN audit_payloads p ON p.position = e.position
            WHERE e.position > $1 AND e.position <= $2 ORDER BY e.position LIMIT {ROWS}"
        );
        rows(
            &self.inner.database.reader,
            &sql,
            vec![after.into(), up_to.into()],
        )
        .await
    }

    async fn chain_end(&self, name: &str) -> Result<End> {
        let sql = "SELECT position, hash, last_id, signature FROM audit_ends WHERE name = $1";
        row(&self.inner.database.reader, sql, vec![name.into()])
            .await?
            .ok_or(NO_END)
    }

    /// Whether there are rows behind a head that is still the head.
    async fn is_beyond(&self, head: i64) -> Result<bool> {
        let sql = "SELECT e.position FROM audit_events e WHERE e.position > $1
            AND EXISTS (SELECT 1 FROM audit_ends WHERE name = 'head' AND position = $1) LIMIT 1";
        let found: Vec<i64> =
            crate::db::query::column(&self.inner.database.reader, sql, vec![head.into()]).await?;
        Ok(!found.is_empty())
    }
}

struct Walk {
    position: i64,
    hash: Vec<u8>,
    rows: u64,
    erased: u64,
}

impl Walk {
    fn step(&mut self, key: &MacKey, stored: Stored, tell: &mut impl FnMut(Fault)) {
        let position = stored.row.position;
        if position > self.position + 1 {
            tell(Fault::Missing {
                first: self.position + 1,
                last: position - 1,
            });
        } else if stored.row.chained(key, &self.hash).as_slice() != stored.row.hash {
            // Behind a gap this cannot be checked.
            tell(Fault::Changed { position });
        }
        if !stored.payload_is_right(key) {
            tell(Fault::PayloadChanged { position });
        } else if stored.payload.is_erased() {
            self.erased += 1;
        }
        self.position = position;
        self.hash = stored.row.hash;
        self.rows += 1;
    }
}

impl Stored {
    /// Whether the payload is what was sealed, or what an erasure left of it.
    fn payload_is_right(&self, key: &MacKey) -> bool {
        let Some(payload) = &self.payload.payload else {
            return false;
        };
        let parsed = AuditPayload::from_json(payload).ok();
        let found_by = parsed.is_some_and(|parsed| {
            parsed.actor_name() == self.actor && parsed.address() == self.client_address
        });
        let AuditRow {
            position, id, time, ..
        } = self.row;
        let vouched_for = match self.payload.salt() {
            Some(salt) => chain::digest(salt, payload).as_slice() == self.row.digest,
            None => self.erasure.as_deref() == Some(&chain::erasure_mark(key, [position, id, time], payload)),
        };
        vouched_for && found_by && self.payload_id == Some(id) && self.payload_time == Some(time)
    }
}

fn is_start(key: &MacKey, start: &End) -> bool {
    match start.position {
        0 => start.hash.is_empty(),
        position => start_signature(key, position, &start.hash).as_slice() == start.signature,
    }
}
