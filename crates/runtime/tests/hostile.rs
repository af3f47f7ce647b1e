//! Graphs made to need far more than they look like: planning keeps to the limit on memory, or nearly.

use std::sync::Arc;

use mobileight_runtime::{
    Activation, Conv2d, DepthwiseConv2d, ElementType, Error, Graph, GraphTensor, InstructionSet,
    Limit, Limits, Metadata, Operator, OperatorKind, Padding, Plan, PlanOptions, Pool2d,
    Quantization, compiled,
};

const LIMIT: u64 = 8 << 20;

fn tensor(shape: &[usize], data: Option<Vec<u8>>) -> GraphTensor {
    GraphTensor {
        name: String::new(),
        element_type: ElementType::I8,
        shape: shape.to_vec(),
        quantization: Some(Quantization::PerTensor { scale: 0.5, zero_point: 0 }),
        data: data.map(Into::into),
    }
}

/// Weights of ones.
fn weights(shape: &[usize]) -> GraphTensor {
    tensor(shape, Some(vec![1; shape.iter().product()]))
}

/// The first tensor is the input, the last operator's output the output.
fn graph(tensors: Vec<GraphTensor>, operators: Vec<(OperatorKind, Vec<usize>, usize)>) -> Graph {
    let operators: Vec<Operator> = operators
        .into_iter()
        .map(|(kind, inputs, output)| Operator { kind, inputs, output })
        .collect();
    let output = operators.last().unwrap().output;
    Graph::new(tensors, operators, vec![0], vec![output], Metadata::default()).unwrap()
}

fn conv(dilation: usize) -> OperatorKind {
    OperatorKind::Conv2d(Conv2d {
        stride: [1, 1],
        dilation: [dilation; 2],
        padding: Padding::Same,
        activation: Activation::None,
    })
}

fn sets() -> impl Iterator<Item = InstructionSet> {
    InstructionSet::ALL.into_iter().filter(|set| set.is_available())
}

/// Plans within the limit by each instruction set: refused, and without much more memory than that.
#[track_caller]
fn refused(graph: Graph) {
    let graph = Arc::new(graph);
    for set in sets() {
        let limits = Limits::default().with(Limit::MemoryBytes, LIMIT);
        let options = PlanOptions::default().limits(limits).instruction_set(set);
        let mut result = None;
        let used = allocation_counter::measure(|| {
            result = Some(Plan::new(Arc::clone(&graph), options.clone()).err());
        });
        let error = result.flatten().unwrap_or_else(|| panic!("{set}: was planned"));
        let Error::Limit(exceeded) = &error else { panic!("{set}: {error}") };
        assert_eq!(exceeded.limit, Limit::MemoryBytes);
        assert!(used.bytes_max < 3 * LIMIT, "{set}: {} bytes, {error}", used.bytes_max);
    }
}

#[test]
fn operators_that_share_weights_pack_each_its_own() {
    let tensors = (0..=64).map(|_| tensor(&[1, 8, 8, 512], None));
    let tensors: Vec<_> = tensors.chain([weights(&[512, 1, 1, 512])]).collect();
    let operators = (0..64).map(|at| (conv(1), vec![at, 65], at + 1)).collect();
    refused(graph(tensors, operators));
}

#[test]
fn channels_without_taps_cost_too() {
    const CHANNELS: usize = 1 << 20;
    let tensors = || vec![tensor(&[1, 1, 1, 1], None), tensor(&[1, 1, 1, CHANNELS], None)];
    let dense = [tensors(), vec![weights(&[CHANNELS, 1, 1, 1])]].concat();
    refused(graph(dense, vec![(conv(1), vec![0, 2], 1)]));
    let connected =
        OperatorKind::FullyConnected { activation: Activation::None, keep_dimensions: false };
    let tensors = || vec![tensor(&[1, 1], None), tensor(&[1, CHANNELS], None)];
    let dense = [tensors(), vec![weights(&[CHANNELS, 1])]].concat();
    refused(graph(dense, vec![(connected, vec![0, 2], 1)]));
    let depthwise = OperatorKind::DepthwiseConv2d(DepthwiseConv2d {
        stride: [1, 1],
        dilation: [1, 1],
        padding: Padding::Same,
        depth_multiplier: 1,
        activation: Activation::None,
    });
    let image = tensor(&[1, 1, 1, CHANNELS], None);
    let tensors = vec![image.clone(), image, weights(&[1, 1, 1, CHANNELS])];
    refused(graph(tensors, vec![(depthwise, vec![0, 2], 1)]));
}

#[test]
fn windows_with_gaps_are_counted() {
    let tensors = vec![
        tensor(&[1, 1, 1, 1], None),
        tensor(&[1, 1, 1, 1], None),
        weights(&[1, 1024, 1024, 1]),
    ];
    let graph = Arc::new(graph(tensors, vec![(conv(2), vec![0, 2], 1)]));
    for set in sets() {
        let limits = Limits::default().with(Limit::MemoryBytes, LIMIT);
        let options = PlanOptions::default().limits(limits).instruction_set(set);
        let used = allocation_counter::measure(|| {
            let _ = Plan::new(Arc::clone(&graph), options.clone());
        });
        assert!(used.bytes_max < 3 * LIMIT, "{set}: {} bytes", used.bytes_max);
    }
}

