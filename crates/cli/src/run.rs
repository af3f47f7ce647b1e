//! `mobileight run`: tensors in, tensors out.

use std::fs;
use std::path::PathBuf;
#[cfg(feature = "tract")]
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
#[cfg(feature = "tract")]
use mobileight::reference::{Reference, ReferenceOptions};
use mobileight::runtime::TensorId;
use mobileight::{Limit, Limits, Model, PlanOptions, Session, Tensor, TensorView};

use crate::arguments::{self, Computation};
use crate::{Outcome, npy, text};

#[derive(Args)]
pub struct Arguments {
    /// The model: a .tflite or .mb8 file
    model: PathBuf,

    /// The input tensor, `-` for standard input; once for each input of the model
    #[arg(long, required = true, value_name = "FILE.npy")]
    input: Vec<PathBuf>,

    /// Where to write the first output
    #[arg(long, value_name = "FILE.npy")]
    output: Option<PathBuf>,

    /// Folder for every operator's output: NNNN.npy, NNNN the tensor's index in the model file
    #[arg(long, value_name = "DIR")]
    dump_tensors: Option<PathBuf>,

    /// Computes in FP32, with a quantized model's own weights dequantized; inputs and outputs are real values then. Float models
    /// always run so
    #[cfg(feature = "tract")]
    #[arg(long)]
    fp32: bool,

    #[command(flatten)]
    computation: Computation,
}

pub fn main(arguments: &Arguments, limits: &Limits) -> Result<Outcome> {
    if arguments.output.is_none() && arguments.dump_tensors.is_none() {
        bail!("nothing to write: give --output FILE.npy, --dump-tensors DIR or both");
    }
    let model = arguments::open(&arguments.model, limits)?;
    let read = |path: &PathBuf| match arguments::standard_input(path, Limit::MemoryBytes, limits)? {
        Some(bytes) => npy::parse(&bytes).context("cannot read standard input"),
        None => npy::read(path, limits),
    };
    let inputs: Vec<Tensor> = arguments.input.iter().map(read).collect::<Result<_>>()?;
    let keep = arguments.dump_tensors.is_some();
    let shapes = planned_shapes(&model, &inputs);
    let options = arguments.computation.options(limits);
    let shapes_taken = || {
        let shapes = |shapes: Vec<&Vec<usize>>| {
            shapes.into_iter().map(|shape| text::shape(shape)).collect::<Vec<_>>().join(", ")
        };
        let graph = model.graph();
        let taken = shapes(graph.inputs().iter().map(|&id| &graph.tensors()[id].shape).collect());
        let given = shapes(inputs.iter().map(|tensor| &tensor.shape).collect());
        let name = format!("model {}", arguments.model.display());
        match taken == given {
            true => name,
            false => format!("{name} takes {taken} and was given {given}"),
        }
    };
    let views: Vec<_> = inputs.iter().map(Tensor::view).collect();
    let options = options.keep_intermediates(keep).input_shapes(shapes);
    #[cfg(feature = "tract")]
    let computed = if arguments.fp32 || model.graph().is_float() {
        compute_fp32(&model, &options, &views, shapes_taken)?
    } else {
        compute(&model, options, &views, shapes_taken)?
    };
    // Float models are refused by the plan.
    #[cfg(not(feature = "tract"))]
    let computed = compute(&model, options, &views, shapes_taken)?;
    if let Some(path) = &arguments.output {
        npy::write(path, &computed.output)?;
    }
    if let Some(folder) = &arguments.dump_tensors {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create folder {}", folder.display()))?;
        for (id, tensor) in &computed.tensors {
            npy::write(&folder.join(format!("{id:04}.npy")), tensor)?;
        }
    }
    Ok(Outcome::Done)
}

/// What a run gives: the first output, and every operator's where asked for.
struct Computed {
    output: Tensor,
    tensors: Vec<(TensorId, Tensor)>,
}

fn compute(
    model: &Model,
    options: PlanOptions,
    inputs: &[TensorView<'_>],
    context: impl Fn() -> String,
) -> Result<Computed> {
    let keep = options.keep_intermediates;
    let mut session = Session::new(model.plan(options).with_context(context)?);
    let output = session.run(inputs)?[0].clone();
    let owned = |id| session.tensor(id).ok();
    Ok(Computed { output, tensors: if keep { each_output(model, owned) } else { Vec::new() } })
}

#[cfg(feature = "tract")]
fn compute_fp32(
    model: &Model,
    options: &PlanOptions,
    inputs: &[TensorView<'_>],
    context: impl Fn() -> String,
) -> Result<Computed> {
    let keep = options.keep_intermediates;
    let options = ReferenceOptions::default()
        .input_shapes(options.input_shapes.clone())
        .keep_intermediates(keep)
        .limits(options.limits);
    let reference = Reference::new(Arc::clone(model.graph()), options).with_context(context)?;
    if keep {
        let tensors = reference.run_all(inputs)?;
        let owned = |id| tensors.get(id).map(|view: TensorView<'_>| view.to_owned());
        Ok(Computed { output: tensors.outputs()[0].clone(), tensors: each_output(model, owned) })
    } else {
        Ok(Computed { output: reference.run(inputs)?.swap_remove(0), tensors: Vec::new() })
    }
}

/// The outputs of all operators that compute something during the run.
fn each_output(
    model: &Model,
    tensor: impl Fn(TensorId) -> Option<Tensor>,
) -> Vec<(TensorId, Tensor)> {
    let operators = model.graph().operators().iter();
    operators.filter_map(|o| Some((o.output, tensor(o.output)?))).collect()
}

/// The shapes to plan for: another batch or size than the file's is taken as asked for; anything else is left to be refused.
fn planned_shapes(model: &Model, inputs: &[Tensor]) -> Vec<Vec<usize>> {
    let graph = model.graph();
    let fits = inputs.len() == graph.inputs().len()
        && inputs.iter().zip(graph.inputs()).all(|(tensor, &id)| {
            let declared = &graph.tensors()[id].shape;
            tensor.shape.len() == declared.len() && tensor.shape.last() == declared.last()
        });
    if fits { inputs.iter().map(|tensor| tensor.shape.clone()).collect() } else { Vec::new() }
}
