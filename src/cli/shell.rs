//! `pellucid completions` and `pellucid man`: made from the same declaration as `--help`.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;

use super::out::Out;
use crate::error::Result;
use crate::whole::write_whole;

/// Completions for a shell, to stdout.
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub fn run(&self, command: &mut Command, out: &Out) -> Result<()> {
        let mut script = vec![];
        clap_complete::generate(self.shell, command, "pellucid", &mut script);
        out.data(|w| w.write_all(&script))
    }
}

/// The manual page in roff, to stdout: `pellucid man | man -l -`
#[derive(Args, Debug)]
pub(super) struct Man {
    /// The page of one command [default: the program's]
    command: Option<String>,
    /// Write the pages of the program and of all commands to this folder, where man finds those that they refer to
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    out: Option<PathBuf>,
}

impl Man {
    pub fn run(&self, program: &Command, out: &Out) -> Result<()> {
        if let Some(folder) = &self.out {
            return pages(program, folder, out);
        }
        let known = || program.get_subcommands().map(Command::get_name);
        let command = match &self.command {
            None => program.clone(),
            Some(name) => match program.get_subcommands().find(|c| c.get_name() == name) {
                Some(command) => of_subcommand(command),
                None => {
                    let error = crate::Error::no_such(format!("there is no command `{name}`"));
                    return Err(error.nearest_or(name, known(), "`pellucid --help` lists the commands"));
                }
            },
        };
        out.data(|w| w.write_all(&page(command)?))
    }
}

fn of_subcommand(command: &Command) -> Command {
    command.clone().display_name(format!("pellucid-{}", command.get_name()))
}

fn page(command: Command) -> std::io::Result<Vec<u8>> {
    let mut page = vec![];
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}

/// Writes all pages to a folder, and says their names.
fn pages(program: &Command, folder: &Path, out: &Out) -> Result<()> {
    fs_err::create_dir_all(folder)?;
    // The page of the program refers to that of `help`, too.
    let mut program = program.clone();
    program.build();
    let own = [("pellucid".to_owned(), program.clone())].into_iter();
    let all = own.chain(program.get_subcommands().map(|c| (format!("pellucid-{}", c.get_name()), of_subcommand(c))));
    for (name, command) in all {
        let path = folder.join(format!("{name}.1"));
        write_whole(&path, &page(command)?)?;
        out.data(|w| writeln!(w, "{}", path.display()))?;
    }
    Ok(())
}

/// Every command's `--help`, as one markdown page.
pub(super) fn reference(program: &mut Command) -> String {
    let mut page = String::from("# Commands\n\nGenerated from the program's own `--help`.\n");
    program.build();
    let width = 110;
    for command in program.get_subcommands().filter(|c| c.get_name() != "help") {
        let name = command.get_name().to_owned();
        let help = command.clone().term_width(width).render_long_help();
        page.push_str(&format!("\n## pellucid {name}\n\n```text\n{}\n```\n", trim_lines(&help.to_string())));
    }
    page
}

fn trim_lines(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
