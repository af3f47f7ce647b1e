//! What each fuzz target does with its bytes: an answer or an error in words, nothing else.

pub mod fields;
#[allow(dead_code, reason = "the binary's module as it is; only what reads is used")]
#[path = "../../crates/cli/src/npy.rs"]
mod npy;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use mobileight::comparison::ImageSet;
use mobileight::preprocess::{
    ChannelOrder, Crop, InputContract, NormalizationChoice, Preprocessor, Recipe, Resize, decode,
};
use mobileight::runtime::{
    GraphTensor, InstructionSet, Metadata, Operator, OperatorKind, Quantization, compiled,
};
use mobileight::{
    Data, ElementType, Graph, Labels, Limit, Limits, Numerics, Plan, PlanOptions, Session, Tensor,
    tflite,
};

/// Small ones: what keeps to them is done in a moment.
fn limits() -> Limits {
    Limits::default()
        .with(Limit::MemoryBytes, 16 << 20)
        .with(Limit::MultiplyAdds, 50_000_000)
        .with(Limit::ModelBytes, 4 << 20)
        .with(Limit::ImagePixels, 1 << 20)
        .with(Limit::LabelBytes, 1 << 16)
}

/// A refusal must say something.
fn refused(error: &dyn Error) {
    let words = error.to_string();
    assert!(words.len() > 5 && words.len() < 1 << 20, "{words}");
}

/// The bytes of a `.tflite` file: read, compiled and read back, planned in each numerics by the fastest and the portable kernels, run.
pub fn tflite(bytes: &[u8]) {
    match tflite::read_within(bytes.to_vec(), &limits()) {
        Ok(graph) => {
            let compiled = compiled::write(&graph);
            let more = limits().with(Limit::ModelBytes, u64::MAX);
            let again = compiled::read_within(compiled.clone(), &more).expect("was just written");
            assert!(compiled::write(&again) == compiled);
            plan_and_run(graph);
        }
        Err(error) => refused(&error),
    }
}

/// The bytes of a compiled model, with the length and checksum that they should have.
pub fn compiled(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 28 {
        bytes[..8].copy_from_slice(b"MOB8\x01\0\0\0");
        let length = bytes.len() as u64;
        bytes[12..20].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    }
    match compiled::read_within(bytes.clone(), &limits()) {
        Ok(graph) => {
            assert!(compiled::write(&graph) == bytes, "there is one way to write a graph");
            plan_and_run(graph);
        }
        Err(error) => refused(&error),
    }
}

fn plan_and_run(graph: Graph) {
    let graph = Arc::new(graph);
    for numerics in Numerics::ALL {
        let mut outputs: Vec<Vec<Tensor>> = Vec::new();
        for set in [InstructionSet::Portable, InstructionSet::best()] {
            let options =
                PlanOptions::default().numerics(numerics).instruction_set(set).limits(limits());
            match Plan::new(Arc::clone(&graph), options) {
                Ok(plan) => outputs.extend(run(plan)),
                Err(error) => refused(&error),
            }
        }
        if let [portable, vectors] = &outputs[..] {
            assert!(same(portable, vectors), "{numerics}");
        }
    }
}

fn run(plan: Plan) -> Option<Vec<Tensor>> {
    let graph = Arc::clone(plan.graph());
    let input = |&id: &usize| {
        let shape = plan.shape(id)?.to_vec();
        let mut data = Data::zeros(graph.tensors()[id].element_type, shape.iter().product())?;
        let code = |at: usize| (at * 37 % 251) as u8;
        match &mut data {
            Data::U8(values) => values.iter_mut().enumerate().for_each(|(at, v)| *v = code(at)),
            Data::I8(values) => {
                values.iter_mut().enumerate().for_each(|(at, v)| *v = code(at) as i8);
            }
            _ => {}
        }
        Some(Tensor { shape, data })
    };
    let inputs: Vec<Tensor> = graph.inputs().iter().map(input).collect::<Option<_>>()?;
    let views: Vec<_> = inputs.iter().map(Tensor::view).collect();
    let mut session = Session::new(Arc::new(plan));
    match session.run(&views) {
        Ok(outputs) => Some(outputs.to_vec()),
        Err(error) => {
            refused(&error);
            None
        }
    }
}

