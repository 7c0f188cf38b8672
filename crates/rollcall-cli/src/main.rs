//! rollcallctl, a person's and a CronJob's client.

fn main() {}
