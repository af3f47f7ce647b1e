//! Files made to do harm, each refused in words by what reads it or by the plan.

#[path = "common/mod.rs"]
mod common;
#[allow(dead_code, reason = "no test uses all of it")]
#[path = "common/file.rs"]
mod file;

use std::sync::Arc;

use common::models;
use file::{Builder, FileSpec, OperatorSpec, TensorSpec, int8, int32, operator};
use flatbuffers::{UnionWIPOffset, WIPOffset};
use mobileight_runtime::{
    Data, Exceeded, Layout, Limit, Limits, Plan, PlanOptions, Session, Tensor,
};
use mobileight_tflite::{Error, compile_within, read, read_file_within, read_within};
use tract_tflite::tflite::{
    BuiltinOperator, BuiltinOptions, Conv2DOptions, Conv2DOptionsArgs, Padding, TensorType,
    root_as_model,
};

/// Strides, dilations and padding of a convolution.
type Window = (i32, i32, Padding);

fn options(b: &mut Builder, window: Window) -> (BuiltinOptions, WIPOffset<UnionWIPOffset>) {
    let (stride, dilation, padding) = window;
    let options = Conv2DOptionsArgs {
        padding,
        stride_w: stride,
        stride_h: stride,
        dilation_w_factor: dilation,
        dilation_h_factor: dilation,
        ..Default::default()
    };
    (BuiltinOptions::Conv2DOptions, Conv2DOptions::create(b, &options).as_union_value())
}

fn conv(options: fn(&mut Builder) -> (BuiltinOptions, WIPOffset<UnionWIPOffset>)) -> FileSpec {
    let weights = TensorSpec {
        zero_points: vec![0],
        data: Some(vec![127; 3 * 3 * 2]),
        ..int8(&[1, 3, 3, 2])
    };
    FileSpec::new(
        vec![int8(&[1, 8, 8, 2]), weights, int32(&[1], &[0]), int8(&[1, 8, 8, 1])],
        vec![OperatorSpec {
            options: Some(options),
            ..operator(BuiltinOperator::CONV_2D, &[0, 1, 2], 3)
        }],
    )
}

fn sound() -> FileSpec {
    conv(|b| options(b, (1, 1, Padding::SAME)))
}

fn relu() -> FileSpec {
    let tensors = vec![int8(&[1, 4]), int8(&[1, 4]), int8(&[1, 4])];
    let relu = |from, to| operator(BuiltinOperator::RELU, &[from], to);
    FileSpec::new(tensors, vec![relu(0, 1), relu(1, 2)])
}

fn change(mut file: FileSpec, change: impl FnOnce(&mut FileSpec)) -> FileSpec {
    change(&mut file);
    file
}

