//! Models, times and pictures for the report.

use std::path::Path;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use mobileight_compare::report;
use mobileight_preprocess::{Limits, decode_file};
use mobileight_runtime::Layout;

use super::ModelFile;
use super::network::Network;
use crate::Error;

/// Hexadecimal digits of a hash.
pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the report says about a model.
pub(super) fn describe(file: &ModelFile, network: &Network) -> Result<report::Model, Error> {
    let graph = file.model.graph();
    // As the file has it: what runs may take real values instead.
    let contract = file.model.input_contract()?;
    let pipeline = network.pipeline();
    let kind = match (pipeline.is_fp32(), graph.is_float()) {
        (true, true) => "float",
        (true, false) => "dequantized",
        // By the first layer with weights: QUANTIZE at the input may take another type.
        (false, _) => graph
            .operators()
            .iter()
            .find(|o| o.inputs.get(1).is_some_and(|&id| graph.tensors()[id].data.is_some()))
            .map_or("int8", |o| graph.tensors()[o.output].element_type.name()),
    };
    let input = network.preprocessor().contract();
    let layout = Layout::new(graph, &[input.shape.to_vec()], false)?;
    let constants = graph.operators().iter().flat_map(|o| o.inputs.iter().skip(1));
    let parameters = constants
        .filter(|&&id| graph.tensors()[id].data.is_some())
        .map(|&id| graph.tensors()[id].shape.iter().product::<usize>() as u64)
        .sum();
    Ok(report::Model {
        file: file.name(),
        kind: kind.into(),
        sha256: file.sha256.clone(),
        bytes: file.bytes,
        input: report::Input {
            name: contract.name.clone(),
            shape: contract.shape.to_vec(),
            element_type: contract.element_type.name().into(),
            scale: contract.quantization.map(|(scale, _)| f64::from(scale)),
            zero_point: contract.quantization.map(|(_, zero_point)| zero_point),
            real_range: contract.real_range().map(|(low, high)| [low.into(), high.into()]),
            bytes: contract.bytes(),
        },
        classes: network.classes(),
        parameters,
        multiply_adds: layout.total_multiply_adds(graph),
        arena_bytes: pipeline.plan().map_or(layout.arena_bytes(), |plan| plan.arena_bytes() as u64),
        latency_ms: None,
    })
}

/// Median time of an inference in milliseconds, on the calling thread.
pub(super) fn median_latency(network: &Network, pixels: &[u8]) -> Option<f64> {
    const RUNS: usize = 9;
    let input = network.preprocessor().tensor(pixels);
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        network.pipeline().run_tensor(&input).ok()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Some(times[RUNS / 2])
}

/// A small picture of an image file as a `data:` URL.
pub(super) fn thumbnail(path: &Path, limits: &Limits) -> Option<String> {
    const SIDE: u32 = 160;
    let image = decode_file(path, limits).ok()?;
    let small = image.thumbnail(SIDE, SIDE).to_rgb8();
    let mut bytes = std::io::Cursor::new(Vec::new());
    small.write_to(&mut bytes, ImageFormat::Jpeg).ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes.into_inner())))
}
