//! What a plan and a session promise, on a small network.

use std::sync::Arc;

use mobileight_runtime::{
    Activation, AlignedBytes, Conv2d, Data, DepthwiseConv2d, ElementType, Error, Graph,
    GraphTensor, Limit, Limits, Metadata, Numerics, Operator, OperatorKind, Padding, Plan,
    PlanOptions, Quantization, Session, Tensor, TensorView,
};

fn tensor(
    name: &str,
    element_type: ElementType,
    shape: &[usize],
    quantization: Option<(f32, i32)>,
    data: Option<Vec<u8>>,
) -> GraphTensor {
    GraphTensor {
        name: name.into(),
        element_type,
        shape: shape.to_vec(),
        quantization: quantization
            .map(|(scale, zero_point)| Quantization::PerTensor { scale, zero_point }),
        data: data.map(Into::into),
    }
}

const IMAGE: [usize; 4] = [1, 8, 6, 2];
const CONVOLVED: usize = 3;
const SUM: usize = 6;

/// float -> QUANTIZE -> CONV_2D -> DEPTHWISE_CONV_2D -> ADD (residual) -> MEAN.
fn network() -> Graph {
    let i8 = |name, shape: &[usize], quantization| {
        tensor(name, ElementType::I8, shape, Some(quantization), None)
    };
    let weights = |name, shape: &[usize], factor: usize| {
        let count = shape.iter().product::<usize>();
        let data = (0..count).map(|i| ((i * factor) % 255) as u8).collect();
        tensor(name, ElementType::I8, shape, Some((0.01, 0)), Some(data))
    };
    let tensors = vec![
        tensor("image", ElementType::F32, &IMAGE, None, None),
        i8("codes", &IMAGE, (0.02, -5)),
        weights("conv/weights", &[4, 3, 3, 2], 37),
        i8("conv", &[1, 4, 3, 4], (0.05, 3)),
        weights("depthwise/weights", &[1, 3, 3, 4], 101),
        i8("depthwise", &[1, 4, 3, 4], (0.1, -20)),
        i8("add", &[1, 4, 3, 4], (0.12, -20)),
        i8("scores", &[1, 4], (0.03, 7)),
    ];
    let conv = OperatorKind::Conv2d(Conv2d {
        stride: [2, 2],
        dilation: [1, 1],
        padding: Padding::Same,
        activation: Activation::None,
    });
    let depthwise = OperatorKind::DepthwiseConv2d(DepthwiseConv2d {
        stride: [1, 1],
        dilation: [1, 1],
        padding: Padding::Same,
        depth_multiplier: 1,
        activation: Activation::Relu6,
    });
    let mean = OperatorKind::Mean { axes: vec![1, 2], keep_dimensions: false };
    let operators = vec![
        Operator { kind: OperatorKind::Quantize, inputs: vec![0], output: 1 },
        Operator { kind: conv, inputs: vec![1, 2], output: CONVOLVED },
        Operator { kind: depthwise, inputs: vec![CONVOLVED, 4], output: 5 },
        Operator {
            kind: OperatorKind::Add(Activation::None),
            inputs: vec![CONVOLVED, 5],
            output: SUM,
        },
        Operator { kind: mean, inputs: vec![SUM], output: 7 },
    ];
    Graph::new(tensors, operators, vec![0], vec![7], Metadata::default()).unwrap()
}

fn session(options: PlanOptions) -> Session {
    Session::new(Arc::new(Plan::new(Arc::new(network()), options).unwrap()))
}

fn image(seed: u64, shape: &[usize]) -> Tensor {
    let mut rng = fastrand::Rng::with_seed(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.f32() * 5.0 - 2.4).collect();
    Tensor::new(shape.to_vec(), values)
}

