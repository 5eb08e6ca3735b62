//! Bad input on every command: the commands and their options are read from the help, so that a new one cannot be
//! forgotten.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

mod support;

use support::verdict;

const ODD: [&str; 6] = ["", "missing/file", "\u{1f980}", "-1", "../../..", LONG];
const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
                    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
                    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// A command, as its words, with what its help says that it takes.
struct Command {
    words: Vec<String>,
    positionals: usize,
    /// Options with a value, and flags.
    valued: Vec<String>,
    flags: Vec<String>,
}

fn help(words: &[String]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["-h"]).collect();
    verdict(folder.path(), &arguments).ok().out
}

/// The lines below a heading.
fn section<'a>(help: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    help.lines().skip_while(move |line| *line != heading).skip(1).take_while(|line| !line.is_empty())
}

/// Every command that has none below it.
fn commands(words: &[String]) -> Vec<Command> {
    let help = help(words);
    let below: Vec<&str> = section(&help, "Commands:")
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    if !below.is_empty() {
        let deeper = |name: &&str| [words, &[(*name).to_owned()]].concat();
        return below.iter().map(deeper).flat_map(|words| commands(&words)).collect();
    }
    let named = |line: &str| {
        let option = line.split_whitespace().find(|word| word.starts_with("--"))?;
        Some((option.to_owned(), line.contains(&format!("{option} <"))))
    };
    let is_entry = |line: &&str| line.trim_start().starts_with('-');
    let options: Vec<(String, bool)> =
        section(&help, "Options:").filter(is_entry).filter_map(named).collect();
    let of = |valued: bool| {
        options.iter().filter(|(_, has)| *has == valued).map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let positionals =
        section(&help, "Arguments:").filter(|line| line.trim_start().starts_with(['<', '['])).count();
    let flags =
        of(false).into_iter().filter(|flag| !["--help", "--version", "--json"].contains(&flag.as_str()));
    vec![Command { words: words.to_vec(), positionals, valued: of(true), flags: flags.collect() }]
}

/// Runs it. Whatever it is given, it says what is wrong, in one JSON document, and leaves nothing half done.
fn try_it(command: &Command, more: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
    let ran = verdict(folder.path(), &[&["--json"], words.as_slice(), more].concat());
    assert!(!ran.err.contains("panicked"), "{words:?} {more:?}: {}", ran.err);
    match ran.code {
        Some(0) => {}
        Some(1..=5) => {
            let error = &ran.json()["error"];
            let told = |member: &str| error[member].as_str().is_some_and(|text| !text.is_empty());
            assert!(told("code") && told("message"), "{words:?} {more:?}: {}{}", ran.out, ran.err);
            let left = std::fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(left, 0, "{words:?} {more:?} left something: {}", ran.out);
        }
        other => panic!("{words:?} {more:?} ended with {other:?}: {}", ran.err),
    }
}

#[test]
fn every_command_says_what_is_wrong_and_leaves_nothing() {
    let commands = commands(&[]);
    assert!(commands.len() > 40, "only {} commands were found in the help", commands.len());
    let options: usize = commands.iter().map(|command| command.valued.len()).sum();
    assert!(options > 100, "only {options} options were found in the help");
    for (turn, command) in commands.iter().enumerate() {
        try_it(command, &["--no-such-option"]);
        let too_many = vec!["x"; command.positionals + 1];
        try_it(command, &too_many);
        for (place, odd) in ODD.iter().enumerate() {
            let mut all = vec![*odd; command.positionals];
            try_it(command, &all);
            // Each option with some odd value, so that all values are tried on all commands.
            for (number, option) in command.valued.iter().enumerate().filter(|(n, _)| n % ODD.len() == place)
            {
                let odd = ODD[(turn + number) % ODD.len()];
                all.truncate(command.positionals);
                all.extend([option.as_str(), odd]);
                try_it(command, &all);
            }
        }
        for flag in &command.flags {
            try_it(command, &[flag.as_str()]);
        }
    }
}
