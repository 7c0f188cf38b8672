//! Sealing: an appended row gets a position, its digest and its place in the chain, and moves to `audit_events`.
//!
//! Logins and changes only append, so none waits for another. Only committed rows get a position, so a reader that has
//! seen a position never finds a smaller one later. A sealer locks the head of the chain, so two sealers work one after
//! the other.
//!
//! Why sealing does not wait for the oldest running transaction: positions need no order but that of sealing, and a
//! writer that is frozen in the middle of its commit would hold back everybody's events. Its own events are sealed once
//! it ends.
//!
//! Why the deployment has one chain, and not one for each tenant, for rows without a tenant, or for logins: a chain is
//! as good as the copies of its heads that are kept elsewhere. With one chain, each head vouches for everything before
//! it. With thousands, a quiet tenant's newest rows could be cut off, and no younger head would show it. The price is
//! that nobody can verify one tenant's rows alone. SQLite keeps both kinds of records in one file, so they are one
//! chain there too.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use rollcall_core::mac::MacKey;
use sea_orm::{ConnectionTrait, Value};

use crate::audit::chain::{self, AuditRow, End, digest};
use crate::audit::unsealed::{self, REACH, UnsealedRow};
use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{column, execute, row, rows};
use crate::error::{Result, StoreError};
use crate::purpose::Purpose;
use crate::store::Store;
use crate::tables::json::audit::AuditPayload;

const SALT_LEN: usize = 32;

/// How far back to look for what is not sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealReach {
    /// No further back than a transaction of usual length needs.
    Newest,
    /// As far back as there are rows.
    All,
}

/// The newest sealed event. A copy kept elsewhere can show later that nothing before it was changed or removed.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// Its position.
    pub position: i64,
    /// Its hash.
    pub hash: Vec<u8>,
}

/// What was sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// How many events.
    pub count: u64,
    /// The newest of them.
    pub head: AuditHead,
}

impl Store {
    /// Whether anything waits to be sealed. Global by nature.
    pub async fn audit_waits(&self, reach: SealReach) -> Result<bool> {
        let sql = format!("SELECT id FROM audit_unsealed WHERE id > {} LIMIT 1", from(reach));
        let waiting: Vec<i64> = column(&self.inner.database.reader, &sql, vec![]).await?;
        Ok(!waiting.is_empty())
    }

    /// Seals events that were appended, at most `limit`, the oldest first. `None` if there are none. Global by nature: all
    /// tenants' events, and those of none, are one chain.
    ///
    /// # Errors
    /// `Contended` and `Unavailable`: nothing was sealed.
    pub async fn seal_audit(&self, reach: SealReach, limit: u32) -> Result<Option<Sealed>> {
        let database = &self.inner.database;
        let key = self.keys()?.of(Purpose::AuditRecord);
        let tx = database.begin().await?;
        let lock = database.engine.for_update();
        let sql =
            format!("SELECT position, hash, last_id, signature FROM audit_ends WHERE name = 'head'{lock}");
        let head: End = row(&tx, &sql, vec![]).await?.ok_or(NO_END)?;
        let lock = database.engine.skip_locked();
        let sql = format!(
            "SELECT {} FROM audit_unsealed WHERE id > {} ORDER BY id LIMIT {limit}{lock}",
            unsealed::COLUMNS,
            from(reach)
        );
        let found: Vec<UnsealedRow> = rows(&tx, &sql, vec![]).await?;
        let Some(batch) = Batch::seal(key, &head, found)? else {
            return Ok(None);
        };
        let sealed = batch.sealed();
        batch.write(&tx).await?;
        tx.commit().await?;
        if sealed.count == u64::from(limit) {
            // More rows wait, and logins may wait to write.
            database.let_others_write().await;
        }
        Ok(Some(sealed))
    }
}

/// The number behind which the rows to seal are looked for.
fn from(reach: SealReach) -> String {
    match reach {
        SealReach::Newest => format!("(SELECT last_id - {REACH} FROM audit_ends WHERE name = 'head')"),
        SealReach::All => "0".to_owned(),
    }
}

pub(crate) const NO_END: StoreError = StoreError::Corrupt {
    what: "an end of the audit record's chain is missing",
    source: None,
};

/// Rows that were sealed and not yet written.
struct Batch {
    rows: Vec<AuditRow>,
    payloads: Vec<NewPayload>,
    last_id: i64,
}

struct NewPayload {
    /// Empty if personal data was erased before.
    salt: Vec<u8>,
    erasure: Option<Vec<u8>>,
    payload: AuditPayload,
    text: String,
}