fn codes(tensor: &Tensor) -> Vec<i8> {
    match &tensor.data {
        Data::I8(values) => values.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_is_its_single_runs() {
    for numerics in Numerics::ALL {
        let images: Vec<Tensor> = (0..3).map(|seed| image(seed, &IMAGE)).collect();
        let mut single = session(PlanOptions::default().numerics(numerics));
        let mut expected = Vec::new();
        for image in &images {
            expected.extend(codes(&single.run(&[image.view()]).unwrap()[0]));
        }
        let shape = vec![3, IMAGE[1], IMAGE[2], IMAGE[3]];
        let mut values: Vec<f32> = Vec::new();
        for image in &images {
            let Data::F32(own) = &image.data else { unreachable!() };
            values.extend(own);
        }
        let batch = Tensor::new(shape.clone(), values);
        let options = PlanOptions::default().numerics(numerics).input_shapes(vec![shape]);
        let mut session = session(options);
        let output = &session.run(&[batch.view()]).unwrap()[0];
        assert_eq!(output.shape, [3, 4]);
        assert_eq!(codes(output), expected);
        assert_ne!(expected[..4], expected[4..8], "the images differ in their scores");
    }
}

#[test]
fn another_image_size_plans_the_whole_graph_again() {
    let larger = vec![1, 13, 9, 2];
    let mut session = session(PlanOptions::default().input_shapes(vec![larger.clone()]));
    assert_eq!(session.plan().shape(CONVOLVED), Some(&[1, 7, 5, 4][..]));
    assert_eq!(session.plan().shape(7), Some(&[1, 4][..]));
    let output = session.run(&[image(1, &larger).view()]).unwrap()[0].clone();
    assert_eq!(output.shape, [1, 4]);
    // The file's own size is now refused.
    let error = session.run(&[image(1, &IMAGE).view()]).unwrap_err();
    assert!(matches!(error, Error::InputShape { ref expected, .. } if *expected == larger));
}

#[test]
fn kept_intermediates_are_all_there_and_change_nothing() {
    for numerics in Numerics::ALL {
        let plain = PlanOptions::default().numerics(numerics);
        let mut without = session(plain.clone());
        let mut with = session(plain.keep_intermediates(true));
        let input = image(5, &IMAGE);
        let expected = without.run(&[input.view()]).unwrap().to_vec();
        assert_eq!(with.run(&[input.view()]).unwrap(), expected);
        let graph = Arc::clone(with.plan().graph());
        for operator in graph.operators() {
            let kept = with.tensor(operator.output).unwrap();
            assert_eq!(Some(kept.shape.as_slice()), with.plan().shape(operator.output));
            let values = codes(&kept);
            assert!(values.iter().any(|v| *v != values[0]), "{} is constant", operator.kind);
            let name = &graph.tensors()[operator.output].name;
            assert_eq!(with.tensor_by_name(name).unwrap(), kept);
        }
        assert_eq!(with.tensor(0).unwrap(), input);
        assert_eq!(with.tensor(7).unwrap(), expected[0]);
        assert!(matches!(without.tensor(CONVOLVED), Err(Error::NotKept { index: CONVOLVED, .. })));
        assert!(with.plan().arena_bytes() >= without.plan().arena_bytes());
    }
}

#[test]
fn a_run_is_not_influenced_by_the_one_before() {
    let mut used = session(PlanOptions::default());
    let mut fresh = session(PlanOptions::default());
    let (first, second) = (image(1, &IMAGE), image(2, &IMAGE));
    let before = used.run(&[first.view()]).unwrap().to_vec();
    let after = used.run(&[second.view()]).unwrap().to_vec();
    assert_eq!(fresh.run(&[second.view()]).unwrap(), after);
    assert_ne!(before, after);
    assert_eq!(used.run(&[first.view()]).unwrap(), before);
}

#[cfg_attr(target_family = "wasm", ignore = "has no threads")]
#[test]
fn sessions_of_one_plan_run_side_by_side() {
    let plan = Arc::new(Plan::new(Arc::new(network()), PlanOptions::default()).unwrap());
    let run =
        |seed| Session::new(Arc::clone(&plan)).run(&[image(seed, &IMAGE).view()]).unwrap().to_vec();
    let expected: Vec<_> = (0..4).map(run).collect();
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..4).map(|seed| scope.spawn(move || (seed, run(seed)))).collect();
        for handle in handles {
            let (seed, found) = handle.join().unwrap();
            assert_eq!(found, expected[seed as usize]);
        }
    });
}