/// Reads, plans and runs on zeros.
fn run(bytes: Vec<u8>) -> Result<(), String> {
    let graph = Arc::new(read(bytes).map_err(|error| error.to_string())?);
    let plan = Plan::new(Arc::clone(&graph), PlanOptions::default());
    let plan = Arc::new(plan.map_err(|error| error.to_string())?);
    let zeros = |&id: &usize| {
        let shape = plan.shape(id).unwrap().to_vec();
        let data = Data::zeros(graph.tensors()[id].element_type, shape.iter().product()).unwrap();
        Tensor { shape, data }
    };
    let inputs: Vec<Tensor> = graph.inputs().iter().map(zeros).collect();
    let views: Vec<_> = inputs.iter().map(Tensor::view).collect();
    Session::new(plan).run(&views).map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn hostile_files_are_refused_in_words() {
    assert_eq!(run(sound().bytes()), Ok(()));
    assert_eq!(run(relu().bytes()), Ok(()));
    let scale = |scale: f32| change(relu(), |file| file.tensors[1].scales = vec![scale]);
    let zero = |zero: i64| change(relu(), |file| file.tensors[1].zero_points = vec![zero]);
    let shape = |shape: &[i32]| change(relu(), |file| file.tensors[0].shape = shape.to_vec());
    let uint8 = |zero: i64| {
        change(relu(), |file| {
            for tensor in &mut file.tensors {
                tensor.element_type = TensorType::UINT8;
                tensor.zero_points = vec![zero];
            }
        })
    };
    let bias = |bias: i32| {
        change(sound(), |file| file.tensors[2].data = Some(bias.to_le_bytes().to_vec()))
    };
    let wired = |inputs: [i32; 2], outputs: [i32; 2]| {
        change(relu(), |file| {
            for ((operator, input), output) in file.operators.iter_mut().zip(inputs).zip(outputs) {
                (operator.inputs, operator.outputs) = (vec![input], vec![output]);
            }
        })
    };
    let window = |options| conv(options);
    let cases = [
        (scale(0.0), "scale 0"),
        (scale(-1.0), "scale -1"),
        (scale(f32::NAN), "scale NaN"),
        (scale(f32::INFINITY), "scale inf"),
        // The smallest number that there is: a factor between it and any other scale overflows.
        (scale(f32::from_bits(1)), "RELU"),
        (scale(f32::MAX), "RELU"),
        (zero(128), "zero point 128"),
        (zero(-129), "zero point -129"),
        (zero(i64::MIN), "zero point -9223372036854775808"),
        (uint8(256), "zero point 256"),
        (uint8(-1), "zero point -1"),
        (shape(&[65536, 65536, 65536, 65536]), "too large"),
        (shape(&[i32::MAX; 8]), "too large"),
        (shape(&[1, 0]), "empty"),
        (shape(&[1; 9]), "9 dimensions"),
        (shape(&[i32::MIN, 1]), "negative"),
        // A cycle, an order that cannot run, one tensor written twice, the input overwritten, a tensor that is not there.
        (wired([2, 1], [1, 2]), "nothing before it computes"),
        (wired([1, 0], [2, 1]), "nothing before it computes"),
        (wired([0, 0], [1, 1]), "already written"),
        (wired([0, 1], [1, 0]), "is an input"),
        (wired([0, 3], [1, 2]), "there are 3 tensors"),
        (wired([0, i32::MIN], [1, 2]), "there are 3 tensors"),
        (window(|b| options(b, (0, 1, Padding::SAME))), "stride"),
        (window(|b| options(b, (-1, 1, Padding::SAME))), "stride"),
        (window(|b| options(b, (1, 0, Padding::SAME))), "dilation"),
        (window(|b| options(b, (1, 4, Padding::VALID))), "does not fit"),
        (window(|b| options(b, (1, i32::MAX, Padding::VALID))), "does not fit"),
        (window(|b| options(b, (1, i32::MAX, Padding::SAME))), "too large"),
        (window(|b| options(b, (i32::MAX, i32::MAX, Padding::SAME))), "too large"),
        (window(|b| options(b, (1, 1, Padding(2)))), "padding is 2"),
        // 18 weights of 127 times 131, the largest difference from zero point 3, and a bias: 299,466 below 2^31.
        (bias(i32::MAX - 127 * 18 * 131 + 1), "does not fit in 32 bits"),
        (bias(i32::MIN), "output channel 0 could accumulate to 2147783114"),
    ];
    for (file, words) in cases {
        let error = run(file.bytes()).expect_err(words);
        assert!(error.contains(words), "{words}: {error}");
    }
    // Large but possible: dilation past the input under padding, strides past it, a bias at the border.
    for file in [
        window(|b| options(b, (1, 1000, Padding::SAME))),
        window(|b| options(b, (1000, 1, Padding::VALID))),
        bias(i32::MAX - 127 * 18 * 131),
        bias(-(i32::MAX - 127 * 18 * 131)),
    ] {
        assert_eq!(run(file.bytes()), Ok(()));
    }
}

#[test]
fn more_than_the_file_can_hold_is_refused() {
    let bytes = relu().bytes();
    let model = root_as_model(&bytes).unwrap();
    let graph = model.subgraphs().unwrap().get(0);
    let tensors = graph.tensors().unwrap().bytes().as_ptr().addr();
    let operators = graph.operators().unwrap().bytes().as_ptr().addr();
    let shape = graph.tensors().unwrap().get(0).shape().unwrap().bytes().as_ptr().addr();
    // The number of elements is in the four bytes before a vector's first.
    for start in [tensors, operators, shape] {
        let at = start - bytes.as_ptr().addr() - 4;
        for count in [1u32 << 20, 1 << 31, u32::MAX] {
            let mut claims = bytes.clone();
            claims[at..at + 4].copy_from_slice(&count.to_le_bytes());
            let error = read(claims).unwrap_err();
            assert!(error.to_string().len() > 20, "{error}");
        }
    }
}

fn exceeded(error: &Error) -> Exceeded {
    match error.in_content() {
        Error::Graph(mobileight_runtime::Error::Limit(exceeded)) => *exceeded,
        _ => panic!("{error}"),
    }
}

#[test]
fn each_limit_of_the_reader_is_kept() {
    let bytes = relu().bytes();
    let length = bytes.len() as u64;
    for (limit, found) in [(Limit::ModelBytes, length), (Limit::Tensors, 3), (Limit::Operators, 2)]
    {
        let within = |most| read_within(bytes.clone(), &Limits::default().with(limit, most));
        assert!(within(found).is_ok());
        let error = within(found - 1).unwrap_err();
        assert_eq!(exceeded(&error), Exceeded { limit, found, most: found - 1 });
    }
    // The list of outputs may name one tensor any number of times.
    let outputs = change(relu(), |file| file.operators[1].outputs = vec![2; 70_000]);
    assert!(read(outputs.bytes()).is_err());

    let folder = std::env::temp_dir().join(format!("mobileight-hostile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [model, labels, output] = ["a.tflite", "a.txt", "a.mb8"].map(|name| folder.join(name));
    std::fs::write(&model, &bytes).unwrap();
    std::fs::write(&labels, "a\nb\nc\nd\n").unwrap();
    let few = Limits::default().with(Limit::ModelBytes, length - 1);
    let error = read_file_within(&model, &few).unwrap_err();
    assert_eq!(exceeded(&error).limit, Limit::ModelBytes);
    assert!(error.to_string().contains("a.tflite"), "{error}");
    let most = |most| Limits::default().with(Limit::LabelBytes, most);
    compile_within(&model, Some(&labels), &output, &most(8)).unwrap();
    let error = compile_within(&model, Some(&labels), &output, &most(7)).unwrap_err();
    assert_eq!(exceeded(&error), Exceeded { limit: Limit::LabelBytes, found: 8, most: 7 });
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Constants that all are one buffer: the file is small, what is made of it would not be.
#[test]
fn shared_buffers_do_not_multiply() {
    let constant = TensorSpec { data: Some(vec![1; 1 << 16]), ..int8(&[1, 1 << 16]) };
    let mut tensors = vec![int8(&[1, 1 << 16])];
    let mut operators = Vec::new();
    for at in 0..64 {
        let (own, sum) = (1 + 2 * at, 2 + 2 * at);
        tensors.extend([constant.clone(), int8(&[1, 1 << 16])]);
        let before = if at == 0 { 0 } else { sum - 2 };
        operators.push(operator(BuiltinOperator::ADD, &[before, own], sum));
    }
    let graph = Arc::new(read(FileSpec::new(tensors, operators).bytes()).unwrap());
    let limits = Limits::default().with(Limit::MemoryBytes, 1 << 20);
    let mut refused = None;
    let used = allocation_counter::measure(|| {
        refused = Plan::new(graph, PlanOptions::default().limits(limits)).err();
    });
    let Some(mobileight_runtime::Error::Limit(exceeded)) = refused else { panic!("{refused:?}") };
    assert_eq!(exceeded.limit, Limit::MemoryBytes);
    assert!(used.bytes_max < 2 << 20, "{}", used.bytes_max);
}

#[test]
fn archives_are_unpacked_within_the_limit() {
    let Some(folder) = models() else { return };
    let bytes = std::fs::read(folder.join("mobilenet_v1_0.25_224_float_metadata.tflite")).unwrap();
    let labels = read(bytes.clone()).unwrap().metadata().labels.clone().unwrap();
    let length: usize = labels.iter().map(|label| label.len() + 1).sum();
    let within =
        |most| read_within(bytes.clone(), &Limits::default().with(Limit::LabelBytes, most));
    assert!(within(length as u64 + 1000).is_ok());
    let error = within(1000).unwrap_err();
    assert_eq!(exceeded(&error), Exceeded { limit: Limit::LabelBytes, found: 1001, most: 1000 });
}

/// What is real keeps far away from every limit.
#[test]
fn real_models_are_far_below_the_limits() {
    let Some(folder) = models() else { return };
    let limits = Limits::default();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(graph) = read_file_within(&path, &limits) else { continue };
        let layout = Layout::new(&graph, &[], false).unwrap();
        for (limit, found) in [
            (Limit::ModelBytes, std::fs::metadata(&path).unwrap().len()),
            (Limit::Tensors, graph.tensors().len() as u64),
            (Limit::Operators, graph.operators().len() as u64),
            (Limit::MemoryBytes, layout.arena_bytes()),
            (Limit::MultiplyAdds, layout.work(&graph)),
        ] {
            println!("{}: {limit} {found}", path.display());
            assert!(found < limits.get(limit) / 8, "{}: {limit} {found}", path.display());
        }
        count += 1;
    }
    assert!(count > 20, "{count}");
}
