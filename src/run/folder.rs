//! Where results go: a folder of its own for each request, whole results only, and a manifest.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::owned::{MANIFEST, Manifest, is_ours, is_regular};
use super::stage::{Stage, take_away_abandoned};
use crate::error::{Error, Result};
use crate::whole::write_whole;

/// The folder of one request: `runs/<analysis>-<hash of the request>`, unless another was given.
///
/// The same request has the same folder and leaves the same bytes. Files are made in a folder of their own inside it, and take
/// their names when all of them are there: until then, and where a run fails, what was there before stays as it was.
///
/// A folder with the results of another request is refused. With `force` they are taken away once the new ones are complete:
/// files that the manifest lists, or that have the name of a new one, and whose content says that pellucid wrote them. A file
/// that anybody else wrote is never touched.
pub struct RunFolder {
    path: PathBuf,
    /// Hash of the request.
    request: String,
    force: bool,
    /// Folders that this run made, innermost first.
    made: Vec<PathBuf>,
    /// Results, in the order in which they are made.
    files: Vec<String>,
    /// Where they are until all are there.
    stage: Option<Stage>,
    finished: bool,
    started: Instant,
}

/// The hash of a request: everything that decides the results, such as model, prompts and options.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn request_hash(request: &Value) -> Result<String> {
    let text = serde_json::to_vec(request).map_err(|e| Error::compute(e.to_string()).fault())?;
    Ok(blake3::hash(&text).to_hex().to_string())
}

impl RunFolder {
    /// Makes the folder `out`, or takes the one that is there. `tables` are the results' names: of a table such as `patch` the run
    /// will write `patch.parquet` and figures such as `patch-z.svg`; any other file has its whole name.
    ///
    /// # Errors
    /// When it cannot be made or written to, or holds what is not this run's to replace.
    pub fn create(out: Option<&Path>, analysis: &str, tables: &[&str], request: &Value, force: bool) -> Result<Self> {
        let request = request_hash(request)?;
        let path = match out {
            Some(out) => out.to_owned(),
            None => Path::new("runs").join(format!("{analysis}-{}", &request[..12])),
        };
        if path.exists() && !path.is_dir() {
            return Err(Error::bad_input(format!("{} is a file, and results go to a folder", path.display()))
                .hint("give another name with --out"));
        }
        let missing = |p: &&Path| !p.as_os_str().is_empty() && !p.exists();
        let made = path.ancestors().take_while(missing).map(Path::to_owned).collect();
        // From here on, whatever fails, what was made is taken away again.
        let started = Instant::now();
        let mut folder = Self { path, request, force, made, files: vec![], stage: None, finished: false, started };
        // Before an hour of work rather than after it.
        folder.check_before(tables)?;
        fs_err::create_dir_all(&folder.path).map_err(|e| Error::cannot_write(&folder.path, e))?;
        folder.stage = Some(Stage::make(&folder.path).map_err(|e| Error::cannot_write(&folder.path, e))?);
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a result called `name` is to be written, which is listed in the manifest and gets its name in the folder when all
    /// results are there.
    pub fn file(&mut self, name: &str) -> PathBuf {
        if !self.files.iter().any(|known| known == name) {
            self.files.push(name.to_owned());
        }
        self.stage.as_ref().map_or(&*self.path, Stage::path).join(name)
    }

    /// Writes a whole file under a temporary name and renames it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        write_whole(&self.file(name), bytes)
    }

