//! `--wait`: what to do where another run is at work in the folder.

use std::time::Duration;

use clap::Args;

use super::out::Out;
use super::signals;
use crate::error::Result;
use crate::session::{Claiming, Waiting};

/// What to do where another run is at work in the folder. No part of the request.
#[derive(Args, Debug)]
pub(super) struct WaitArgs {
    /// If another run is at work in that folder, wait so long for it to end; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

impl WaitArgs {
    /// How long.
    pub fn seconds(&self) -> u64 {
        self.wait
    }

    /// Claims a folder by `claim`, which is told how. Says for whom it waits.
    pub fn claiming<T>(&self, out: &Out, command: &[String], claim: impl FnOnce(&Claiming) -> Result<T>) -> Result<T> {
        signals::listen();
        let waiting = |who: &Waiting| {
            if who.news {
                let (folder, wait) = (who.folder.display(), self.wait);
                out.say(format_args!("waiting up to {wait} s for another run in {folder}: {}", who.holder));
            }
            signals::check()
        };
        claim(&Claiming { command, wait: Duration::from_secs(self.wait), waiting: &waiting })
    }
}
