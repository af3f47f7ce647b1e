//! Every tensor of float models against what LiteRT's float kernels computed.
//!
//! `tests/reference/NAME.json` has LiteRT's values, written by `tests/python/record_reference.py`; the inputs are made again here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mobileight_reference::{Error, Kind, Reference, ReferenceOptions};
use mobileight_runtime::{
    Data, DataView, Graph, Limit, Limits, OperatorKind, Plan, PlanOptions, Quantization, Session,
    Tensor, TensorView,
};
use serde_json::Value;

/// Largest difference of a tensor's elements, as a share of its largest magnitude.
const RELATIVE: f32 = 1e-4;
/// Largest difference of a probability.
const PROBABILITY: f32 = 1e-5;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference")
}

/// The models that are not in the repository; `None`, and a word about it, when they are not there.
fn shared() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let data = std::env::var_os("MOBILEIGHT_TEST_DATA").map_or_else(default, PathBuf::from);
    let models = data.join("models");
    if models.is_dir() {
        return Some(models);
    }
    let required = std::env::var_os("MOBILEIGHT_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
    assert!(!required, "no test data at {}", models.display());
    println!("skipped: no test data at {}", models.display());
    None
}

fn read(path: &Path) -> Arc<Graph> {
    Arc::new(mobileight_tflite::read_file(path).unwrap())
}

/// The numbers of `record_reference.py`.
fn noise(shape: &[usize]) -> Tensor {
    let number = |at: usize| {
        let mixed = (at as u64 + 1).wrapping_mul(2_654_435_761) & 0xffff_ffff;
        (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(number).collect();
    Tensor::new(shape.to_vec(), values)
}

fn floats<'a>(view: DataView<'a>) -> &'a [f32] {
    match view {
        DataView::F32(values) => values,
        other => panic!("{}", other.element_type()),
    }
}

fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

/// Compares a model's tensors and output with what is recorded; `relative` is for intermediates.
fn check(path: &Path, relative: f32, probability: f32) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let recorded = fs::read(folder().join(format!("{name}.json"))).unwrap();
    let recorded: Value = serde_json::from_slice(&recorded).unwrap();
    let graph = read(path);
    let options = ReferenceOptions::default().keep_intermediates(true);
    let reference = Reference::new(Arc::clone(&graph), options).unwrap();
    assert_eq!(reference.kind(), Kind::Float);
    let input = noise(reference.shape(graph.inputs()[0]).unwrap());
    let tensors = reference.run_all(&[input.view()]).unwrap();
    let (mut worst, mut compared) = (0f32, 0);
    for operator in graph.operators() {
        let (id, kind) = (operator.output, operator.kind.name());
        let found = floats(tensors.get(id).unwrap().data);
        let Some(expected) = recorded["tensors"].get(id.to_string()) else { continue };
        assert_eq!(expected["count"].as_u64().unwrap() as usize, found.len(), "{name} {kind} {id}");
        let limit = match operator.kind {
            OperatorKind::Softmax { .. } => probability,
            _ => relative * number(&expected["largest"]),
        };
        let places = expected["places"].as_array().unwrap();
        for (place, value) in places.iter().zip(expected["values"].as_array().unwrap()) {
            let found = found[place.as_u64().unwrap() as usize];
            let difference = (found - number(value)).abs();
            assert!(
                difference <= limit,
                "{name} {kind} tensor {id} element {place}: {found}, LiteRT has {value}"
            );
            worst = worst.max(difference / number(&expected["largest"]).max(1e-30));
        }
        compared += 1;
    }
    assert!(compared * 10 >= graph.operators().len() * 9, "{name}: only {compared} tensors");
    let output = recorded["output"].as_array().unwrap();
    let found = floats(tensors.outputs()[0].view().data);
    assert_eq!(found.len(), output.len());
    let difference = found.iter().zip(output).map(|(f, e)| (f - number(e)).abs());
    let difference = difference.fold(0f32, f32::max);
    assert!(difference <= probability, "{name}: output differs by {difference}");
    println!("{name}: {compared} tensors within {worst:.1e}, output within {difference:.1e}");
}

