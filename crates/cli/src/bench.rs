//! `mobileight bench`: how long a model takes, and what memory.

use std::fs;
use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use mobileight::runtime::{Kernel, roof};
use mobileight::{Data, ElementType, Limits, Plan, Session, Tensor, TensorView};
use serde::Serialize;

use crate::arguments::{self, Computation};
use crate::{Outcome, text};

#[derive(Args)]
pub struct Arguments {
    /// The model: a .tflite or .mb8 file
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

    /// Threads that share each run
    #[arg(long, default_value = "1", value_name = "N")]
    threads: NonZero<usize>,

    /// Also how many inferences a second this many threads do at once, each one after another of its own
    #[arg(long, value_name = "N")]
    at_once: Option<NonZero<usize>>,

    /// Also the time of each operator, on one thread, against what this machine can do at best
    #[arg(long)]
    profile: bool,

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
    threads: usize,
    runs: u32,
    /// From opening the file to the first result.
    cold_start_ms: f64,
    min_ms: f64,
    median_ms: f64,
    p95_ms: f64,
    model_bytes: u64,
    weights_bytes: u64,
    arena_bytes: u64,
    peak_rss_bytes: Option<u64>,
    multiply_adds: u64,
    at_once: Option<AtOnce>,
    #[serde(flatten)]
    profile: Option<Profile>,
}

/// Sessions side by side.
#[derive(Serialize)]
struct AtOnce {
    threads: usize,
    inferences_per_second: f64,
}

#[derive(Serialize)]
struct Profile {
    /// Multiply-adds a second with all operands in registers; unknown for portable kernels.
    peak_multiply_adds_per_second: Option<f64>,
    copied_bytes_per_second: f64,
    operators: Vec<OperatorTime>,
    families: Vec<FamilyTime>,
}

#[derive(Serialize)]
struct OperatorTime {
    operator: usize,
    name: &'static str,
    kernel: &'static str,
    isa: &'static str,
    input: Vec<usize>,
    output: Vec<usize>,
    #[serde(flatten)]
    work: Work,
}

#[derive(Serialize)]
struct FamilyTime {
    kernel: &'static str,
    #[serde(flatten)]
    work: Work,
}

/// Time, and what was done in it.
#[derive(Clone, Copy, Default, Serialize)]
struct Work {
    ms: f64,
    share: f64,
    multiply_adds: u64,
    bytes: u64,
    /// The share of the time that the machine would need at best: multiply-adds at their peak, or bytes as fast as copied, whichever takes
    /// longer.
    of_roof: f64,
}

pub fn main(arguments: &Arguments, limits: &Limits, out: &mut impl Write) -> Result<Outcome> {
    let start = Instant::now();
    let model = arguments::open(&arguments.model, limits)?;
    let mut options = arguments.computation.options(limits);
    if let Some(shape) = &arguments.input {
        options = options.input_shapes(vec![shape.clone()]);
    }
    let plan =
        model.plan(options).with_context(|| format!("model {}", arguments.model.display()))?;
    let mut session = Session::new(Arc::clone(&plan)).threads(arguments.threads);
    let prepared = start.elapsed();
    let inputs = random_inputs(&plan, arguments.seed)?;
    let views: Vec<_> = inputs.iter().map(Tensor::view).collect();
    let start = Instant::now();
    session.run(&views)?;
    let cold_start = prepared + start.elapsed();
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
    let memory = peak_resident_bytes();
    let at_once = arguments.at_once.map(|threads| {
        at_once(&plan, &views, threads.get(), arguments.runs)
            .map(|rate| AtOnce { threads: threads.get(), inferences_per_second: rate })
    });
    let profile = match arguments.profile {
        true => Some(profile(&mut session, &views, arguments.runs)?),
        false => None,
    };

    let report = Report {
        model: arguments.model.to_string_lossy().into_owned(),
        numerics: arguments.computation.numerics.name(),
        isa: plan.instruction_set().name(),
        threads: arguments.threads.get(),
        runs: arguments.runs,
        cold_start_ms: milliseconds(cold_start),
        min_ms: milliseconds(times[0]),
        median_ms: milliseconds(quantile(&times, 0.5)),
        p95_ms: milliseconds(quantile(&times, 0.95)),
        model_bytes: fs::metadata(&arguments.model)?.len(),
        weights_bytes: plan.packed_bytes() as u64,
        arena_bytes: plan.arena_bytes() as u64,
        peak_rss_bytes: memory,
        multiply_adds: plan.layout().total_multiply_adds(plan.graph()),
        at_once: at_once.transpose()?,
        profile,
    };
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
        return Ok(Outcome::Done);
    }
    writeln!(
        out,
        "{}: {} numerics, {}, {}, {} runs",
        report.model,
        report.numerics,
        report.isa,
        match report.threads {
            1 => "one thread".into(),
            threads => format!("{threads} threads"),
        },
        report.runs
    )?;
    let mut rows = vec![
        vec!["from the file to the first result".into(), format!("{:.3} ms", report.cold_start_ms)],
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
    if let Some(AtOnce { threads, inferences_per_second }) = report.at_once {
        let rate = format!("{inferences_per_second:.1} inferences a second");
        rows.push(vec![format!("{threads} at once"), rate]);
    }
    write!(out, "{}", text::table(&rows))?;
    if let Some(profile) = &report.profile {
        write_profile(profile, &report, out)?;
    }
    Ok(Outcome::Done)
}

