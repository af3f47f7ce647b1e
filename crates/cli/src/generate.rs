//! `mobileight generate`: man pages, completions and the page of all commands, from the definition of the command line itself.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Command, Subcommand};
use clap_complete::Shell;

use crate::Outcome;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Man pages, one for each command, as files of a folder
    Man {
        /// The folder, made if it does not exist
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Completions for a shell, on stdout
    Completions {
        /// The shell that reads them
        shell: Shell,
    },
    /// The help of every command as one page of Markdown, on stdout
    Reference,
}

pub fn main(arguments: &Arguments, cli: Command, out: &mut impl Write) -> Result<Outcome> {
    match &arguments.what {
        What::Man { folder } => man(cli, folder)?,
        What::Completions { shell } => {
            // Its writer panics where a pipe is closed: that is for ours to meet.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut cli.clone(), cli.get_name(), &mut script);
            out.write_all(&script)?;
        }
        What::Reference => write!(out, "{}", reference(cli))?,
    }
    Ok(Outcome::Done)
}

fn man(cli: Command, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(cli, folder))
        .with_context(|| format!("cannot write man pages into {}", folder.display()))
}

/// The long help of the program and of each command, in the order of the program's own help.
fn reference(cli: Command) -> String {
    let mut cli = cli.disable_help_subcommand(true);
    cli.build();
    let mut page = String::from(
        "# Commands\n\nWhat `--help` says, written by `mobileight generate reference`.\n",
    );
    section(&mut cli, "mobileight", &mut page);
    page
}

fn section(command: &mut Command, name: &str, page: &mut String) {
    let help = command.render_long_help().to_string();
    // Help pads empty descriptions with blanks.
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    *page += &format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for inner in command.get_subcommands_mut() {
        let name = format!("{name} {}", inner.get_name());
        section(inner, &name, page);
    }
}