#[test]
fn small_models_equal_litert() {
    for name in ["small_float32", "small_float16"] {
        check(&folder().join(format!("models/{name}.tflite")), RELATIVE, PROBABILITY);
    }
}

/// LiteRT rounds the activations of dynamic-range models to 8 bits as well; the reference does not.
#[test]
fn a_dynamic_range_model_is_near_litert() {
    check(&folder().join("models/small_dynamic_range.tflite"), 0.05, 0.05);
}

#[test]
fn published_models_equal_litert() {
    let Some(models) = shared() else { return };
    let is_float = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.contains("float") && !name.contains("int8") && name.ends_with(".tflite")
    };
    let mut paths: Vec<PathBuf> =
        fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path()).filter(is_float).collect();
    paths.sort();
    assert!(paths.len() >= 5, "{paths:?}");
    for path in paths {
        check(&path, RELATIVE, PROBABILITY);
    }
}

/// An operator alone gives what it gives within the network, and a quantized graph takes codes and real values alike.
#[test]
fn slices_and_codes_give_the_same() {
    let graph = read(&folder().join("models/small_float32.tflite"));
    let keep = ReferenceOptions::default().keep_intermediates(true);
    let whole = Reference::new(Arc::clone(&graph), keep.clone()).unwrap();
    let input = noise(whole.shape(graph.inputs()[0]).unwrap());
    let tensors = whole.run_all(&[input.view()]).unwrap();
    for (index, operator) in graph.operators().iter().enumerate() {
        let part = Arc::new(graph.slice(index..index + 1).unwrap());
        let alone = Reference::new(Arc::clone(&part), ReferenceOptions::default()).unwrap();
        let inputs: Vec<_> = part
            .inputs()
            .iter()
            .map(|&id| tensors.get(id).unwrap_or_else(|| input.view()))
            .collect();
        let found = alone.run(&inputs).unwrap();
        let expected = floats(tensors.get(operator.output).unwrap().data);
        for (a, b) in floats(found[0].view().data).iter().zip(expected) {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{}: {a} {b}", operator.kind);
        }
    }
}

#[test]
fn batches_equal_single_runs() {
    let graph = read(&folder().join("models/small_float16.tflite"));
    let reference = Reference::new(Arc::clone(&graph), ReferenceOptions::default()).unwrap();
    let shape = reference.shape(graph.inputs()[0]).unwrap().to_vec();
    let images: Vec<Tensor> = (0..5)
        .map(|at| {
            let Data::F32(mut values) = noise(&shape).data else { unreachable!() };
            values.rotate_left(at * 31);
            Tensor::new(shape.clone(), values)
        })
        .collect();
    let batch: Vec<_> = images.iter().map(|image| vec![image.view()]).collect();
    let together = reference.run_batch(&batch).unwrap();
    for (image, outputs) in images.iter().zip(together) {
        assert_eq!(reference.run(&[image.view()]).unwrap(), outputs);
    }
}

#[test]
fn bad_input_is_refused() {
    let graph = read(&folder().join("models/small_float32.tflite"));
    let reference = Reference::new(Arc::clone(&graph), ReferenceOptions::default()).unwrap();
    assert!(matches!(reference.run(&[]), Err(Error::InputCount { expected: 1, found: 0 })));
    let shape = reference.shape(graph.inputs()[0]).unwrap().to_vec();
    let wrong = noise(&[1, 2, 2, 3]);
    assert!(matches!(reference.run(&[wrong.view()]), Err(Error::Input { .. })));
    let count = shape.iter().product();
    let codes = Tensor::new(shape.clone(), vec![0u8; count]);
    assert!(matches!(reference.run(&[codes.view()]), Err(Error::Input { .. })));
    let mut values = vec![0f32; count];
    values[7] = f32::NAN;
    let broken = Tensor::new(shape, values);
    let error = reference.run(&[broken.view()]).unwrap_err();
    assert!(matches!(error, Error::NotFinite { element: 7, .. }), "{error}");
    for limit in [Limit::MemoryBytes, Limit::MultiplyAdds] {
        let small = ReferenceOptions::default().limits(Limits::default().with(limit, 1000));
        let error = Reference::new(Arc::clone(&graph), small).unwrap_err();
        let Error::Graph(mobileight_runtime::Error::Limit(exceeded)) = error else {
            panic!("{error}")
        };
        assert_eq!((exceeded.limit, exceeded.most), (limit, 1000));
    }
}

