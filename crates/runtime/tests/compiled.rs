//! Compiled models: what is written is read back, and what is wrong is refused in words.

use std::collections::BTreeSet;

use mobileight_runtime::compiled::{VERSION, read, write};
use mobileight_runtime::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, Error, Graph, GraphTensor, Metadata,
    Normalization, Operator, OperatorKind, Padding, Pool2d, Quantization,
};

const SIZE: [usize; 2] = [7, 9];

/// One of each operator, with parameters that differ from each other.
fn kinds() -> Vec<OperatorKind> {
    let pool =
        |padding| Pool2d { filter: [2, 3], stride: [4, 5], padding, activation: Activation::Relu };
    vec![
        OperatorKind::Conv2d(Conv2d {
            stride: [1, 2],
            dilation: [3, 4],
            padding: Padding::Same,
            activation: Activation::Relu6,
        }),
        OperatorKind::DepthwiseConv2d(DepthwiseConv2d {
            stride: [5, 6],
            dilation: [7, 8],
            padding: Padding::Valid,
            depth_multiplier: 9,
            activation: Activation::ReluN1To1,
        }),
        OperatorKind::FullyConnected { activation: Activation::None, keep_dimensions: true },
        OperatorKind::Add(Activation::Relu),
        OperatorKind::Sub(Activation::Relu6),
        OperatorKind::Mul(Activation::ReluN1To1),
        OperatorKind::AveragePool2d(pool(Padding::Same)),
        OperatorKind::MaxPool2d(pool(Padding::Valid)),
        OperatorKind::Mean { axes: vec![1, 2], keep_dimensions: false },
        OperatorKind::Pad { paddings: vec![[0, 0], [1, 2]], value: None },
        OperatorKind::Pad { paddings: vec![[3, 4]], value: Some(-5) },
        OperatorKind::Reshape { shape: vec![1, -1, 3] },
        OperatorKind::Squeeze { axes: vec![0, 3] },
        OperatorKind::Softmax { beta: 0.75 },
        OperatorKind::Logistic,
        OperatorKind::HardSwish,
        OperatorKind::Relu,
        OperatorKind::Relu6,
        OperatorKind::LeakyRelu { alpha: -0.125 },
        OperatorKind::Quantize,
        OperatorKind::Dequantize,
        OperatorKind::Concatenation { axis: 3, activation: Activation::None },
        OperatorKind::ResizeBilinear { size: SIZE, align_corners: true, half_pixel_centers: false },
        OperatorKind::ResizeNearestNeighbor {
            size: SIZE,
            align_corners: false,
            half_pixel_centers: true,
        },
        OperatorKind::ArgMax { axis: 2 },
    ]
}

fn tensor(name: &str, element_type: ElementType, data: Option<Vec<u8>>) -> GraphTensor {
    GraphTensor {
        name: name.into(),
        element_type,
        shape: vec![2, 3],
        quantization: None,
        data: data.map(Into::into),
    }
}

/// Every operator, element type and kind of quantization; the shapes fit nothing, which only a plan would find.
fn graph() -> Graph {
    let all = [
        ElementType::U8,
        ElementType::I8,
        ElementType::I16,
        ElementType::I32,
        ElementType::I64,
        ElementType::F16,
        ElementType::F32,
        ElementType::Bool,
    ];
    let mut tensors = vec![tensor("input é", ElementType::U8, None)];
    tensors[0].quantization = Some(Quantization::PerTensor { scale: 0.1, zero_point: 128 });
    for (at, element_type) in all.into_iter().enumerate() {
        let bytes = (0..6 * element_type.size()).map(|byte| (byte + at) as u8).collect();
        tensors.push(tensor("", element_type, Some(bytes)));
    }
    tensors[2].quantization = Some(Quantization::PerChannel {
        scales: vec![0.5, 0.25, 1e-9],
        zero_points: vec![0, -3, 7],
        axis: 1,
    });
    let mut operators = Vec::new();
    for kind in kinds() {
        let output = tensors.len();
        let binary = matches!(kind.name(), "ADD" | "SUB" | "MUL" | "FULLY_CONNECTED")
            || kind.name().ends_with("CONV_2D");
        let inputs = if binary { vec![0, 2] } else { vec![output - 1] };
        operators.push(Operator { kind, inputs, output });
        tensors.push(tensor(&format!("t{output}"), ElementType::I8, None));
    }
    let last = tensors.len() - 1;
    let metadata = Metadata {
        name: Some("n".into()),
        description: None,
        labels: Some(vec!["cat".into(), String::new(), "høne".into()]),
        normalization: Some(Normalization { mean: vec![127.5], standard_deviation: vec![-0.5] }),
    };
    Graph::new(tensors, operators, vec![0], vec![last, 9], metadata).unwrap()
}