impl Batch {
    fn seal(key: &MacKey, head: &End, found: Vec<UnsealedRow>) -> Result<Option<Self>> {
        if found.is_empty() {
            return Ok(None);
        }
        let mut batch = Self {
            rows: Vec::with_capacity(found.len()),
            payloads: Vec::with_capacity(found.len()),
            last_id: head.last_id,
        };
        let (mut position, mut hash) = (head.position, head.hash.clone());
        for row in found {
            let event = row.into_domain()?;
            position += 1;
            let mut row = AuditRow::of(&event, position);
            let mut salt = vec![0; SALT_LEN];
            SystemRandom::new()
                .fill(&mut salt)
                .map_err(|_| StoreError::corrupt("the system gives no random numbers"))?;
            let payload = AuditPayload::of(&event);
            let text = payload.to_json()?;
            row.digest = digest(&salt, &text).to_vec();
            row.hash = row.chained(key, &hash).to_vec();
            hash.clone_from(&row.hash);
            batch.last_id = batch.last_id.max(row.id);
            let numbers = [row.position, row.id, row.time];
            let erasure = event
                .erased
                .then(|| chain::erasure_mark(key, numbers, &text).to_vec());
            if event.erased {
                salt.clear();
            }
            batch.rows.push(row);
            batch.payloads.push(NewPayload {
                salt,
                erasure,
                payload,
                text,
            });
        }
        Ok(Some(batch))
    }

    fn sealed(&self) -> Sealed {
        let newest = self.rows.last();
        Sealed {
            count: self.rows.len() as u64,
            head: AuditHead {
                position: newest.map_or(0, |row| row.position),
                hash: newest.map(|row| row.hash.clone()).unwrap_or_default(),
            },
        }
    }

    async fn write(self, tx: &impl ConnectionTrait) -> Result<()> {
        let engine = Engine::of(tx);
        let Sealed { head, .. } = self.sealed();
        let ids: Vec<i64> = self.rows.iter().map(|row| row.id).collect();
        let mut payloads = Bulk::new([
            Column::new("position", Type::BigInt),
            Column::new("id", Type::BigInt),
            Column::new("time", Type::BigInt),
            Column::nullable("tenant", Type::Text),
            Column::nullable("actor", Type::Text),
            Column::nullable("client_address", Type::Text),
            Column::new("salt", Type::Bytes),
            Column::nullable("erasure", Type::Bytes),
            Column::new("payload", Type::Text),
        ]);
        for (row, new) in self.rows.iter().zip(self.payloads) {
            payloads.push([
                row.position.into(),
                row.id.into(),
                row.time.into(),
                row.tenant.clone().into(),
                new.payload.actor_name().into(),
                new.payload.address().into(),
                new.salt.into(),
                new.erasure.into(),
                new.text.into(),
            ]);
        }
        insert(tx, "audit_events", events(self.rows)).await?;
        insert(tx, "audit_payloads", payloads).await?;
        let sql = "UPDATE audit_ends SET position = $1, hash = $2, last_id = $3 WHERE name = 'head'";
        let end = vec![head.position.into(), head.hash.into(), self.last_id.into()];
        execute(tx, sql, end).await?;
        let (first, last) = (ids.iter().min().copied(), ids.iter().max().copied());
        let mut moved = Bulk::new([Column::new("id", Type::BigInt)]);
        for id in ids {
            moved.push([id.into()]);
        }
        // The range keeps PostgreSQL from reading the whole table for the list.
        let (source, cells) = moved.source(engine, 3);
        let sql = format!(
            "DELETE FROM audit_unsealed WHERE id BETWEEN $1 AND $2 AND id IN (SELECT id FROM {source})"
        );
        let mut values: Vec<Value> = vec![first.into(), last.into()];
        values.extend(cells);
        execute(tx, &sql, values).await?;
        Ok(())
    }
}

fn events(sealed: Vec<AuditRow>) -> Bulk<{ chain::COLUMNS.len() }> {
    let mut bulk = Bulk::new(chain::COLUMNS.map(|name| match name {
        "position" | "id" | "time" => Column::new(name, Type::BigInt),
        "caller" | "credential" => Column::new(name, Type::Text),
        "user_id" => Column::nullable(name, Type::Uuid),
        "digest" | "hash" => Column::new(name, Type::Bytes),
        _ => Column::nullable(name, Type::Text),
    }));
    for row in sealed {
        bulk.push([
            row.position.into(),
            row.id.into(),
            row.time.into(),
            row.tenant.into(),
            row.caller.into(),
            row.credential.into(),
            row.method.into(),
            row.resource.into(),
            row.outcome.into(),
            row.reason.into(),
            row.user_id.into(),
            row.user_sync.into(),
            row.directory.into(),
            row.digest.into(),
            row.hash.into(),
        ]);
    }
    bulk
}

async fn insert<const N: usize>(tx: &impl ConnectionTrait, table: &str, bulk: Bulk<N>) -> Result<()> {
    if bulk.is_empty() {
        return Ok(());
    }
    let names = bulk.names();
    let (source, cells) = bulk.source(Engine::of(tx), 1);
    let sql = format!("INSERT INTO {table} ({names}) SELECT {names} FROM {source}");
    execute(tx, &sql, cells).await?;
    Ok(())
}

impl fmt::Debug for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.position, self.hex())
    }
}

impl AuditHead {
    /// A head from a position and the hash in hexadecimal; `None` if the text is no hash.
    pub fn parse(position: i64, hex: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = hex
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.filter(|digits| digits.len() == 64)?;
        let hash = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        Some(Self { position, hash })
    }

    /// The hash in hexadecimal.
    pub fn hex(&self) -> String {
        use std::fmt::Write;
        self.hash.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}
