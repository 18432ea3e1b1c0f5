//! A Hub of the tests' own on loopback, with a store of large files on another port as the real one has. It speaks HTTP over
//! plain sockets, remembers what it was asked, and fails when it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::bin::{Done, Place};

/// What is at the end of every address of the store, which is a secret as a token is.
pub const SIGNATURE: &str = "sIgNaTuRe";

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Whether the store was asked, and not the Hub.
    pub store: bool,
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
}

/// A model on the Hub.
#[derive(Clone, Default)]
pub struct Repo {
    /// Which commit branches and tags are.
    pub revisions: BTreeMap<String, String>,
    /// The files, the same at every commit.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether only those may read it who have been let in.
    pub gated: bool,
    /// What it is called now.
    pub moved_to: Option<String>,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection ends after this many bytes of the body.
    Drop(usize),
    /// Nothing comes after this many bytes of the body, for a while.
    Stall(usize),
    /// This answer instead.
    Status(u16),
    /// One byte of the body is another.
    Flip,
    /// The whole file comes, whatever was asked for.
    NoRange,
    /// The token is sent back in a message.
    Echo,
    /// A page for people, as from a network that wants a log-in.
    Portal,
    /// Nobody says how large it is.
    Unsized,
    /// Nobody says how large it is, and it has no end.
    Endless,
}

/// What the Hub has, and does.
#[derive(Default)]
pub struct World {
    pub repos: BTreeMap<String, Repo>,
    /// What goes wrong with a request whose path has this in it, and how often.
    pub faults: Vec<(String, Fault, usize)>,
    /// The tokens that are known, and whether they have been let into gated models.
    pub tokens: BTreeMap<String, bool>,
    asked: Vec<Asked>,
}

pub struct Server {
    pub endpoint: String,
    world: Arc<Mutex<World>>,
}

impl Server {
    pub fn new() -> Self {
        Self::on("127.0.0.1")
    }

    /// A Hub at this address of this machine.
    pub fn on(address: &str) -> Self {
        let world = Arc::<Mutex<World>>::default();
        let listen = || TcpListener::bind((address, 0)).unwrap();
        let (hub, store) = (listen(), listen());
        let address = |l: &TcpListener| format!("http://{}", l.local_addr().unwrap());
        let (endpoint, elsewhere) = (address(&hub), address(&store));
        for (listener, store) in [(hub, false), (store, true)] {
            let (world, elsewhere) = (world.clone(), elsewhere.clone());
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let (world, elsewhere) = (world.clone(), elsewhere.clone());
                    // A client that goes away is no failure.
                    thread::spawn(move || drop(serve(stream.unwrap(), &world, store, &elsewhere)));
                }
            });
        }
        Self { endpoint, world }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Puts a model there whose branch `main` is `commit`.
    pub fn put(&self, id: &str, commit: &str, files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) {
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
        let revisions = BTreeMap::from([("main".to_owned(), commit.to_owned())]);
        self.world().repos.insert(id.to_owned(), Repo { revisions, files, ..Repo::default() });
    }

    /// Lets the next `times` requests whose path has `part` in it go wrong.
    pub fn fault(&self, part: &str, fault: Fault, times: usize) {
        self.world().faults.push((part.to_owned(), fault, times));
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.world().asked)
    }

    /// The program in `place`, with this Hub and with the cache in the folder `hf`.
    pub fn command(&self, place: &Place, args: &[&str]) -> Command {
        let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
        command.env_remove("HF_HUB_CACHE").env_remove("HF_HUB_OFFLINE").env("HF_HOME", place.path("hf"));
        command.env("HF_ENDPOINT", &self.endpoint).args(args);
        command
    }

    pub fn run(&self, place: &Place, args: &[&str]) -> Done {
        self.command(place, args).output().unwrap().into()
    }

    #[track_caller]
    pub fn ok(&self, place: &Place, args: &[&str]) -> Done {
        let done = self.run(place, args);
        assert_eq!(done.code, Some(0), "{args:?}\n{}", done.stderr);
        done
    }
}

/// What git calls these bytes.
pub fn git_hash(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("blob {}\0", bytes.len()).as_bytes());
    context.update(bytes);
    hex(context)
}

pub fn sha256(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    hex(context)
}

