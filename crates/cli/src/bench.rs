//! `mobileight bench`: how long a model takes, and what memory.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use mobileight::{Data, ElementType, Plan, Session, Tensor};
use serde::Serialize;

use crate::arguments::{self, Computation};
use crate::{Outcome, text};

#[derive(Args)]
pub struct Arguments {
    /// The .tflite file
    model: PathBuf,

    /// Timed runs
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    runs: u32,

    /// Runs before the timed ones
    #[arg(long, default_value_t = 5, value_name = "N")]
    warm_up: u32,

    /// Shape of the input, if not the file's: 1,320,320,3
    #[arg(long, value_parser = arguments::shape, value_name = "N,H,W,C")]
    input: Option<ArgumentShape>,

    /// Seed of the random input
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,

    /// One JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    computation: Computation,
}

/// A list that clap takes as one value.
type ArgumentShape = Vec<usize>;

#[derive(Serialize)]
struct Report {
    model: String,
    numerics: &'static str,
    isa: &'static str,
    threads: u32,
    runs: u32,
    min_ms: f64,
    median_ms: f64,
    p95_ms: f64,
    model_bytes: u64,
    weights_bytes: u64,
    arena_bytes: u64,
    peak_rss_bytes: Option<u64>,
}

pub fn main(arguments: &Arguments, out: &mut impl Write) -> Result<Outcome> {
    let model = arguments::open(&arguments.model)?;
    let mut options = arguments.computation.options();
    if let Some(shape) = &arguments.input {
        options = options.input_shapes(vec![shape.clone()]);
    }
    let plan =
        model.plan(options).with_context(|| format!("model {}", arguments.model.display()))?;
    let inputs = random_inputs(&plan, arguments.seed)?;
    let views: Vec<_> = inputs.iter().map(Tensor::view).collect();
    let mut session = Session::new(Arc::clone(&plan));
    for _ in 0..arguments.warm_up {
        session.run(&views)?;
    }
    let mut times = Vec::with_capacity(arguments.runs as usize);
    for _ in 0..arguments.runs {
        let start = Instant::now();
        session.run(&views)?;
        times.push(start.elapsed());
    }
    times.sort();

    let report = Report {
        model: arguments.model.to_string_lossy().into_owned(),
        numerics: arguments.computation.numerics.name(),
        isa: plan.instruction_set().name(),
        threads: 1,
        runs: arguments.runs,
        min_ms: milliseconds(times[0]),
        median_ms: milliseconds(quantile(&times, 0.5)),
        p95_ms: milliseconds(quantile(&times, 0.95)),
        model_bytes: fs::metadata(&arguments.model)?.len(),
        weights_bytes: plan.packed_bytes() as u64,
        arena_bytes: plan.arena_bytes() as u64,
        peak_rss_bytes: peak_resident_bytes(),
    };
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
        return Ok(Outcome::Done);
    }
    writeln!(
        out,
        "{}: {} numerics, {}, one thread, {} runs",
        report.model, report.numerics, report.isa, report.runs
    )?;
    let rows = [
        vec!["min".into(), format!("{:.3} ms", report.min_ms)],
        vec!["median".into(), format!("{:.3} ms", report.median_ms)],
        vec!["95th percentile".into(), format!("{:.3} ms", report.p95_ms)],
        vec!["model file".into(), text::bytes(report.model_bytes)],
        vec!["packed weights".into(), text::bytes(report.weights_bytes)],
        vec!["arena".into(), text::bytes(report.arena_bytes)],
        vec![
            "peak resident memory".into(),
            report.peak_rss_bytes.map_or("unknown here".into(), text::bytes),
        ],
    ];
    write!(out, "{}", text::table(&rows))?;
    Ok(Outcome::Done)
}

/// The smallest time that a share of the sorted times is at most.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn random_inputs(plan: &Plan, seed: u64) -> Result<Vec<Tensor>> {
    let mut state = seed;
    // SplitMix64 (Steele, Lea and Flood 2014).
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let graph = plan.graph();
    let mut inputs = Vec::new();
    for &id in graph.inputs() {
        let shape = plan.shape(id).unwrap_or_default().to_vec();
        let count = 0..shape.iter().product::<usize>();
        let data: Data = match graph.tensors()[id].element_type {
            ElementType::U8 => count.map(|_| random() as u8).collect::<Vec<_>>().into(),
            ElementType::I8 => count.map(|_| random() as i8).collect::<Vec<_>>().into(),
            // 24 bits of it as a value of -1 to 1.
            ElementType::F32 => count
                .map(|_| (random() >> 40) as f32 / (1 << 23) as f32 - 1.0)
                .collect::<Vec<_>>()
                .into(),
            other => bail!("no random input can be made of element type {other}"),
        };
        inputs.push(Tensor { shape, data });
    }
    Ok(inputs)
}

/// The most memory this process ever had resident, where the system tells (Linux).
fn peak_resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_among_the_times() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 0.5), Duration::from_millis(50));
        assert_eq!(quantile(&times, 0.95), Duration::from_millis(95));
        assert_eq!(quantile(&times[..1], 0.95), Duration::from_millis(1));
    }
}
