//! SIGKILL at random moments, in every command that writes: 20 for each, or as many as `PELLUCID_FAULTS_KILLS` says.

use std::process::Stdio;
use std::time::Instant;

use super::run::{Moments, given, output};
use super::writers::{ALL, Files, Writer};

/// Kills the command, looks at what is left, and runs it again; every other time in a folder with results of another request.
fn killed(name: &'static str) {
    let writer = Writer::new(name);
    let mut moments = Moments::new(name);
    let (mut stopped, mut went_on) = (0, 0);
    let kills = given("PELLUCID_FAULTS_KILLS", 20);
    let mut took = writer.took;
    let mut i = 0;
    // How long a run takes depends on what else the machine does, so some kills come too late. Others are tried in their place.
    while i < kills || stopped <= kills / 3 {
        assert!(i < 10 * kills, "{name}: only {stopped} of {i} kills came in time");
        let (out, force) = (format!("out-{i}"), i % 2 == 1);
        let mut before = Files::new();
        if force {
            assert_eq!(output(&mut writer.command(true, &out, &[])).code, Some(0));
            before = writer.other.clone();
        }
        let strangers = writer.strangers(&out);
        let moment = moments.within(took);
        let what = format!("{name}, kill {i} after {moment:?}");
        let mut command = writer.command(false, &out, if force { &["--force"] } else { &[] });
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        stopped += u64::from(!child.wait().unwrap().success());
        writer.check_any_time(&out, &strangers, &before, &what);
        let resume = (i % 4 < 2 || name == "export") && writer.kept(&out);
        went_on += u64::from(resume);
        let begun = Instant::now();
        let done = output(&mut writer.next(&out, resume, force));
        assert_eq!(done.code, Some(0), "{what}: {}", done.stderr);
        if !resume {
            took = begun.elapsed();
        }
        writer.check_done(&out, &strangers, &what);
        fs_err::remove_dir_all(writer.place.path(&out)).unwrap();
        i += 1;
    }
    println!("{name}: {stopped} of {i} were killed before they were done, {went_on} resumed");
}

macro_rules! killed {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { killed(stringify!($name)); })*
    };
}

killed! { lens residual loss next generate embed attention cache tokens cost compare verify chart patch path ablate attribute export heads position neurons explain }

/// Invariant: Killed at any moment, every command that writes leaves whole files or none, leaves files of others alone, and the
/// next run gives the bytes of an undisturbed one and nothing else.
#[test]
fn every_command_that_writes_is_killed() {
    assert_eq!(TESTED, ALL);
    // Whoever adds a command with a folder for its results adds it there.
    let page = fs_err::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md")).unwrap();
    let commands = page.split("\n## ").skip(1).filter(|section| section.contains("--out <"));
    let mut writing: Vec<&str> = commands
        .map(|section| section.lines().next().unwrap().trim_matches('`').trim_start_matches("pellucid "))
        .collect();
    let mut all = ALL.to_vec();
    // It ends what several exports began, by the step with which an export ends.
    writing.retain(|name| *name != "merge");
    // Each of its pages is whole, and says the same whenever it is written.
    writing.retain(|name| *name != "man");
    writing.sort_unstable();
    all.sort_unstable();
    assert_eq!(writing, all);
}
