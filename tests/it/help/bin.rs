//! Running the program in a folder of its own, and what every refusal has in common.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The committed model called `name`. It has no tokenizer.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// `fixture` as an argument.
pub fn model(name: &str) -> String {
    fixture(name).display().to_string()
}

/// The README's pair of prompts, its answer and its foil.
pub const GIVERS: [&str; 8] = [
    "--clean",
    "When Mary and John went to the store, John gave a drink to",
    "--corrupt",
    "When Mary and John went to the store, Mary gave a drink to",
    "--answer",
    " Mary",
    "--foil",
    " John",
];

/// A folder of its own to run the program in.
pub struct Place(TempDir);

/// What the program said and how it ended.
pub struct Done {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
        name.to_owned()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs_err::read(self.path(name)).unwrap()
    }

    /// A command that runs here, and knows nothing of whoever runs the tests.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).env("HF_HUB_CACHE", self.path("no-cache")).env_remove("PELLUCID_MODEL");
        // No test but those of the Hub has one to ask, and none has a user's secrets.
        command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", self.path("no-home"));
        for name in
            ["HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_DISABLE_IMPLICIT_TOKEN"]
        {
            command.env_remove(name);
        }
        heeding_signals(&mut command);
        command
    }

    /// A copy of the program at `name`, for users who may not look where the tests were built. Another process writes it: a file that
    /// this one had open for writing would be passed on to whatever another test starts meanwhile, and cannot be run until that ends.
    #[cfg(unix)]
    pub fn program(&self, name: &str) -> PathBuf {
        let copy = self.path(name);
        let done = Command::new("cp").arg(env!("CARGO_BIN_EXE_pellucid")).arg(&copy).status().unwrap();
        assert!(done.success());
        copy
    }

    pub fn pellucid<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Done {
        done(self.command(env!("CARGO_BIN_EXE_pellucid")).args(args).output().unwrap())
    }

    /// As `pellucid`, for what must work.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Done {
        let done = self.pellucid(args);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        done
    }

    /// The folder that the only run here left.
    #[track_caller]
    pub fn only_run(&self) -> PathBuf {
        let runs: Vec<_> = fs_err::read_dir(self.path("runs")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs[0].clone()
    }

    /// Every file and folder here, and what is in it.
    pub fn contents(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
            for entry in fs_err::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    found.insert(path.clone(), None);
                    walk(&path, found);
                } else {
                    found.insert(path.clone(), fs_err::read(&path).ok());
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.0.path(), &mut found);
        found
    }

    /// Runs what must be refused: exit code `code`, one `error:` and one `hint:`, `says` in them, nothing on
    /// stdout, and nothing written or changed.
    #[track_caller]
    pub fn refused<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, code: i32, says: &str) -> Done {
        let args: Vec<S> = args.into_iter().collect();
        let shown: Vec<_> = args.iter().map(|a| a.as_ref().to_string_lossy()).collect();
        let before = self.contents();
        let done = self.pellucid(&args);
        done.is_refusal(&shown.join(" "), code, says);
        let after = self.contents();
        assert!(before == after, "{shown:?} left {:?} of {:?}", after.keys(), before.keys());
        done
    }
}

/// Signals end what `command` runs, also where whoever runs the tests ignores them, as a script's jobs in the background do.
fn heeding_signals(command: &mut Command) {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        // SAFETY: `signal` may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            });
        }
    }
}

impl Done {
    #[track_caller]
    pub fn is_refusal(&self, what: &str, code: i32, says: &str) {
        let Done { stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "{what}\n{stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        // What a reader should know may have been said before.
        let told = lines.iter().take_while(|line| line.starts_with("note: ")).count();
        let form = matches!(lines[told..], [e, h] if e.starts_with("error: ") && h.len() > "hint: ".len() && h.starts_with("hint: "));
        assert!(form, "{what}\n{stderr}");
        assert!(stderr.contains(says), "{what}\n{stderr}instead of {says}");
        assert!(!stderr.contains("panicked"), "{what}\n{stderr}");
        // A sentence, not a dump of somebody's file.
        assert!(lines.iter().all(|l| l.chars().count() < 700), "{what}\n{stderr}");
        assert!(!stderr.trim_end_matches('\n').replace('\n', "").chars().any(is_unprintable), "{what}\n{stderr:?}");
        assert!(stdout.is_empty(), "{what}\n{stdout}");
    }
}

/// Whether a terminal would obey `c` rather than show it.
pub fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn done(output: Output) -> Done {
    Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        done(output)
    }
}