/// Real values of an 8-bit tensor, or of a float one as they are.
fn real(view: TensorView<'_>, quantization: Option<&Quantization>) -> Vec<f32> {
    let (scale, zero_point) = quantization.and_then(Quantization::per_tensor).unwrap_or((1.0, 0));
    let value = |code: i32| scale * (code - zero_point) as f32;
    match view.data {
        DataView::U8(codes) => codes.iter().map(|&code| value(code.into())).collect(),
        DataView::I8(codes) => codes.iter().map(|&code| value(code.into())).collect(),
        DataView::F32(values) => values.to_vec(),
        other => panic!("{}", other.element_type()),
    }
}

/// Rounding the activations is all that an INT8 network does beside its dequantized reference: every tensor is near it.
#[test]
fn quantized_models_are_near_their_own_fp32() {
    let Some(models) = shared() else { return };
    for (name, least) in [
        ("keras_mobilenet_v1_0.75_224_int8", 15.0),
        ("mobilenet_v1_0.5_160_quant", 15.0),
        ("mobilenet_v2_1.0_224_quant", 10.0),
        ("efficientnet_lite0_224_int8", 8.0),
    ] {
        let graph = read(&models.join(format!("{name}.tflite")));
        let tensors = graph.tensors();
        let id = graph.inputs()[0];
        let Data::F32(values) = noise(&tensors[id].shape).data else { unreachable!() };
        // Smooth enough to be like an image, which white noise is not.
        let smooth: Vec<f32> =
            values.chunks(3000).flat_map(|part| vec![part[0]; part.len()]).collect();
        let codes: Data = match tensors[id].element_type.is_8_bit() {
            true if tensors[id].element_type.name() == "uint8" => {
                smooth.iter().map(|v| (v * 127.0 + 128.0) as u8).collect::<Vec<u8>>().into()
            }
            _ => smooth.iter().map(|v| (v * 127.0) as i8).collect::<Vec<i8>>().into(),
        };
        let input = Tensor::new(tensors[id].shape.clone(), codes);
        let plan = Plan::new(Arc::clone(&graph), PlanOptions::default().keep_intermediates(true));
        let mut session = Session::new(Arc::new(plan.unwrap()));
        session.run(&[input.view()]).unwrap();
        let options = ReferenceOptions::default().keep_intermediates(true);
        let reference = Reference::new(Arc::clone(&graph), options).unwrap();
        assert_eq!(reference.kind(), Kind::Dequantized);
        let exact = reference.run_all(&[input.view()]).unwrap();
        let mut lowest = f64::INFINITY;
        for operator in graph.operators() {
            let own = session.tensor(operator.output).unwrap();
            let own = real(own.view(), tensors[operator.output].quantization.as_ref());
            let exact = floats(exact.get(operator.output).unwrap().data);
            let power: f64 = exact.iter().map(|&v| f64::from(v).powi(2)).sum();
            let noise: f64 = exact.iter().zip(&own).map(|(&a, &b)| f64::from(a - b).powi(2)).sum();
            let sqnr = 10.0 * (power / noise).log10();
            assert!(sqnr > least, "{name} {} {}: {sqnr:.1} dB", operator.kind, operator.output);
            lowest = lowest.min(sqnr);
        }
        println!("{name}: lowest SQNR {lowest:.1} dB");
    }
}