/// The smallest graph with a constant.
fn small() -> Graph {
    let tensors = vec![
        tensor("x", ElementType::I8, None),
        tensor("w", ElementType::I8, Some(vec![1, 2, 3, 4, 5, 6])),
        tensor("y", ElementType::I8, None),
    ];
    let kind = OperatorKind::Add(Activation::None);
    let add = Operator { kind, inputs: vec![0, 1], output: 2 };
    Graph::new(tensors, vec![add], vec![0], vec![2], Metadata::default()).unwrap()
}

/// The same bytes with the checksum that they should have.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes[12..]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn everything_is_read_back() {
    let graph = graph();
    let names: BTreeSet<_> = graph.operators().iter().map(|o| o.kind.name()).collect();
    assert_eq!(names.len(), 25, "each operator, PAD and PADV2");
    let bytes = write(&graph);
    let again = read(bytes.clone()).unwrap();
    assert_eq!(again, graph);
    assert_eq!(write(&again), bytes);
}

#[test]
fn constants_stay_where_they_are() {
    let bytes: &'static [u8] = write(&small()).leak();
    let graph = read(bytes).unwrap();
    let data = graph.tensors()[1].data.as_ref().unwrap();
    assert!(bytes.as_ptr_range().contains(&data.as_ptr()));
    assert_eq!(data.as_ptr().addr() - bytes.as_ptr().addr(), (bytes.len() - 6) / 16 * 16);
    assert_eq!(**data, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn parts_of_a_file_are_refused() {
    let bytes = write(&small());
    for length in 0..bytes.len() {
        let error = read(bytes[..length].to_vec()).unwrap_err();
        match length {
            0..4 => assert!(matches!(error, Error::NotCompiled { .. }), "{length}: {error}"),
            _ => assert!(matches!(error, Error::CompiledIncomplete { .. }), "{length}: {error}"),
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(read(longer), Err(Error::CompiledIncomplete { .. })));
    assert!(read(b"\x1c\0\0\0TFL3").unwrap_err().to_string().contains("mobileight compile"));
}

#[test]
fn other_versions_are_refused_with_what_to_do() {
    let mut bytes = write(&small());
    bytes[4..8].copy_from_slice(&(VERSION + 1).to_le_bytes());
    // What follows may be anything in another version, the checksum included.
    bytes.truncate(9);
    let error = read(bytes.clone()).unwrap_err();
    assert_eq!(error, Error::CompiledVersion { found: VERSION + 1, known: VERSION });
    assert!(error.to_string().contains("newer MobilEight"), "{error}");
    bytes[4] = 0;
    assert!(read(bytes).unwrap_err().to_string().contains("again"));
}

#[test]
fn every_changed_byte_is_found_by_the_checksum() {
    let bytes = write(&small());
    for at in 8..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let error = read(changed).unwrap_err();
        match at {
            12..20 => assert!(matches!(error, Error::CompiledIncomplete { .. }), "{at}: {error}"),
            _ => assert!(matches!(error, Error::CompiledChecksum { .. }), "{at}: {error}"),
        }
    }
}

/// Every byte of the structure, changed in several ways under a right checksum: refused in words, or another graph that says all that the
/// bytes say.
#[test]
fn every_changed_byte_is_refused_or_meant() {
    let original = write(&graph());
    let (mut refused, mut taken) = (0, 0);
    for at in 12..original.len() {
        for change in [1, 2, 0x80, 0xff] {
            let mut bytes = original.clone();
            bytes[at] ^= change;
            let bytes = sealed(bytes);
            match read(bytes.clone()) {
                Ok(graph) => {
                    taken += 1;
                    assert_eq!(write(&graph), bytes, "byte {at} says nothing");
                }
                Err(error) => {
                    refused += 1;
                    assert!((20..2000).contains(&error.to_string().len()), "{error}");
                }
            }
        }
    }
    println!("{refused} refused, {taken} taken");
    assert!(refused > 2000 && taken > 1000, "{refused} refused, {taken} taken");
}

#[test]
fn refusals_say_where_and_what() {
    let bytes = write(&small());
    let changed = |at: usize, new: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        read(sealed(bytes)).unwrap_err().to_string()
    };
    // The metadata, which is absent, has four bytes; then come the number of tensors and the name of the first.
    let tensors = 28 + 4;
    let huge = u64::MAX.to_le_bytes();
    for (at, new, words) in [
        (20, &huge[..], "byte 28, header: the structure has 18446744073709551615 bytes"),
        (28, &[2], "byte 28, metadata.name: found 2, expected 0 (no), 1 (yes)"),
        (tensors, &huge, "byte 32, tensors: has 18446744073709551615 elements"),
        (tensors + 8, &huge, "byte 40, tensors[0].name: has 18446744073709551615 elements"),
        (tensors + 16, &[0xff], "byte 48, tensors[0].name: is not text"),
        (tensors + 17, &[5], "byte 49, tensors[0].element_type: found 5, expected 0 (F32)"),
    ] {
        let message = changed(at, new);
        assert!(message.contains(words), "{message}");
        assert!(message.contains("compile the .tflite file again"), "{message}");
    }
    // The last number of the structure is the output's tensor, before the constant.
    let end = 28 + u64::from_le_bytes(bytes[20..28].try_into().unwrap()) as usize;
    assert!(changed(end - 8, &[9]).contains("output is tensor 9"));
    assert!(changed(end, &[1]).contains("before a constant are not zero"));
    assert!(changed(20, &[bytes[20] - 1]).contains("outputs: has 1 elements"));
}

#[test]
fn lists_are_bounded_by_the_file() {
    let mut bytes = write(&graph());
    let labels = bytes.windows(3).position(|part| part == b"cat").unwrap() - 16;
    for count in [u64::MAX, 1 << 40, bytes.len() as u64] {
        bytes[labels..labels + 8].copy_from_slice(&count.to_le_bytes());
        let bytes = sealed(bytes.clone());
        let used = allocation_counter::measure(|| {
            assert!(matches!(read(bytes.clone()), Err(Error::InvalidCompiled { .. })));
        });
        assert!(used.bytes_max < 100_000, "{}", used.bytes_max);
    }
}

#[test]
fn graphs_that_cannot_be_are_refused_after_reading() {
    let parameters = |kind: OperatorKind| {
        let tensors = vec![tensor("x", ElementType::I8, None), tensor("y", ElementType::I8, None)];
        let operators = vec![Operator { kind, inputs: vec![0], output: 1 }];
        Graph::new(tensors, operators, vec![0], vec![1], Metadata::default())
    };
    let pool = |stride| Pool2d {
        filter: [1, 1],
        stride,
        padding: Padding::Same,
        activation: Activation::None,
    };
    for kind in [
        OperatorKind::MaxPool2d(pool([0, 1])),
        OperatorKind::AveragePool2d(pool([1, usize::MAX])),
        OperatorKind::Softmax { beta: f32::NAN },
        OperatorKind::Mean { axes: vec![1, 1], keep_dimensions: false },
        OperatorKind::Squeeze { axes: (0..9).collect() },
        OperatorKind::Reshape { shape: vec![1; 9] },
        OperatorKind::ResizeBilinear {
            size: [0, 1],
            align_corners: false,
            half_pixel_centers: false,
        },
        OperatorKind::ResizeBilinear { size: SIZE, align_corners: true, half_pixel_centers: true },
    ] {
        let error = parameters(kind.clone()).unwrap_err();
        assert!(matches!(error, Error::InvalidOperator { index: 0, .. }), "{kind:?}: {error}");
    }
    let metadata = Metadata {
        normalization: Some(Normalization { mean: vec![0.0], standard_deviation: vec![0.0] }),
        ..Metadata::default()
    };
    let same = small();
    let tensors = same.tensors().to_vec();
    let graph = Graph::new(tensors, same.operators().to_vec(), vec![0], vec![2], metadata);
    assert!(matches!(graph, Err(Error::InvalidGraph(_))));
}