#[test]
fn one_kernel_runs_by_itself_in_memory_of_its_size() {
    let options = PlanOptions::default().keep_intermediates(true);
    let mut session = session(options);
    session.run(&[image(3, &IMAGE).view()]).unwrap();
    let plan = Arc::clone(session.plan());
    let codes = |id| codes(&session.tensor(id).unwrap());
    let as_codes = |values: Vec<i8>| values.iter().map(|&v| v as u8 ^ 0x80).collect::<Vec<u8>>();
    let kernels: Vec<_> = plan.kernels().collect();
    let addition = kernels.iter().position(|kernel| kernel.name == "addition").unwrap();
    assert_eq!(kernels[addition].operands, [CONVOLVED, 5]);
    let (a, b) = (as_codes(codes(CONVOLVED)), as_codes(codes(5)));
    let mut output = vec![0; a.len()];
    let mut scratch = AlignedBytes::zeroed(plan.scratch_bytes());
    plan.run_kernel(addition, &[&a, &b], &mut output, &mut scratch).unwrap();
    assert_eq!(output, as_codes(codes(SUM)));

    let refused = |kernel, operands: &[&[u8]], output: &mut [u8], scratch: &mut [u8]| {
        let error = plan.run_kernel(kernel, operands, output, scratch).unwrap_err();
        assert!(matches!(error, Error::InvalidOperator { .. }), "{error}");
    };
    refused(addition, &[&a], &mut output.clone(), &mut scratch);
    refused(addition, &[&a, &b[1..]], &mut output.clone(), &mut scratch);
    refused(addition, &[&a, &b], &mut output[1..].to_vec(), &mut scratch);
    refused(kernels.len(), &[&a, &b], &mut output, &mut scratch);
    let pixels = vec![0; IMAGE.iter().product()];
    refused(1, &[&pixels], &mut output, &mut []);
}

