//! `mobileight generate`: what it makes is whole, is about every command, and is what the documentation has.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Folder, fail, succeed};

/// The commands that `--help` lists.
fn commands() -> BTreeSet<String> {
    let help = succeed(&["--help"]);
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: BTreeSet<String> = listed
        .lines()
        .map(|line| line.split_whitespace().next().unwrap().to_string())
        .filter(|name| name != "help")
        .collect();
    assert!(names.len() >= 10, "{names:?}");
    names
}

#[test]
fn every_command_has_a_man_page() {
    let folder = Folder::new("man");
    let into = folder.path("share/man1");
    assert_eq!(succeed(&["generate", "man", &into]), "");
    let pages: BTreeSet<String> = fs::read_dir(&into)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in commands() {
        let page = format!("mobileight-{name}.1");
        assert!(pages.contains(&page), "{page} of {pages:?}");
    }
    assert!(pages.contains("mobileight.1") && pages.contains("mobileight-generate-man.1"));
    assert!(!pages.iter().any(|page| page.contains("-help")), "{pages:?}");
    let page = fs::read_to_string(Path::new(&into).join("mobileight-compare.1")).unwrap();
    assert!(page.contains(r"\-\-max\-drop") && page.contains(".SH NAME"), "{page}");

    let file = folder.file("taken", b"");
    fail(1, &["generate", "man", &file], &["man pages", "taken"]);
}

#[test]
fn completions_are_scripts_that_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = succeed(&["generate", "completions", shell]);
        for name in commands() {
            assert!(script.contains(&name), "{shell}: {name}");
        }
        assert!(script.contains("max-drop"), "{shell}");
    }
    fail(2, &["generate", "completions", "command.com"], &["bash", "zsh"]);
}

/// bash reads its script and completes with it.
#[test]
fn bash_completes() {
    let script = succeed(&["generate", "completions", "bash"]);
    let ask = "\nCOMP_WORDS=(mobileight comp); COMP_CWORD=1; _mobileight mobileight comp mobileight; echo \"${COMPREPLY[@]}\"";
    let folder = Folder::new("completions");
    let file = folder.file("ask.bash", (script + ask).as_bytes());
    let output = match Command::new("bash").args(["--norc", &file]).stderr(Stdio::piped()).output()
    {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: no bash: {error}"),
    };
    let found = String::from_utf8_lossy(&output.stdout);
    let found: BTreeSet<&str> = found.split_whitespace().collect();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(found, BTreeSet::from(["compare", "compile"]), "{message}");
}

#[test]
fn the_page_of_commands_is_this_programs() {
    let page = succeed(&["generate", "reference"]);
    for name in commands() {
        assert!(page.contains(&format!("\n## mobileight {name}\n")), "{name}");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let found = fs::read_to_string(&file).unwrap().replace("\r\n", "\n");
    assert!(
        found == page,
        "docs/commands.md is of another program: `mobileight generate reference > docs/commands.md`"
    );
}
