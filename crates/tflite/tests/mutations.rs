//! Damaged copies of real models, compiled or not: each is read or refused in words, within bounds of time and memory.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mobileight_runtime::{
    Data, Graph, Limit, Limits, Plan, PlanOptions, Session, Tensor, compiled,
};
use mobileight_tflite::{Error, read};

/// Reads a graph or says why not.
type Reader = fn(Vec<u8>) -> Result<Graph, String>;

fn read_tflite(bytes: Vec<u8>) -> Result<Graph, String> {
    read(bytes).map_err(|error| {
        assert!(!matches!(error, Error::Io { .. } | Error::File { .. }), "{error}");
        error.to_string()
    })
}

/// What is read says all that the bytes say.
fn read_compiled(bytes: Vec<u8>) -> Result<Graph, String> {
    let graph = compiled::read(bytes.clone()).map_err(|error| error.to_string())?;
    assert!(compiled::write(&graph) == bytes);
    Ok(graph)
}

/// SplitMix64: the damage is the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// The positions that are not elements of weights: tables, names, scales, parameters.
fn structure(bytes: &[u8], read: Reader) -> Vec<usize> {
    let graph = read(bytes.to_vec()).unwrap();
    let mut is_structure = vec![true; bytes.len()];
    for data in graph.tensors().iter().filter_map(|tensor| tensor.data.as_ref()) {
        // Small constants are parameters and stay in; large ones are found by their content.
        if data.len() >= 64 {
            let at = bytes.windows(data.len()).position(|window| *window == **data).unwrap();
            is_structure[at..at + data.len()].fill(false);
        }
    }
    (0..bytes.len()).filter(|&at| is_structure[at]).collect()
}

fn damage(original: &[u8], structure: &[usize], round: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = original.to_vec();
    if round.is_multiple_of(10) {
        bytes.truncate(random.below(original.len()));
        return bytes;
    }
    let everywhere = round % 10 < 4;
    let flips = [1, 1, 2, 4, 16, 64][random.below(6)];
    for _ in 0..flips {
        let at = match everywhere {
            true => random.below(bytes.len()),
            false => structure[random.below(structure.len())],
        };
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            // A whole word: an extreme length, index or offset.
            _ => {
                let words = [0, 1, u32::MAX, i32::MAX as u32, 0x8000_0000, 0x0001_0000];
                let word = words[random.below(words.len())].to_le_bytes();
                let at = at & !3;
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
        }
    }
    bytes
}

#[derive(Default)]
struct Tally {
    refused: usize,
    read: usize,
    planned: usize,
    run: usize,
}

fn attempt(bytes: Vec<u8>, read: Reader, tally: &mut Tally) {
    let graph = match read(bytes) {
        Ok(graph) => Arc::new(graph),
        Err(words) => {
            assert!(words.len() > 10 && words.len() < 1 << 20, "{words}");
            tally.refused += 1;
            return;
        }
    };
    tally.read += 1;
    let limits = Limits::default().with(Limit::MemoryBytes, 256 << 20);
    let options = PlanOptions::default().limits(limits);
    let Ok(plan) = Plan::new(Arc::clone(&graph), options) else { return };
    tally.planned += 1;
    if !tally.planned.is_multiple_of(20) || plan.layout().total_multiply_adds(&graph) >= 300_000_000
    {
        return;
    }
    let zeros = |&id: &usize| {
        let tensor = &graph.tensors()[id];
        let data = Data::zeros(tensor.element_type, tensor.shape.iter().product())?;
        Some(Tensor { shape: tensor.shape.clone(), data })
    };
    let inputs: Option<Vec<Tensor>> = graph.inputs().iter().map(zeros).collect();
    let inputs = inputs.expect("what is planned takes inputs of a type that a session takes");
    let views: Vec<_> = inputs.iter().map(Tensor::view).collect();
    if let Err(error) = Session::new(Arc::new(plan)).run(&views) {
        assert!(error.to_string().len() > 10, "{error}");
    }
    tally.run += 1;
}

/// Models, and how many damaged copies of each are tried. The third has metadata and an archive of labels; it is the largest, so there
/// are fewer copies.
const MODELS: [(&str, usize); 3] = [
    ("mobilenet_v1_0.25_128_quant.tflite", 800),
    ("vww_96_int8.tflite", 1000),
    ("mobilenet_v1_0.25_224_float_metadata.tflite", 200),
];

/// How many times as many copies are tried: `MOBILEIGHT_MUTATIONS`, one unless told.
fn factor() -> usize {
    let told = std::env::var("MOBILEIGHT_MUTATIONS").ok();
    told.map_or(1, |factor| factor.parse().expect("MOBILEIGHT_MUTATIONS is a number"))
}

#[test]
fn damaged_files_are_read_or_refused() {
    let Some(folder) = common::models() else { return };
    damaged(
        &MODELS.map(|(name, copies)| (name, copies, std::fs::read(folder.join(name)).unwrap())),
        read_tflite,
        |bytes| bytes,
    );
}

#[test]
fn damaged_compiled_models_are_read_or_refused() {
    let Some(folder) = common::models() else { return };
    let compile = |(name, copies)| {
        let graph = read(std::fs::read(folder.join(name)).unwrap()).unwrap();
        (name, copies, compiled::write(&graph))
    };
    // With the right length and checksum, so that the damage behind them is found by itself.
    let seal = |mut bytes: Vec<u8>| {
        if bytes.len() >= 28 {
            let length = bytes.len() as u64;
            bytes[12..20].copy_from_slice(&length.to_le_bytes());
            let checksum = crc32fast::hash(&bytes[12..]);
            bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        }
        bytes
    };
    damaged(&MODELS.map(compile), read_compiled, seal);
}

/// Damages each model as often as told and tries what is left.
fn damaged(models: &[(&str, usize, Vec<u8>)], read: Reader, seal: fn(Vec<u8>) -> Vec<u8>) {
    let factor = factor();
    let mut random = Random(20);
    let mut tally = Tally::default();
    for (name, copies, original) in models {
        let structure = structure(original, read);
        assert!(structure.len() < original.len() / 2, "{name}: {}", structure.len());
        for round in 0..copies * factor {
            let bytes = seal(damage(original, &structure, round, &mut random));
            let start = Instant::now();
            attempt(bytes, read, &mut tally);
            assert!(start.elapsed() < Duration::from_secs(20), "{name}, copy {round}");
        }
    }
    let Tally { refused, read, planned, run } = tally;
    println!("{refused} refused, {read} read, {planned} planned, {run} run");
    assert_eq!(refused + read, 2000 * factor);
    // The damage must reach every stage, else this tests nothing.
    assert!(refused > 200 && read > 200 && planned > 100 && run > 5);
}