/// Inferences a second of several sessions at once, each in a thread of its own, by the median time of all their runs.
fn at_once(plan: &Arc<Plan>, inputs: &[TensorView<'_>], threads: usize, runs: u32) -> Result<f64> {
    let gate = Barrier::new(threads);
    let times: Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let work = || -> Result<Vec<Duration>> {
            let mut session = Session::new(Arc::clone(plan));
            let first = session.run(inputs).map(|_| ());
            // Also after an error: the others wait.
            gate.wait();
            first?;
            let mut times = Vec::with_capacity(runs as usize);
            for _ in 0..runs {
                let start = Instant::now();
                session.run(inputs)?;
                times.push(start.elapsed());
            }
            Ok(times)
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|_| bail!("a thread panicked"))
        };
        workers.into_iter().map(join).collect()
    });
    let mut times: Vec<Duration> = times?.into_iter().flatten().collect();
    times.sort();
    Ok(threads as f64 / quantile(&times, 0.5).as_secs_f64())
}

/// Medians of each operator's times.
fn profile(session: &mut Session, inputs: &[TensorView<'_>], runs: u32) -> Result<Profile> {
    let plan = Arc::clone(session.plan());
    let kernels: Vec<Kernel> = plan.kernels().collect();
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); kernels.len()];
    for _ in 0..runs {
        for (times, time) in times.iter_mut().zip(session.run_timed(inputs)?) {
            times.push(time);
        }
    }
    times.iter_mut().for_each(|times| times.sort());
    let peak = roof::multiply_adds_per_second(plan.instruction_set());
    let copied = roof::copied_bytes_per_second();
    let graph = plan.graph();
    let mut works: Vec<Work> = kernels
        .iter()
        .zip(&times)
        .map(|(kernel, times)| Work {
            ms: milliseconds(quantile(times, 0.5)),
            multiply_adds: plan.layout().multiply_adds(graph, kernel.operator),
            bytes: kernel.bytes,
            ..Work::default()
        })
        .collect();
    let total: f64 = works.iter().map(|work| work.ms).sum();
    let mut families: Vec<FamilyTime> = Vec::new();
    for (work, kernel) in works.iter_mut().zip(&kernels) {
        let products = peak.map_or(0.0, |peak| work.multiply_adds as f64 / peak);
        let at_best = 1e3 * products.max(work.bytes as f64 / copied);
        work.share = work.ms / total;
        work.of_roof = at_best / work.ms;
        let family = match families.iter_mut().position(|family| family.kernel == kernel.name) {
            Some(at) => &mut families[at].work,
            None => {
                families.push(FamilyTime { kernel: kernel.name, work: Work::default() });
                &mut families.last_mut().context("just pushed")?.work
            }
        };
        // Weighted by time: the share of the whole family.
        let time = family.ms + work.ms;
        family.of_roof = (family.of_roof * family.ms + at_best) / time;
        family.ms = time;
        family.share += work.share;
        family.multiply_adds += work.multiply_adds;
        family.bytes += work.bytes;
    }
    let shape = |id| plan.shape(id).unwrap_or_default().to_vec();
    let operators = kernels
        .iter()
        .zip(works)
        .map(|(kernel, work)| {
            let operator = &graph.operators()[kernel.operator];
            OperatorTime {
                operator: kernel.operator,
                name: operator.kind.name(),
                kernel: kernel.name,
                isa: kernel.instruction_set.name(),
                input: shape(operator.inputs[0]),
                output: shape(operator.output),
                work,
            }
        })
        .collect();
    families.sort_by(|a, b| b.work.ms.total_cmp(&a.work.ms));
    Ok(Profile {
        peak_multiply_adds_per_second: peak,
        copied_bytes_per_second: copied,
        operators,
        families,
    })
}

fn write_profile(profile: &Profile, report: &Report, out: &mut impl Write) -> Result<()> {
    let cells = |work: &Work| {
        let rate = work.multiply_adds as f64 / work.ms / 1e6;
        [
            format!("{:.4} ms", work.ms),
            format!("{:.1} %", 100.0 * work.share),
            if work.multiply_adds == 0 { "-".into() } else { format!("{rate:.1} GMAC/s") },
            text::bytes(work.bytes),
            format!("{:.0} %", 100.0 * work.of_roof),
        ]
    };
    let title = |titles: &[&str]| titles.iter().map(|title| title.to_string()).collect::<Vec<_>>();
    let mut rows = vec![title(&[
        "", "operator", "kernel", "for", "input", "output", "time", "share", "rate", "bytes",
        "of roof",
    ])];
    rows.extend(profile.operators.iter().map(|operator| {
        let mut row = vec![
            operator.operator.to_string(),
            operator.name.into(),
            operator.kernel.into(),
            operator.isa.into(),
            text::shape(&operator.input),
            text::shape(&operator.output),
        ];
        row.extend(cells(&operator.work));
        row
    }));
    write!(out, "\n{}", text::table(&rows))?;
    let mut rows = vec![title(&["kernel", "time", "share", "rate", "bytes", "of roof"])];
    rows.extend(profile.families.iter().map(|family| {
        let mut row = vec![family.kernel.to_owned()];
        row.extend(cells(&family.work));
        row
    }));
    write!(out, "\n{}", text::table(&rows))?;
    let rate = report.multiply_adds as f64 / report.median_ms / 1e6;
    writeln!(
        out,
        "\nthe roof: the longer of copying the bytes within the caches ({:.0} GB/s) and{}",
        profile.copied_bytes_per_second / 1e9,
        match profile.peak_multiply_adds_per_second {
            Some(peak) => format!(
                " {} multiply-adds ({:.1} G/s)\nthe whole: {rate:.1} G multiply-adds a second, {:.0} % of that peak",
                report.isa,
                peak / 1e9,
                100.0 * rate * 1e9 / peak
            ),
            None => " nothing for multiply-adds, whose peak is unknown here".into(),
        }
    )?;
    Ok(())
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