/// A window that is alone has any stride, and channels may have nothing in common with lanes.
#[test]
fn numbers_that_mean_nothing_cost_nothing() {
    const MOST: usize = i32::MAX as usize;
    for (stride, channels) in [(MOST, 3), (1, 65_537), (MOST, 65_537)] {
        let depthwise = OperatorKind::DepthwiseConv2d(DepthwiseConv2d {
            stride: [stride; 2],
            dilation: [MOST; 2],
            padding: Padding::Same,
            depth_multiplier: 1,
            activation: Activation::None,
        });
        let image = tensor(&[1, 1, 1, channels], None);
        let tensors = vec![image.clone(), image, weights(&[1, 1, 1, channels])];
        let graph = Arc::new(graph(tensors, vec![(depthwise, vec![0, 2], 1)]));
        for set in sets() {
            let limits = Limits::default().with(Limit::MemoryBytes, LIMIT);
            let options = PlanOptions::default().limits(limits).instruction_set(set);
            let used = allocation_counter::measure(|| {
                Plan::new(Arc::clone(&graph), options.clone()).unwrap();
            });
            assert!(used.bytes_max < 2 * LIMIT, "{set} {stride} {channels}: {}", used.bytes_max);
        }
    }
}

#[test]
fn operands_and_positions_are_counted() {
    let concatenation = OperatorKind::Concatenation { axis: 1, activation: Activation::None };
    const OPERANDS: usize = 1 << 20;
    let tensors = vec![tensor(&[1, 1], None), tensor(&[1, OPERANDS], None)];
    refused(graph(tensors, vec![(concatenation, vec![0; OPERANDS], 1)]));
    for is_bilinear in [false, true] {
        let size = [1, 4 << 20];
        let (align_corners, half_pixel_centers) = (false, false);
        let resize = match is_bilinear {
            true => OperatorKind::ResizeBilinear { size, align_corners, half_pixel_centers },
            false => {
                OperatorKind::ResizeNearestNeighbor { size, align_corners, half_pixel_centers }
            }
        };
        let tensors = vec![tensor(&[1, 1, 1, 1], None), tensor(&[1, 1, 4 << 20, 1], None)];
        refused(graph(tensors, vec![(resize, vec![0], 1)]));
    }
}

/// What takes long without a multiply-add is bounded too.
#[test]
fn time_is_bounded() {
    let pool = OperatorKind::MaxPool2d(Pool2d {
        filter: [1024, 1024],
        stride: [1, 1],
        padding: Padding::Same,
        activation: Activation::None,
    });
    let image = tensor(&[1, 1024, 1024, 1], None);
    let pooled = graph(vec![image.clone(), image.clone()], vec![(pool, vec![0], 1)]);
    let tensors = (0..=1000).map(|_| tensor(&[1, 10_000, 10_000, 1], None)).collect();
    let chain =
        graph(tensors, (0..1000).map(|at| (OperatorKind::Relu, vec![at], at + 1)).collect());
    for graph in [pooled, chain] {
        let error = Plan::new(Arc::new(graph), PlanOptions::default()).unwrap_err();
        let Error::Limit(exceeded) = &error else { panic!("{error}") };
        assert_eq!(exceeded.limit, Limit::MultiplyAdds);
        assert!(exceeded.found > 100_000_000_000, "{error}");
    }
}

/// Many inputs and operands at once: planning takes no time with their product.
#[test]
fn many_inputs_and_operands_are_planned_soon() {
    const INPUTS: usize = 1 << 14;
    let mut tensors: Vec<GraphTensor> = (0..INPUTS).map(|_| tensor(&[1, 1], None)).collect();
    tensors.push(tensor(&[1, INPUTS], None));
    let concatenation = OperatorKind::Concatenation { axis: 1, activation: Activation::None };
    let operator = Operator { kind: concatenation, inputs: (0..INPUTS).collect(), output: INPUTS };
    let inputs: Vec<usize> = (0..INPUTS).collect();
    let graph = Graph::new(tensors, vec![operator], inputs, vec![INPUTS], Metadata::default());
    let start = std::time::Instant::now();
    Plan::new(Arc::new(graph.unwrap()), PlanOptions::default()).unwrap();
    println!("{INPUTS} inputs: {:?}", start.elapsed());
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn each_limit_of_the_reader_is_kept() {
    let tensors = (0..3).map(|_| tensor(&[1, 4], None)).collect();
    let two = graph(tensors, (0..2).map(|at| (OperatorKind::Relu, vec![at], at + 1)).collect());
    let bytes = compiled::write(&two);
    for (limit, found) in
        [(Limit::ModelBytes, bytes.len() as u64), (Limit::Tensors, 3), (Limit::Operators, 2)]
    {
        let within =
            |most| compiled::read_within(bytes.clone(), &Limits::default().with(limit, most));
        assert_eq!(within(found).as_ref(), Ok(&two));
        let error = within(found - 1).unwrap_err();
        let Error::Limit(exceeded) = &error else { panic!("{error}") };
        assert_eq!((exceeded.limit, exceeded.found, exceeded.most), (limit, found, found - 1));
    }
}
