//! `mobileight demo`: the shipped models, compared.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Parser};
use include_dir::{Dir, include_dir};
use mobileight::Limits;

use crate::progress::Interrupt;
use crate::{Outcome, compare};

/// Our own float model, two INT8 conversions of it and labelled images; see models/README.md.
static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../models/demo");

#[derive(Args)]
pub struct Arguments {
    /// Folder for the models, the images and a report for each conversion
    #[arg(long, default_value = "mobileight-demo", value_name = "DIR")]
    out: PathBuf,

    /// Threads; all cores when 0
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
}

/// The arguments of `compare` as a command line has them: the demo is what anyone could type.
#[derive(Parser)]
struct Compare {
    #[command(flatten)]
    arguments: compare::Arguments,
}

pub fn main(arguments: &Arguments, limits: &Limits, out: &mut impl Write) -> Result<Outcome> {
    let folder = arguments.out.join("models");
    unpack(&folder)?;
    let interrupt = Interrupt::new()?;
    let conversions = [
        ("int8", "INT8 with a scale for each channel of the weights"),
        ("int8_per_tensor", "INT8 with one scale for each weight tensor"),
    ];
    for (model, title) in conversions {
        let report_folder = arguments.out.join(model);
        let file = |name: &str| folder.join(name).into_os_string();
        let mut line = vec!["compare".into(), file(&format!("{model}.tflite"))];
        for (option, value) in [
            ("--float", file("float.tflite")),
            ("--images", file("images")),
            ("--labels", file("labels.csv")),
            ("--class-names", file("labels.txt")),
            // The images have the models' own size.
            ("--crop", "full".into()),
            ("--sensitivity", "4".into()),
            ("--threads", arguments.threads.to_string().into()),
            ("--out", report_folder.into_os_string()),
        ] {
            line.extend([option.into(), value]);
        }
        let words: Vec<_> = line.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let compare = Compare::try_parse_from(line)?.arguments;
        let (report, html) = compare::run(&compare, limits, &interrupt)?;
        writeln!(out, "{title}\n")?;
        write!(out, "{}", compare::summary(&report))?;
        writeln!(out, "\nreport: {}", html.display())?;
        writeln!(out, "again: mobileight {}\n", words.join(" "))?;
        out.flush()?;
        if report.images.interrupted {
            return Ok(Outcome::Partial);
        }
    }
    Ok(Outcome::Done)
}

/// Writes the shipped files into a folder.
fn unpack(folder: &Path) -> Result<()> {
    let attempt = || -> std::io::Result<()> {
        fs::create_dir_all(folder.join("images"))?;
        let wanted =
            ["float.tflite", "int8.tflite", "int8_per_tensor.tflite", "labels.csv", "labels.txt"];
        for file in wanted.iter().filter_map(|name| SHIPPED.get_file(name)) {
            fs::write(folder.join(file.path()), file.contents())?;
        }
        let images = SHIPPED.get_dir("images").into_iter().flat_map(|dir| dir.files());
        for image in images {
            fs::write(folder.join(image.path()), image.contents())?;
        }
        Ok(())
    };
    attempt().with_context(|| format!("cannot write the demo's files to {}", folder.display()))
}
