//! `mobileight inspect`: what a model takes, gives and needs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use mobileight::preprocess::Preprocessor;
use mobileight::runtime::TensorId;
use mobileight::{ElementType, Graph, Layout, Limits, Model};
use serde::Serialize;

use crate::arguments::{self, Computation, RecipeArguments};
use crate::{Outcome, text};

#[derive(Args)]
pub struct Arguments {
    /// The model: a .tflite or .mb8 file
    model: PathBuf,

    /// Another one to put beside it, such as the float file it was converted from
    other: Option<PathBuf>,

    /// Shape to plan for, if not the file's: 1,320,320,3
    #[arg(long, value_parser = arguments::shape, value_name = "N,H,W,C")]
    input: Option<ArgumentShape>,

    /// One JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    recipe: RecipeArguments,

    #[command(flatten)]
    computation: Computation,
}

/// A list that clap takes as one value.
type ArgumentShape = Vec<usize>;

#[derive(Serialize)]
struct Report {
    models: Vec<Summary>,
    /// What differs between the input contracts of two models, in words.
    conversion: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Summary {
    file: String,
    file_bytes: u64,
    name: Option<String>,
    description: Option<String>,
    computes_in: &'static str,
    inputs: Vec<Contract>,
    outputs: Vec<Contract>,
    /// How a photo becomes the input; absent when the input is no image.
    preprocessing: Option<String>,
    labels: Option<usize>,
    operators: BTreeMap<&'static str, usize>,
    parameters: u64,
    multiply_adds: u64,
    arena_bytes: u64,
    /// Absent for float models, which have no INT8 plan.
    packed_bytes: Option<u64>,
}

/// What the program and the network agree on at a border.
#[derive(Serialize, PartialEq)]
struct Contract {
    name: String,
    shape: Vec<usize>,
    element_type: &'static str,
    scale: Option<f32>,
    zero_point: Option<i32>,
    real_range: Option<[f32; 2]>,
    bytes: u64,
}

pub fn main(arguments: &Arguments, limits: &Limits, out: &mut impl Write) -> Result<Outcome> {
    let paths = [Some(&arguments.model), arguments.other.as_ref()];
    let models: Vec<Summary> = paths
        .into_iter()
        .flatten()
        .map(|path| summarize(path, arguments, limits))
        .collect::<Result<_>>()?;
    let conversion = match models.as_slice() {
        [a, b] => Some(differences(a, b)),
        _ => None,
    };
    let report = Report { models, conversion };
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        print(out, &report)?;
    }
    Ok(Outcome::Done)
}

fn summarize(path: &Path, arguments: &Arguments, limits: &Limits) -> Result<Summary> {
    let model = arguments::open(path, limits)?;
    let describe = || -> Result<Summary> {
        let graph = model.graph();
        let shapes: Vec<Vec<usize>> = arguments.input.iter().cloned().collect();
        let layout = Layout::new(graph, &shapes, false)?;
        let options = arguments.computation.options(limits).input_shapes(shapes);
        let arena_bytes = layout.arena_bytes();
        let packed_bytes = if graph.is_float() {
            layout.check_limits(graph, limits)?;
            None
        } else {
            Some(model.plan(options)?.packed_bytes() as u64)
        };
        let contracts =
            |ids: &[TensorId]| ids.iter().map(|&id| contract(graph, &layout, id)).collect();
        let mut operators = BTreeMap::new();
        for operator in graph.operators() {
            *operators.entry(operator.kind.name()).or_default() += 1;
        }
        let metadata = graph.metadata();
        Ok(Summary {
            file: path.to_string_lossy().into_owned(),
            file_bytes: fs::metadata(path)?.len(),
            name: metadata.name.clone(),
            description: metadata.description.clone(),
            computes_in: computes_in(graph).name(),
            inputs: contracts(graph.inputs()),
            outputs: contracts(graph.outputs()),
            preprocessing: preprocessing(&model, arguments)?,
            labels: metadata.labels.as_ref().map(Vec::len),
            operators,
            parameters: parameters(graph),
            multiply_adds: layout.total_multiply_adds(graph),
            arena_bytes,
            packed_bytes,
        })
    };
    describe().with_context(|| format!("model {}", path.display()))
}

/// The element type of the network's activations, which may differ from that of its borders.
fn computes_in(graph: &Graph) -> ElementType {
    let activation = |id: &TensorId| graph.tensors()[*id].element_type;
    let mut outputs = graph.operators().iter().map(|operator| activation(&operator.output));
    if graph.is_float() {
        return ElementType::F32;
    }
    outputs.find(|element_type| element_type.is_8_bit()).unwrap_or(ElementType::F32)
}

fn contract(graph: &Graph, layout: &Layout, id: TensorId) -> Contract {
    let tensor = &graph.tensors()[id];
    let shape = layout.shapes()[id].clone();
    let quantization = tensor.quantization.as_ref().and_then(|q| q.per_tensor());
    let range = tensor.element_type.integer_range();
    let real_range = quantization.zip(range).map(|((scale, zero_point), (low, high))| {
        [low, high].map(|code| scale * (code - i64::from(zero_point)) as f32)
    });
    Contract {
        name: tensor.name.clone(),
        bytes: shape.iter().product::<usize>() as u64 * tensor.element_type.size() as u64,
        shape,
        element_type: tensor.element_type.name(),
        scale: quantization.map(|(scale, _)| scale),
        zero_point: quantization.map(|(_, zero_point)| zero_point),
        real_range,
    }
}

