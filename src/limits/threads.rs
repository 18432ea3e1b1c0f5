//! The threads that compute: as many as the processors can use, and as the system allows.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rayon::{ThreadBuilder, ThreadPoolBuilder};

use super::room::room;
use crate::error::{Error, Result};

/// Threads for each processor beyond which more only take memory and time.
const MOST_PER_PROCESSOR: usize = 8;

/// Bytes of stack of each, whatever the environment says of stacks.
const STACK: usize = 2 << 20;

/// Threads that read tables: decoding is not what takes long.
const FOR_TABLES: usize = 4;

/// Threads that are left to others beside those that read tables: one that reads a pipe or a download, one that looks up a name, and one
/// that unmaps what was read.
const SPARE: usize = 3;

/// Starts the threads that everything is computed on, polars' number of them too, and gives a sentence where they are not as many as was
/// asked for. Where the system allows none, the calling thread computes. No number depends on how many there are.
///
/// For programs, once, before anything is computed.
///
/// # Errors
/// When threads were started before.
pub fn start() -> Result<Option<String>> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let asked = asked("RAYON_NUM_THREADS").unwrap_or(processors);
    let most = MOST_PER_PROCESSOR * processors;
    let wanted = asked.min(most);
    let for_tables = processors.min(FOR_TABLES).min(wanted);
    // candle's own, for large tensors, beside the thread that computes.
    let for_tensors = wanted;
    let all = wanted + for_tables + SPARE + for_tensors - 1;
    // Those that are too many end again. They are started so that it is known that they can be, when it is their turn.
    let mut seats: Vec<Seat> = std::iter::from_fn(seat).take(all.min(fitting())).collect();
    let short = seats.len() < all;
    let (for_tables, for_tensors) = if short { (1, 1) } else { (for_tables, for_tensors) };
    let seated = if short { seats.len().saturating_sub(for_tables + SPARE) } else { wanted };
    give_back(seats.split_off(seated.min(wanted)), short);
    // Where nobody could be seated, this thread works.
    let n = seats.len().max(1);
    let given = [
        // candle cuts its products for as many.
        ("RAYON_NUM_THREADS", n, n != asked),
        ("CANDLE_NUM_THREADS", for_tensors, short),
        ("POLARS_MAX_THREADS", for_tables, true),
        // Libraries that start a thread of their own give it a stack of this size.
        ("RUST_MIN_STACK", STACK, true),
    ];
    for (variable, number, _) in given.into_iter().filter(|(.., differs)| *differs) {
        // SAFETY: the threads that were started wait for their work and read no environment; nobody else has begun.
        unsafe { std::env::set_var(variable, number.to_string()) }
    }
    build(seats.into_iter().map(|seat| seat.work).collect())?;
    Ok(match n {
        _ if n < wanted => Some(format!(
            "{n} of {wanted} threads could be started (ulimit -u and -v, or a container's limits): slower, with the same numbers"
        )),
        _ if wanted < asked => Some(format!(
            "{asked} threads were asked for; {wanted} are started, {MOST_PER_PROCESSOR} for each processor"
        )),
        _ => None,
    })
}

/// A thread beside those that compute, for what waits.
///
/// # Errors
/// When the system allows none.
pub fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = thread::Builder::new().stack_size(STACK).spawn(work);
    started.map(drop).map_err(|e| Error::no_threads().because(e))
}

/// A number of threads that the environment asks for.
fn asked(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok().filter(|n| *n > 0)
}

/// How many stacks leave most of the address space to what is computed.
fn fitting() -> usize {
    room().map_or(usize::MAX, |room| usize::try_from(room.bytes / 8).unwrap_or(usize::MAX) / STACK)
}

/// A thread that waits for its work. Without any, it ends.
struct Seat {
    work: Sender<ThreadBuilder>,
    thread: JoinHandle<()>,
}

/// One more of them; none where the system allows no more. rayon is not asked for that: a pool of its own that fails to start can never be
/// started again.
fn seat() -> Option<Seat> {
    let (work, taken) = channel::<ThreadBuilder>();
    let sit = move || {
        if let Ok(worker) = taken.recv() {
            worker.run();
        }
    };
    thread::Builder::new().stack_size(STACK).spawn(sit).ok().map(|thread| Seat { work, thread })
}

/// Ends threads. Where the system allows few, they must be gone before others are started.
fn give_back(seats: Vec<Seat>, few: bool) {
    let (work, threads): (Vec<_>, Vec<_>) = seats.into_iter().map(|seat| (seat.work, seat.thread)).unzip();
    drop(work);
    if few {
        threads.into_iter().for_each(|thread| drop(thread.join()));
        // The system counts a thread for a moment longer than it runs.
        thread::sleep(Duration::from_millis(5));
    }
}

fn build(seats: Vec<Sender<ThreadBuilder>>) -> Result<()> {
    let pool = ThreadPoolBuilder::new().num_threads(seats.len().max(1));
    let seats = Mutex::new(seats);
    let built = match seats.lock().is_ok_and(|seats| seats.is_empty()) {
        true => pool.use_current_thread().build_global(),
        false => pool
            .spawn_handler(|worker| {
                let seat = seats.lock().ok().and_then(|mut seats| seats.pop());
                let sent = seat.is_some_and(|seat| seat.send(worker).is_ok());
                sent.then_some(()).ok_or_else(|| std::io::Error::other("a thread ended before it began"))
            })
            .build_global(),
    };
    built.map_err(|e| Error::compute(format!("the threads that compute cannot be started: {e}")).fault())
}
