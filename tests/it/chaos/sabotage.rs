//! Whoever disturbs the lanes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use system_tests::Service;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::lane::Lane;
use super::{Dice, World};

/// Longest time between two disturbances, and longest outage, in milliseconds.
const LONGEST: usize = 250;

pub(super) struct Saboteur {
    world: Arc<World>,
    lanes: Vec<Arc<Lane>>,
    dice: Dice,
}

impl Saboteur {
    pub(super) fn new(world: Arc<World>, lanes: Vec<Arc<Lane>>, dice: Dice) -> Self {
        Self { world, lanes, dice }
    }

    /// Does harm until the lanes have had enough runs.
    pub(super) async fn work(mut self) -> Result<()> {
        while self.world.goes_on() {
            self.a_while().await;
            self.strike().await?;
        }
        Ok(())
    }

    /// Waits for other processes in places of their own, since the lines are this runtime's tasks.
    async fn strike(&mut self) -> Result<()> {
        let lane = self.lanes[self.dice.below(self.lanes.len())].clone();
        match self.dice.below(100) {
            0..45 => lane.line.cut(),
            45..65 => {
                let mut slapd = lane.slapd.write().await;
                slapd.stop();
                self.a_while().await;
                block_in_place(|| slapd.start())?;
            }
            65..85 => {
                let slapd = lane.slapd.write().await;
                block_in_place(|| slapd.pause())?;
                self.a_while().await;
                block_in_place(|| slapd.resume())?;
            }
            85..90 => self.world.database.cut(),
            90..94 => {
                let cluster = self.world.cluster.lock().await;
                let end_all = "select pg_terminate_backend(pid) from pg_stat_activity
                     where datname = current_database() and pid <> pg_backend_pid()";
                block_in_place(|| cluster.sql("postgres", end_all))?;
            }
            94..97 => {
                let world = self.world.clone();
                let mut cluster = world.cluster.lock().await;
                block_in_place(|| cluster.stop())?;
                self.a_while().await;
                block_in_place(|| cluster.restart())?;
            }
            _ => {
                let mut system = self.world.system.write().await;
                block_in_place(|| {
                    system.worker.kill()?;
                    system.worker = Service::start("sync-worker", &system.config("worker"))?;
                    anyhow::Ok(())
                })?;
            }
        }
        Ok(())
    }

    async fn a_while(&mut self) {
        sleep(Duration::from_millis(self.dice.below(LONGEST) as u64)).await;
    }
}