#[test]
fn wrong_inputs_are_refused_by_kind() {
    let mut session = session(PlanOptions::default());
    let count = IMAGE.iter().product();
    let error = session.run(&[]).unwrap_err();
    assert_eq!(error, Error::InputCount { expected: 1, found: 0 });

    let bytes = vec![0u8; count];
    let error = session.run(&[TensorView::new(&IMAGE, &bytes[..])]).unwrap_err();
    let (expected, found) = (ElementType::F32, ElementType::U8);
    assert_eq!(error, Error::InputType { input: 0, name: "image".into(), expected, found });

    let zeros = vec![0f32; count];
    for (shape, length) in [(&[1, 6, 8, 2][..], count), (&IMAGE[1..], count), (&IMAGE, count - 1)] {
        let error = session.run(&[TensorView::new(shape, &zeros[..length])]).unwrap_err();
        let Error::InputShape { input: 0, expected, found, elements, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((expected, found, elements), (IMAGE.to_vec(), shape.to_vec(), length));
    }

    // QUANTIZE takes -2.46 to 2.64; a width more at either end is saturation, beyond that it is another unit.
    for bad in [f32::NAN, f32::INFINITY, -f32::INFINITY, 200.0, -9.0] {
        let mut values = zeros.clone();
        values[17] = bad;
        let error = session.run(&[TensorView::new(&IMAGE, &values[..])]).unwrap_err();
        let Error::InputRange { input: 0, element: 17, found, low, high, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(found.to_bits(), bad.to_bits());
        assert!((low + 2.46).abs() < 1e-5 && (high - 2.64).abs() < 1e-5, "{low} to {high}");
    }
    let mut values = zeros;
    values[17] = 4.0;
    session.run(&[TensorView::new(&IMAGE, &values[..])]).unwrap();
}

#[test]
fn a_refused_run_leaves_no_tensors_behind() {
    let mut session = session(PlanOptions::default().keep_intermediates(true));
    assert!(matches!(session.tensor(CONVOLVED), Err(Error::NotKept { .. })));
    session.run(&[image(1, &IMAGE).view()]).unwrap();
    assert!(session.tensor(CONVOLVED).is_ok());
    session.run(&[]).unwrap_err();
    assert!(matches!(session.tensor(CONVOLVED), Err(Error::NotKept { .. })));
    assert!(matches!(session.tensor(99), Err(Error::NoSuchTensor(_))));
    assert!(matches!(session.tensor_by_name("no"), Err(Error::NoSuchTensor(_))));
}

fn limited(graph: &Arc<Graph>, limit: Limit, most: u64) -> Result<Plan, Error> {
    let limits = Limits::default().with(limit, most);
    Plan::new(Arc::clone(graph), PlanOptions::default().limits(limits))
}

#[test]
fn each_limit_is_refused_with_the_figure() {
    let graph = Arc::new(network());
    let plan = Plan::new(Arc::clone(&graph), PlanOptions::default()).unwrap();
    let arena = plan.arena_bytes() as u64;
    let outputs = plan.layout().output_bytes(&graph);
    let whole = arena + outputs + (plan.packed_bytes() + plan.scratch_bytes()) as u64;
    let work = plan.layout().work(&graph);
    assert!(work > plan.layout().total_multiply_adds(&graph));
    for (limit, needed) in [
        (Limit::Tensors, graph.tensors().len() as u64),
        (Limit::Operators, graph.operators().len() as u64),
        (Limit::MultiplyAdds, work),
        (Limit::MemoryBytes, whole),
    ] {
        assert!(limited(&graph, limit, needed).is_ok());
        for most in [needed - 1, needed / 2, 0] {
            let error = limited(&graph, limit, most).unwrap_err();
            let Error::Limit(exceeded) = &error else { panic!("{error}") };
            assert_eq!((exceeded.limit, exceeded.most), (limit, most));
            assert!(exceeded.found > most && exceeded.found <= needed);
            let words = error.to_string();
            assert!(words.contains(&format!("--max {limit}={}", exceeded.found)), "{words}");
        }
    }
    // Far too large: refused before anything is allocated.
    let huge = PlanOptions::default().input_shapes(vec![vec![1, 20_000, 20_000, 2]]);
    let error = Plan::new(graph, huge).unwrap_err();
    assert!(matches!(error, Error::Limit(e) if e.limit == Limit::MemoryBytes), "{error}");
}

#[test]
fn input_shapes_that_do_not_fit_are_refused() {
    let plan = |shapes| Plan::new(Arc::new(network()), PlanOptions::default().input_shapes(shapes));
    let two = plan(vec![IMAGE.to_vec(), IMAGE.to_vec()]).unwrap_err();
    assert_eq!(two, Error::InputCount { expected: 1, found: 2 });
    for shape in [vec![8, 6, 2], vec![1, 0, 6, 2], vec![usize::MAX, 8, 6, 2]] {
        assert!(matches!(plan(vec![shape]), Err(Error::InvalidTensor { index: 0, .. })));
    }
    let channels = plan(vec![vec![1, 8, 6, 3]]).unwrap_err();
    assert!(
        matches!(channels, Error::InvalidOperator { index: 1, operator: "CONV_2D", .. }),
        "{channels}"
    );
}

#[test]
fn a_scalar_is_reshaped_to_one_element() {
    let codes = |shape: &[usize]| tensor("codes", ElementType::I8, shape, Some((0.5, 0)), None);
    let plan = |target: &[i32], declared: &[usize]| {
        let kind = OperatorKind::Reshape { shape: target.to_vec() };
        let operators = vec![Operator { kind, inputs: vec![0], output: 1 }];
        let tensors = vec![codes(&[]), codes(declared)];
        let graph = Graph::new(tensors, operators, vec![0], vec![1], Metadata::default()).unwrap();
        Plan::new(Arc::new(graph), PlanOptions::default())
    };
    for (target, shape) in [(&[1, 1][..], &[1, 1][..]), (&[-1], &[1]), (&[], &[])] {
        assert_eq!(plan(target, shape).unwrap().shape(1), Some(shape));
    }
    for (target, declared) in [(&[2][..], &[2][..]), (&[1, 2], &[1, 2]), (&[1, -1, 2], &[1, 1, 2])]
    {
        let error = plan(target, declared).unwrap_err();
        assert!(error.to_string().contains("cannot reshape []"), "{error}");
    }
}