/// Elements of all constants that operators read: weights and biases.
fn parameters(graph: &Graph) -> u64 {
    let mut read: Vec<TensorId> =
        graph.operators().iter().flat_map(|operator| operator.inputs.iter().copied()).collect();
    read.sort_unstable();
    read.dedup();
    let elements = |id: TensorId| graph.tensors()[id].shape.iter().product::<usize>() as u64;
    read.into_iter().filter(|&id| graph.tensors()[id].data.is_some()).map(elements).sum()
}

/// The recipe as it will be applied; `None` when the input is no image.
fn preprocessing(model: &Model, arguments: &Arguments) -> Result<Option<String>> {
    let Ok(contract) = model.input_contract() else { return Ok(None) };
    let contract = match &arguments.input {
        Some(shape) => contract.with_shape(shape)?,
        None => contract,
    };
    Ok(Some(Preprocessor::new(contract, arguments.recipe.recipe())?.to_string()))
}

/// Does conversion change the input? One sentence for each answer.
fn differences(a: &Summary, b: &Summary) -> Vec<String> {
    let mut sentences = Vec::new();
    if a.inputs.len() != b.inputs.len() {
        sentences.push(format!("{} inputs became {}.", a.inputs.len(), b.inputs.len()));
    }
    for (a, b) in a.inputs.iter().zip(&b.inputs) {
        let shapes = (text::shape(&a.shape), text::shape(&b.shape));
        sentences.push(if a.shape == b.shape {
            format!("The input's size is the same: {}.", shapes.0)
        } else {
            format!("The input's size differs: {} and {}.", shapes.0, shapes.1)
        });
        sentences.push(if a.element_type == b.element_type {
            format!("Both take {}, {} bytes.", a.element_type, a.bytes)
        } else {
            format!(
                "The element type differs: {} ({} bytes) and {} ({} bytes).",
                a.element_type, a.bytes, b.element_type, b.bytes
            )
        });
        if (a.scale, a.zero_point) != (b.scale, b.zero_point) {
            let quantization = |c: &Contract| match (c.scale, c.zero_point) {
                (Some(scale), Some(zero_point)) => {
                    format!("scale {scale}, zero point {zero_point}")
                }
                _ => "real values, not quantized".into(),
            };
            sentences.push(format!(
                "The meaning of a value differs: {}; and {}.",
                quantization(a),
                quantization(b)
            ));
        }
    }
    sentences
}

fn contracts<'a>(model: &'a Summary, border: &str) -> &'a [Contract] {
    if border == "input" { &model.inputs } else { &model.outputs }
}

fn print(out: &mut impl Write, report: &Report) -> Result<()> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: &dyn Fn(&Summary) -> String| {
        let mut row = vec![name.to_owned()];
        row.extend(report.models.iter().map(value));
        if row[1..].iter().any(|cell| !cell.is_empty()) {
            rows.push(row);
        }
    };
    row("model", &|m| m.file.clone());
    row("name", &|m| m.name.clone().unwrap_or_default());
    row("file", &|m| text::bytes(m.file_bytes));
    row("computes in", &|m| m.computes_in.into());
    for border in ["input", "output"] {
        let most = report.models.iter().map(|m| contracts(m, border).len()).max().unwrap_or(0);
        for at in 0..most {
            let title = if most > 1 { format!("{border} {at}") } else { border.to_owned() };
            let mut line = |name: &str, value: &dyn Fn(&Contract) -> String| {
                row(name, &|m| contracts(m, border).get(at).map(value).unwrap_or_default());
            };
            line(&title, &|c| format!("{} {}", text::shape(&c.shape), c.element_type));
            line("  name", &|c| c.name.clone());
            line("  scale", &|c| c.scale.map_or("-".into(), |scale| scale.to_string()));
            line("  zero point", &|c| c.zero_point.map_or("-".into(), |zero| zero.to_string()));
            line("  real range", &|c| {
                c.real_range.map_or("-".into(), |[low, high]| format!("{low} to {high}"))
            });
            line("  bytes", &|c| c.bytes.to_string());
        }
    }
    row("preprocessing", &|m| m.preprocessing.clone().unwrap_or_default());
    row("labels in metadata", &|m| m.labels.map_or("none".into(), |count| count.to_string()));
    row("parameters", &|m| text::count(m.parameters));
    row("multiply-adds", &|m| text::count(m.multiply_adds));
    row("arena", &|m| text::bytes(m.arena_bytes));
    row("packed weights", &|m| m.packed_bytes.map_or("-".into(), text::bytes));
    let mut kinds: Vec<&str> =
        report.models.iter().flat_map(|m| m.operators.keys().copied()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for (at, kind) in kinds.into_iter().enumerate() {
        row(if at == 0 { "operators" } else { "" }, &|m| {
            let count = m.operators.get(kind).copied().unwrap_or(0);
            format!("{count:3} {kind}")
        });
    }
    write!(out, "{}", text::table(&rows))?;
    for sentence in report.conversion.iter().flatten() {
        writeln!(out, "{sentence}")?;
    }
    Ok(())
}