    /// Gives the results their names, takes away those that they replace, and writes `manifest.json`: what differs between two
    /// runs of one request (times, machine), and what was written.
    ///
    /// # Errors
    /// When a file cannot be written, or is not this run's to replace. Then no file has another content than before.
    pub fn finish(mut self, command: &[String]) -> Result<Finished> {
        let old = self.listed()?;
        // Another run may have been here meanwhile.
        for name in &self.files {
            self.check(name, &old)?;
        }
        let replaced: Vec<&String> = old.iter().filter(|name| !self.files.contains(name)).collect();
        // First, so that whatever happens while files get their names, all of them are listed, and the next run can replace them.
        let both: Vec<&String> = self.files.iter().chain(replaced.iter().copied()).collect();
        self.write_manifest(&both, command)?;
        for name in &replaced {
            let path = self.path.join(name);
            if is_ours(&path) {
                fs_err::remove_file(&path).map_err(|e| Error::cannot_write(&path, e))?;
            }
        }
        for name in &self.files {
            let (from, to) = (self.stage.as_ref().map_or(&*self.path, Stage::path).join(name), self.path.join(name));
            fs_err::rename(from, &to).map_err(|e| Error::cannot_write(&to, e))?;
        }
        if !replaced.is_empty() {
            self.write_manifest(&self.files, command)?;
        }
        take_away_abandoned(&self.path);
        self.finished = true;
        Ok(Finished { path: self.path.clone(), files: std::mem::take(&mut self.files) })
    }

    fn write_manifest(&self, files: &[impl AsRef<str>], command: &[String]) -> Result<()> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let manifest = json!({
            "pellucid_version": env!("CARGO_PKG_VERSION"),
            "request": self.request,
            "command": command,
            "files": files.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
            "finished_unix_s": since_1970.as_secs(),
            "elapsed_s": self.started.elapsed().as_secs_f64(),
            "machine": {
                "os": std::env::consts::OS,
                "arch": std::env::consts::ARCH,
                "threads": rayon::current_num_threads(),
            },
        });
        write_whole(&self.path.join(MANIFEST), format!("{manifest:#}\n").as_bytes())
    }

    /// The files that the manifest lists, of this request or, with `force`, of any.
    fn listed(&self) -> Result<Vec<String>> {
        let (shown, manifest) = (self.path.display(), self.path.join(MANIFEST));
        match Manifest::read(&manifest)? {
            None => Ok(vec![]),
            Some(old) if self.force || old.request.as_ref() == Some(&self.request) => Ok(old.files),
            Some(old) => {
                Err(Error::bad_input(format!("{shown} holds the results of another request, {}", old.command))
                    .hint("give another folder with --out, or replace them with --force"))
            }
        }
    }

    /// Refuses a folder in which this run would have to replace what is not its own.
    fn check_before(&self, tables: &[&str]) -> Result<()> {
        let old = self.listed()?;
        let no_manifest = !self.path.join(MANIFEST).exists();
        let mut entries: Vec<String> = (std::fs::read_dir(&self.path).into_iter().flatten().flatten())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        entries.sort_unstable();
        // Which figures there will be is not known yet: without a manifest every name that one could have counts.
        let may_be = |name: &str, table: &str| match name.strip_prefix(table) {
            Some("") => true,
            _ if table.contains('.') => false,
            Some(".parquet" | ".svg") => true,
            Some(rest) => no_manifest && rest.starts_with('-') && rest.ends_with(".svg"),
            None => false,
        };
        let mut ours = entries.iter().filter(|name| tables.iter().any(|table| may_be(name, table)));
        ours.try_for_each(|name| self.check(name, &old))
    }

    /// Refuses to replace a file that this run may not replace; `old` are those of the manifest.
    fn check(&self, name: &str, old: &[String]) -> Result<()> {
        let path = self.path.join(name);
        // Nothing is there, not even a link to nothing.
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        let shown = self.path.display();
        if !is_regular(&path) || !is_ours(&path) {
            return Err(Error::bad_input(format!(
                "{shown} holds {name}, which is damaged or no file of pellucid's, and the results would have that name"
            ))
            .hint("give another folder with --out, or move that file away"));
        }
        match self.force || old.iter().any(|listed| listed == name) {
            true => Ok(()),
            false => Err(Error::bad_input(format!(
                "{shown} holds {name}, and no manifest there says that this request wrote it"
            ))
            .hint("give another folder with --out, or replace it with --force")),
        }
    }
}

/// A folder that holds all results of its request.
pub struct Finished {
    /// The folder.
    pub path: PathBuf,
    /// The results in it, in the order in which they were made.
    pub files: Vec<String>,
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        self.stage.take();
        if !self.finished {
            // Only empty folders go: what others put there meanwhile stays.
            for folder in &self.made {
                let _ = std::fs::remove_dir(folder);
            }
        }
    }
}
