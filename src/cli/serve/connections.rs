//! Who is connected. Each client has a thread that reads, waits and writes, all within a time; where too many are connected, the one that
//! has taken longest is shut out, so that clients that are slow or silent never keep others waiting.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::request::{self, Refusal, Wanted};
use super::{QUEUE, Typed};
use crate::error::Result;
use crate::limits::threads;

/// Clients at one time: those whose pages are made or wait, and others who come and go.
const MOST: usize = QUEUE + 56;
/// In what time a request must have come, and an answer be taken.
const TO_READ: Duration = Duration::from_secs(10);
const TO_WRITE: Duration = Duration::from_secs(30);
/// How long a client that was refused may still send before it is cut off, so that it sees why.
const TO_LINGER: Duration = Duration::from_secs(2);
/// How often somebody who waits is looked after.
const GLANCE: Duration = Duration::from_millis(100);

/// A page that somebody waits for.
pub struct Job {
    pub typed: Typed,
    gone: Arc<AtomicBool>,
    reply: SyncSender<Answer>,
}

impl Job {
    /// Whether nobody waits for it any more.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Gives it to whoever waits.
    pub fn answer(self, answer: Answer) {
        // Whoever went away does not need it.
        let _ = self.reply.send(answer);
    }
}

/// All clients.
pub struct Connections {
    port: u16,
    form: String,
    queue: SyncSender<Job>,
    open: Mutex<Vec<Client>>,
    left: Condvar,
}

/// One of them.
struct Client {
    stream: Arc<TcpStream>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    /// For its page, which is made or will be.
    Waiting,
    Writing,
    /// It was shut out, and its thread ends.
    ShutOut,
}

impl Connections {
    pub fn new(port: u16, form: String, queue: SyncSender<Job>) -> Self {
        Self { port, form, queue, open: Mutex::default(), left: Condvar::new() }
    }

    /// Lets clients in from here on.
    ///
    /// # Errors
    /// When the system allows no thread.
    pub fn accept(self: Arc<Self>, listener: TcpListener) -> Result<()> {
        threads::spawn(move || {
            for stream in listener.incoming() {
                // Too many files are open, or the client went away.
                let Ok(stream) = stream else {
                    std::thread::sleep(GLANCE);
                    continue;
                };
                let stream = Arc::new(stream);
                self.enter(stream.clone());
                let (all, of_thread) = (self.clone(), stream.clone());
                let served = threads::spawn(move || {
                    let _left = Leaves { all: &all, stream: &of_thread };
                    all.serve(&of_thread);
                });
                if served.is_err() {
                    drop(Leaves { all: &self, stream: &stream });
                }
            }
        })
    }

    /// Lets everybody go, after what is on its way to them.
    pub fn end(&self) {
        let until = Instant::now() + Duration::from_secs(1);
        let mut open = self.open();
        while open.iter().any(|client| matches!(client.stage, Stage::Waiting | Stage::Writing))
            && Instant::now() < until
        {
            open = self.wait(open);
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Client>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits a moment for somebody to leave.
    fn wait<'a>(&self, open: MutexGuard<'a, Vec<Client>>) -> MutexGuard<'a, Vec<Client>> {
        self.left.wait_timeout(open, GLANCE).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Lets a client in, for whom another may have to go. They stand in the order in which they came.
    fn enter(&self, stream: Arc<TcpStream>) {
        let mut open = self.open();
        while open.len() >= MOST {
            let idle = |client: &&mut Client| matches!(client.stage, Stage::Reading | Stage::Writing);
            let leaving = open.iter().any(|client| client.stage == Stage::ShutOut);
            if let Some(slowest) = open.iter_mut().find(idle).filter(|_| !leaving) {
                slowest.stage = Stage::ShutOut;
                let _ = slowest.stream.shutdown(Shutdown::Both);
            }
            open = self.wait(open);
        }
        open.push(Client { stream, stage: Stage::Reading });
    }

    fn is_at(&self, stream: &Arc<TcpStream>, stage: Stage) {
        let mut open = self.open();
        let own = open.iter_mut().find(|client| Arc::ptr_eq(&client.stream, stream));
        if let Some(client) = own.filter(|client| client.stage != Stage::ShutOut) {
            client.stage = stage;
        }
    }

    fn serve(&self, stream: &Arc<TcpStream>) {
        let mut incoming = Within { stream, until: Instant::now() + TO_READ };
        let (without_bytes, answer, whole) = match request::read(&mut incoming, self.port) {
            Ok(None) => return,
            Ok(Some((without_bytes, wanted))) => {
                let answer = match wanted {
                    Wanted::Form => Answer::form(&self.form),
                    Wanted::Style => Answer::style(),
                    Wanted::Page(typed) => match self.page(typed, stream) {
                        Some(answer) => answer,
                        None => return,
                    },
                };
                (without_bytes, answer, true)
            }
            Err(refusal) => (false, refusal.into(), false),
        };
        self.is_at(stream, Stage::Writing);
        let mut outgoing = Within { stream, until: Instant::now() + TO_WRITE };
        if answer.write(without_bytes, &mut outgoing).is_err() || stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        // A connection that is closed before all was read that came is reset, and the answer may be lost with it.
        self.is_at(stream, Stage::Reading);
        let mut rest = Within { stream, until: Instant::now() + TO_LINGER };
        let mut chunk = [0; 16 << 10];
        while !whole && rest.read(&mut chunk).is_ok_and(|n| n > 0) {}
    }

    /// The page for what was typed, when it is made; none where nobody waits for it any more.
    fn page(&self, typed: Typed, stream: &Arc<TcpStream>) -> Option<Answer> {
        let (reply, made) = mpsc::sync_channel(1);
        let gone = Arc::new(AtomicBool::new(false));
        // Before it can be made, so that nobody who has a page coming is shut out.
        self.is_at(stream, Stage::Waiting);
        match self.queue.try_send(Job { typed, gone: gone.clone(), reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Some(Refusal::full().into()),
            Err(TrySendError::Disconnected(_)) => return Some(Refusal::ending().into()),
        }
        awaited(&made, stream, &gone)
    }
}

/// An answer, while the client waits for it.
fn awaited(made: &Receiver<Answer>, stream: &TcpStream, gone: &AtomicBool) -> Option<Answer> {
    loop {
        match made.recv_timeout(GLANCE) {
            Ok(answer) => return Some(answer),
            Err(RecvTimeoutError::Disconnected) => return Some(Refusal::ending().into()),
            Err(RecvTimeoutError::Timeout) if is_closed(stream) => {
                gone.store(true, Ordering::SeqCst);
                return None;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Whether the client closed the connection.
fn is_closed(stream: &TcpStream) -> bool {
    if stream.set_read_timeout(Some(Duration::from_millis(1))).is_err() {
        return true;
    }
    match stream.peek(&mut [0]) {
        Ok(n) => n == 0,
        Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
    }
}

/// Takes a client from the list, however its thread ends.
struct Leaves<'a> {
    all: &'a Connections,
    stream: &'a Arc<TcpStream>,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let mut open = self.all.open();
        open.retain(|client| !Arc::ptr_eq(&client.stream, self.stream));
        self.all.left.notify_all();
    }
}

/// A connection up to a moment: a client cannot gain time by sending or taking a byte now and then.
struct Within<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl Within<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Within<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        (&mut &*self.stream).read(bytes)
    }
}

impl Write for Within<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        (&mut &*self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