/// Equal to the bit: a float NaN equals itself.
fn same(a: &[Tensor], b: &[Tensor]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| match (&a.data, &b.data) {
            (Data::F32(x), Data::F32(y)) => {
                a.shape == b.shape
                    && x.iter().map(|v| v.to_bits()).eq(y.iter().map(|v| v.to_bits()))
            }
            _ => a == b,
        })
}

/// The first bytes choose the input and the recipe, the others are an image file.
pub fn image(bytes: &[u8]) {
    let Some((&[choice, width, height], file)) = bytes.split_first_chunk() else { return };
    let image = match decode(file, &limits()) {
        Ok(image) => image,
        Err(error) => return refused(&error),
    };
    assert!(u64::from(image.width()) * u64::from(image.height()) <= 1 << 20);
    let recipe = Recipe {
        crop: [Crop::Full, Crop::Square, Crop::Central(0.875)][usize::from(choice) % 3].clone(),
        resize: [
            Resize::AntialiasedBilinear,
            Resize::Nearest,
            Resize::Area,
            Resize::TensorFlowBilinear { half_pixel_centers: true },
            Resize::TensorFlowBilinearAlignCorners,
        ][usize::from(choice) / 3 % 5],
        normalization: NormalizationChoice::Auto,
        channel_order: ChannelOrder::Rgb,
    };
    let channels = if choice < 128 { 3 } else { 1 };
    let shape = [1, 1 + usize::from(height), 1 + usize::from(width), channels];
    let preprocessor = Preprocessor::new(contract(shape), recipe).expect("a sound recipe");
    match preprocessor.prepare(&image) {
        Ok(tensor) => {
            assert_eq!(tensor.shape, shape);
            assert_eq!(tensor.data.view().len(), shape.iter().product::<usize>());
        }
        // A GIF's screen may have no row.
        Err(error) => {
            assert!(image.width() == 0 || image.height() == 0, "{error}");
            refused(&error);
        }
    }
}

/// An int8 input of a shape.
fn contract(shape: [usize; 4]) -> InputContract {
    let tensor = GraphTensor {
        name: String::new(),
        element_type: ElementType::I8,
        shape: shape.to_vec(),
        quantization: Some(Quantization::PerTensor { scale: 1.0 / 128.0, zero_point: 0 }),
        data: None,
    };
    let relu = Operator { kind: OperatorKind::Relu, inputs: vec![0], output: 1 };
    let tensors = vec![tensor.clone(), tensor];
    let graph = Graph::new(tensors, vec![relu], vec![0], vec![1], Metadata::default());
    InputContract::from_graph(&graph.expect("a sound graph")).expect("an image")
}

/// A text file of labels, and the same bytes as a table of labels.
pub fn labels(bytes: &[u8]) {
    let folder = folder();
    let path = folder.join("labels");
    std::fs::write(&path, bytes).expect("a folder to write to");
    match Labels::from_file_within(&path, &limits()) {
        Ok(labels) => {
            assert!(!labels.is_empty());
            let text = std::str::from_utf8(bytes).expect("was read as text");
            let lines = Metadata::parse_labels(text);
            assert_eq!(lines.len(), labels.len());
            assert!(lines.len() <= 1 + bytes.iter().filter(|&&byte| byte == b'\n').count());
        }
        Err(error) => refused(&error),
    }
    let mut set = ImageSet::default();
    set.folder = folder.clone();
    set.files = ["a.png", "b.jpg"].map(PathBuf::from).to_vec();
    set.labels = vec![None; 2];
    match set.with_labels_within(&path, 10, &limits()) {
        Ok(set) => assert!(set.labels.iter().flatten().all(|&class| class < 10)),
        Err(error) => refused(&error),
    }
    // Nobody tells when the last input was.
    std::fs::remove_dir_all(folder).expect("a folder of its own");
}

/// A folder of this process, in memory where there is such a file system.
fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let root = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = root.join(format!("mobileight-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder to write to");
    folder
}

/// An `.npy` file; what is read must be as long as it says.
pub fn npy(bytes: &[u8]) {
    match npy::parse(bytes) {
        Ok(tensor) => assert_eq!(tensor.data.view().len(), tensor.shape.iter().product::<usize>()),
        Err(error) => assert!(!format!("{error:#}").is_empty()),
    }
}
