//! Jobs of many callers, done together.
//!
//! A task takes all that waits as one batch: while the database is busy with one, those that arrive form the next
//! by themselves, so a single caller waits for nobody and many share the cost.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::error::{Result, StoreError};

/// Most jobs that are done together, which keeps transactions short.
const MAX_BATCH: usize = 256;

/// Where the answer to a job goes.
pub(crate) type Answer<T> = oneshot::Sender<Result<T>>;

/// The way in for jobs.
pub(crate) struct Batches<J> {
    items: mpsc::Sender<Item<J>>,
}

enum Item<J> {
    Job(J),
    /// No job after this is done.
    End(oneshot::Sender<()>),
}

#[derive(Debug, thiserror::Error)]
#[error("what was done together with others failed")]
struct SharedFailure(#[source] Arc<StoreError>);

#[derive(Debug, thiserror::Error)]
#[error("the task that does what many ask for has ended")]
struct Ended;

/// How a batch is done.
pub(crate) trait Batch: Send + 'static {
    type Job: Send + Sync + 'static;
    type Outcome: Send;

    /// Does all of it or nothing; an outcome for each job, in their order.
    fn carry_out(&mut self, jobs: &[Self::Job]) -> impl Future<Output = Result<Vec<Self::Outcome>>> + Send;

    /// Tells whoever asked. A caller that went away is no longer interested.
    fn answer(job: Self::Job, outcome: Result<Self::Outcome>);
}

impl<J: Send + Sync + 'static> Batches<J> {
    pub(crate) fn start(batch: impl Batch<Job = J>) -> Self {
        let (items, queue) = mpsc::channel(MAX_BATCH * 4);
        tokio::spawn(work(batch, queue));
        Self { items }
    }

    pub(crate) async fn submit<T>(&self, job: impl FnOnce(Answer<T>) -> J) -> Result<T> {
        let gone = || StoreError::Unavailable(Ended.into());
        let (answer, answered) = oneshot::channel();
        let item = Item::Job(job(answer));
        self.items.send(item).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Waits for the jobs that were submitted; later ones fail as unavailable.
    pub(crate) async fn end(&self) {
        let (ended, waiting) = oneshot::channel();
        // Where the task is gone already, there is nothing to wait for.
        if self.items.send(Item::End(ended)).await.is_ok() {
            let _ = waiting.await;
        }
    }
}

async fn work<B: Batch>(mut batch: B, mut queue: mpsc::Receiver<Item<B::Job>>) {
    let mut items = Vec::with_capacity(MAX_BATCH);
    while queue.recv_many(&mut items, MAX_BATCH).await > 0 {
        let (mut jobs, mut end) = (Vec::with_capacity(items.len()), None);
        for item in items.drain(..) {
            match item {
                Item::Job(job) => jobs.push(job),
                Item::End(ended) => end = Some(ended),
            }
        }
        if !jobs.is_empty() {
            carry_out(&mut batch, jobs).await;
        }
        if let Some(ended) = end {
            drop((batch, queue));
            let _ = ended.send(());
            return;
        }
    }
}

/// Does jobs together. If that fails for a reason that may lie in one of them, each is tried by itself, so that
/// nobody fails for another's sake.
async fn carry_out<B: Batch>(batch: &mut B, jobs: Vec<B::Job>) {
    match batch.carry_out(&jobs).await {
        Ok(outcomes) => {
            for (job, outcome) in jobs.into_iter().zip(outcomes) {
                B::answer(job, Ok(outcome));
            }
        }
        Err(error @ StoreError::Unavailable(_)) => {
            let shared = Arc::new(error);
            for job in jobs {
                B::answer(
                    job,
                    Err(StoreError::Unavailable(SharedFailure(shared.clone()).into())),
                );
            }
        }
        Err(error) if jobs.len() == 1 => {
            let mut error = Some(error);
            for job in jobs {
                if let Some(error) = error.take() {
                    B::answer(job, Err(error));
                }
            }
        }
        Err(_) => {
            for job in jobs {
                let alone = batch.carry_out(std::slice::from_ref(&job)).await;
                let outcome = alone.and_then(|outcomes| {
                    let only = outcomes.into_iter().next();
                    only.ok_or(StoreError::corrupt("a login has no outcome"))
                });
                B::answer(job, outcome);
            }
        }
    }
}