fn hex(context: Context) -> String {
    context.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether the Hub keeps a file in its store, and not in git.
pub fn is_large(name: &str) -> bool {
    [".safetensors", ".bin", ".pth", ".gguf"].iter().any(|end| name.ends_with(end))
}

/// What a file is called in the cache.
pub fn etag(name: &str, bytes: &[u8]) -> String {
    if is_large(name) { sha256(bytes) } else { git_hash(bytes) }
}

/// The files of the folder `dir` under their names.
pub fn files(dir: &Path, names: &[&'static str]) -> Vec<(&'static str, Vec<u8>)> {
    names.iter().map(|name| (*name, fs_err::read(dir.join(name)).unwrap())).collect()
}

fn serve(stream: TcpStream, world: &Mutex<World>, store: bool, elsewhere: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    for line in lines {
        match line?.split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let header = |name: &str| headers.get(name).cloned();
    let asked = Asked { store, method, path, authorization: header("authorization"), range: header("range") };
    let (reply, fault) = {
        let mut world = world.lock().unwrap();
        world.asked.push(asked.clone());
        // A question for the head has no body to break.
        let breaks = |fault: &Fault| matches!(fault, Fault::Drop(_) | Fault::Stall(_) | Fault::Flip | Fault::NoRange);
        let hit = world.faults.iter_mut().find(|(part, fault, times)| {
            let redirect = !store && asked.path.contains("/resolve/") && !asked.path.starts_with("/cached/");
            let body = asked.method == "GET" && !redirect;
            *times > 0 && asked.path.contains(&**part) && (!breaks(fault) || body)
        });
        let fault = hit.map(|(_, fault, times)| {
            *times -= 1;
            fault.clone()
        });
        (answer(&world, &asked, elsewhere, fault.as_ref()), fault)
    };
    write(stream, &asked, reply, fault.as_ref())
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn new(status: u16, headers: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { status, headers: headers.into_iter().collect(), body: vec![] }
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        let said = [("X-Error-Code", code), ("X-Error-Message", message)];
        Self::new(status, said.map(|(name, value)| (name, value.to_owned())))
    }
}

fn answer(world: &World, asked: &Asked, elsewhere: &str, fault: Option<&Fault>) -> Reply {
    match fault {
        Some(Fault::Status(status)) => return Reply::new(*status, []),
        Some(Fault::Echo) => {
            let sent = asked.authorization.clone().unwrap_or_default();
            return Reply::error(403, "", &format!("what is {sent}?"));
        }
        Some(Fault::Portal) => return Reply { body: b"<html>Welcome to our hotel".to_vec(), ..Reply::new(200, []) },
        _ => {}
    }
    if asked.store {
        let name = asked.path.trim_start_matches('/').split('?').next().unwrap();
        let all = world.repos.values().flat_map(|repo| repo.files.values());
        return match all.into_iter().find(|bytes| sha256(bytes) == name) {
            Some(bytes) => Reply { body: bytes.clone(), ..Reply::new(200, [("ETag", "\"of-the-store\"".to_owned())]) },
            None => Reply::new(403, []),
        };
    }
    let token = asked.authorization.as_deref().map(|a| a.strip_prefix("Bearer ").unwrap_or_default());
    let known = token.map(|token| world.tokens.get(token));
    if known == Some(None) {
        return Reply::error(401, "", "Invalid credentials in Authorization header");
    }
    if let Some(rest) = asked.path.strip_prefix("/api/models/") {
        if let Some(repo) = rest.strip_suffix("/refs").and_then(|id| world.repos.get(id)) {
            let named = |(name, commit): (&String, &String)| serde_json::json!({ "name": name, "ref": format!("refs/heads/{name}"), "targetCommit": commit });
            let branches: Vec<_> = repo.revisions.iter().map(named).collect();
            let body = serde_json::json!({ "branches": branches, "converts": [], "tags": [] });
            return Reply { body: body.to_string().into_bytes(), ..Reply::new(200, []) };
        }
        let rest = rest.strip_suffix("/refs").unwrap_or(rest);
        let (id, revision) = rest.split_once("/revision/").unwrap_or((rest, "main"));
        return listing(world, id, &revision.replace("%2F", "/"), known.is_some());
    }
    // Small files are a redirect to another place on the Hub itself, as on the real one.
    let (path, cached) = match asked.path.strip_prefix("/cached/") {
        Some(rest) => (rest, true),
        None => (asked.path.trim_start_matches('/'), false),
    };
    let Some((id, rest)) = path.split_once("/resolve/") else { return Reply::new(404, []) };
    let (Some(repo), Some((commit, name))) = (world.repos.get(id), rest.split_once('/')) else {
        return Reply::error(404, "RepoNotFound", "Repository not found");
    };
    let may = known.flatten().copied().unwrap_or_default();
    if repo.gated && !may {
        return Reply::error(
            if known.is_some() { 403 } else { 401 },
            "GatedRepo",
            "Access to this model is restricted",
        );
    }
    let Some(bytes) = repo.files.get(name) else { return Reply::error(404, "EntryNotFound", "Entry not found") };
    let (etag, commit) = (etag(name, bytes), ("X-Repo-Commit", commit.to_owned()));
    if is_large(name) {
        let to = format!("{elsewhere}/{etag}?X-Signature={SIGNATURE}");
        let size = (!says_no_size(fault)).then(|| ("X-Linked-Size", bytes.len().to_string()));
        let linked = ("X-Linked-Etag", format!("\"{etag}\""));
        return Reply::new(
            302,
            [linked].into_iter().chain(size).chain([
                ("Location", to),
                ("ETag", "\"of-the-answer\"".to_owned()),
                commit,
            ]),
        );
    }
    if !cached {
        let own = ("ETag", "W/\"of-the-redirect\"".to_owned());
        return Reply::new(307, [("Location", format!("/cached/{path}")), own, commit]);
    }
    Reply { body: bytes.clone(), ..Reply::new(200, [("ETag", format!("W/\"{etag}\"")), commit]) }
}

fn says_no_size(fault: Option<&Fault>) -> bool {
    matches!(fault, Some(Fault::Unsized | Fault::Endless))
}

fn listing(world: &World, id: &str, revision: &str, known: bool) -> Reply {
    let Some(repo) = world.repos.get(id) else {
        // The real one does not tell strangers what there is.
        return match known {
            true => Reply::error(404, "RepoNotFound", "Repository not found"),
            false => Reply::error(401, "RepoNotFound", "Invalid username or password."),
        };
    };
    if let Some(name) = &repo.moved_to {
        return Reply::new(307, [("Location", format!("/api/models/{name}/revision/{revision}"))]);
    }
    let commit = repo.revisions.get(revision).or(repo.revisions.values().find(|commit| *commit == revision));
    let Some(commit) = commit else {
        return Reply::error(404, "RevisionNotFound", &format!("Invalid rev id: {revision}"));
    };
    let siblings: Vec<_> = repo.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
    let body = serde_json::json!({ "id": id, "sha": commit, "siblings": siblings });
    Reply { body: body.to_string().into_bytes(), ..Reply::new(200, []) }
}

fn write(mut stream: TcpStream, asked: &Asked, mut reply: Reply, fault: Option<&Fault>) -> std::io::Result<()> {
    if matches!(fault, Some(Fault::Flip)) && !reply.body.is_empty() {
        reply.body[0] ^= 1;
    }
    let from = asked.range.as_deref().and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    if let Some(from) = from.filter(|_| reply.status == 200 && !matches!(fault, Some(Fault::NoRange))) {
        let size = reply.body.len();
        if from >= size {
            reply = Reply::new(416, []);
        } else {
            reply.status = 206;
            reply.headers.push(("Content-Range", format!("bytes {from}-{}/{size}", size - 1)));
            reply.body.drain(..from);
        }
    }
    let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", reply.status);
    if !says_no_size(fault) {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if asked.method != "HEAD" {
        match fault {
            Some(Fault::Drop(n)) => stream.write_all(&reply.body[..(*n).min(reply.body.len())])?,
            Some(Fault::Stall(n)) => {
                stream.write_all(&reply.body[..*n])?;
                thread::sleep(Duration::from_secs(20));
            }
            // Until whoever asked has enough.
            Some(Fault::Endless) if reply.status == 200 => loop {
                stream.write_all(&[b' '; 1 << 16])?;
            },
            _ => stream.write_all(&reply.body)?,
        }
    }
    stream.flush()?;
    stream.shutdown(Shutdown::Write)
}
