//! Batches the jobs of many callers.
//!
//! A task takes all jobs that wait as one batch. While the database works on a batch, arriving jobs form the next one.
//! So a single caller never waits for others, and many callers share the cost.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

use crate::error::{Result, StoreError};

/// Most jobs of a batch, which keeps transactions short.
pub(crate) const MAX_BATCH: usize = 256;

/// Sends the answer to a job's caller.
pub(crate) type Answer<T> = oneshot::Sender<Result<T>>;

/// Accepts jobs and gives them to a task that does them in batches.
pub(crate) struct Batcher<J> {
    items: mpsc::Sender<Item<J>>,
}

enum Item<J> {
    Job(J),
    /// No job after this is done.
    End(oneshot::Sender<()>),
}

#[derive(Debug, thiserror::Error)]
#[error("a batch of jobs failed")]
struct SharedFailure(#[source] Arc<StoreError>);

#[derive(Debug, thiserror::Error)]
#[error("the task that does batches of jobs has ended")]
struct Ended;

/// Does the batches of one kind of job.
pub(crate) trait BatchHandler: Send + 'static {
    type Job: Send + Sync + 'static;
    type Outcome: Send;

    /// Does all jobs or none. Returns an outcome for each job, in their order.
    fn carry_out(&mut self, jobs: &[Self::Job]) -> impl Future<Output = Result<Vec<Self::Outcome>>> + Send;

    /// Answers the caller of a job. A caller that went away gets no answer.
    fn answer(job: Self::Job, outcome: Result<Self::Outcome>);

    /// Does the jobs and answers their callers.
    fn work(&mut self, jobs: Vec<Self::Job>) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        async {
            let result = self.carry_out(&jobs).await;
            conclude(self, jobs, result).await;
        }
    }
}

impl<J: Send + Sync + 'static> Batcher<J> {
    pub(crate) fn start(handler: impl BatchHandler<Job = J>) -> Self {
        let (items, queue) = mpsc::channel(MAX_BATCH * 4);
        tokio::spawn(work(handler, queue));
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
        // If the task has ended already, there is nothing to wait for.
        if self.items.send(Item::End(ended)).await.is_ok() {
            let _ = waiting.await;
        }
    }
}

async fn work<B: BatchHandler>(mut handler: B, mut queue: mpsc::Receiver<Item<B::Job>>) {
    let mut items = Vec::with_capacity(MAX_BATCH);
    let shares_thread = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
    while queue.recv_many(&mut items, MAX_BATCH).await > 0 {
        // Callers on the same thread that are about to submit a job may do so first: otherwise each job would be a
        // batch of its own. With several threads there is no need to wait for them, and going on would wake another
        // thread.
        if shares_thread {
            yield_now().await;
            while items.len() < MAX_BATCH
                && let Ok(item) = queue.try_recv()
            {
                items.push(item);
            }
        }
        let (mut jobs, mut end) = (Vec::with_capacity(items.len()), None);
        for item in items.drain(..) {
            match item {
                Item::Job(job) => jobs.push(job),
                Item::End(ended) => end = Some(ended),
            }
        }
        if !jobs.is_empty() {
            handler.work(jobs).await;
        }
        if let Some(ended) = end {
            drop((handler, queue));
            let _ = ended.send(());
            return;
        }
    }
}

/// Answers a batch. If it failed for a reason that may lie in one of its jobs, does each job by itself, so that no job
/// fails because of another.
pub(crate) async fn conclude<B: BatchHandler>(
    handler: &mut B,
    jobs: Vec<B::Job>,
    result: Result<Vec<B::Outcome>>,
) {
    match result {
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
        // Each job alone would wait as long.
        Err(StoreError::Locked) => {
            for job in jobs {
                B::answer(job, Err(StoreError::Locked));
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
                let alone = handler.carry_out(std::slice::from_ref(&job)).await;
                let outcome = alone.and_then(|outcomes| {
                    let only = outcomes.into_iter().next();
                    only.ok_or(StoreError::corrupt("a job has no outcome"))
                });
                B::answer(job, outcome);
            }
        }
    }
}
