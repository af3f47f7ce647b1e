//! The `mobileight` command: quantized MobileNets from the shell.

mod arguments;
mod bench;
mod classify;
#[cfg(feature = "tract")]
mod compare;
#[cfg(feature = "tract")]
mod compile;
#[cfg(feature = "tract")]
mod demo;
#[cfg(feature = "tract")]
mod generate;
mod inspect;
mod npy;
mod preprocess;
#[cfg(feature = "tract")]
mod progress;
#[cfg(feature = "tract")]
mod pull;
mod run;
mod text;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Quantized (8-bit) MobileNet inference in pure Rust, byte for byte equal to TensorFlow Lite.
///
/// Results go to stdout, messages to stderr.
#[cfg_attr(
    feature = "tract",
    doc = "Exit codes: 0 done, 1 failed, 2 usage, 3 a condition (--max-drop) not met."
)]
#[cfg_attr(not(feature = "tract"), doc = "Exit codes: 0 done, 1 failed, 2 usage.")]
#[derive(Parser)]
#[command(name = "mobileight", version)]
#[cfg_attr(
    not(feature = "tract"),
    command(
        after_help = "This is the small build: it runs compiled models (.mb8). The full one makes them of .tflite files:\n  mobileight compile MODEL.tflite -o model.mb8"
    )
)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    limits: arguments::LimitArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Shows what a model takes, gives and needs; for two models, side by side
    Inspect(inspect::Arguments),
    /// Says what is in photos
    Classify(classify::Arguments),
    /// Runs a model on tensors from .npy files
    Run(run::Arguments),
    /// Turns a photo into a model's input tensor
    Preprocess(preprocess::Arguments),
    /// Says what quantization cost, where, and whether it is noise: an INT8 model against FP32 on images
    #[cfg(feature = "tract")]
    Compare(compare::Arguments),
    /// Compares the models that ship with their float original: needs no file and no network
    #[cfg(feature = "tract")]
    Demo(demo::Arguments),
    /// Measures how long a model takes
    Bench(bench::Arguments),
    /// Makes an .mb8 file of a .tflite file: one that builds without tract and without a C compiler run too
    #[cfg(feature = "tract")]
    Compile(compile::Arguments),
    /// Fetches well-known published models, verified by SHA-256
    #[cfg(feature = "tract")]
    Pull(pull::Arguments),
    /// Makes man pages, shell completions, and the page of all commands
    #[cfg(feature = "tract")]
    Generate(generate::Arguments),
}

/// What a command reports besides an error: whether all went well.
enum Outcome {
    Done,
    /// Some of the work failed; each failure was reported where it happened.
    Partial,
    /// A condition (`--max-drop`) is not met.
    #[cfg(feature = "tract")]
    GateFailed,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let limits = &cli.limits.limits();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = match cli.command {
        Command::Inspect(arguments) => inspect::main(&arguments, limits, &mut out),
        Command::Classify(arguments) => classify::main(&arguments, limits, &mut out),
        Command::Run(arguments) => run::main(&arguments, limits),
        Command::Preprocess(arguments) => preprocess::main(&arguments, limits, &mut out),
        #[cfg(feature = "tract")]
        Command::Compare(arguments) => compare::main(&arguments, limits, &mut out),
        #[cfg(feature = "tract")]
        Command::Demo(arguments) => demo::main(&arguments, limits, &mut out),
        Command::Bench(arguments) => bench::main(&arguments, limits, &mut out),
        #[cfg(feature = "tract")]
        Command::Compile(arguments) => compile::main(&arguments, limits, &mut out),
        #[cfg(feature = "tract")]
        Command::Pull(arguments) => pull::main(&arguments, &mut out),
        #[cfg(feature = "tract")]
        Command::Generate(arguments) => {
            generate::main(&arguments, <Cli as clap::CommandFactory>::command(), &mut out)
        }
    };
    let result = result.and_then(|outcome| {
        out.flush()?;
        Ok(outcome)
    });
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Partial) => ExitCode::FAILURE,
        #[cfg(feature = "tract")]
        Ok(Outcome::GateFailed) => ExitCode::from(3),
        // The reader has seen enough, as in `mobileight inspect ... | head -1`.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}
