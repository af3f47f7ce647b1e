//! However a real model is run, by one thread, by several, compiled or as a model of tract, its outputs are the same bytes.

mod common;

use std::num::NonZero;
use std::sync::Arc;

use mobileight_runtime::{
    Data, ElementType, Numerics, Plan, PlanOptions, Session, Tensor, compiled,
};
use mobileight_tflite::tract_core::prelude as tract;
use mobileight_tflite::tract_core::prelude::{IntoRunnable as _, IntoTValue as _, TVec};
use mobileight_tflite::{plan_to_tract, read_file};

/// The same values for the same shape.
fn input(shape: &[usize], element_type: ElementType) -> Tensor {
    let bytes = (0..shape.iter().product()).map(|at: usize| ((at * at * 31 + at * 7) >> 3) as u8);
    let data: Data = match element_type {
        ElementType::U8 => bytes.collect::<Vec<_>>().into(),
        ElementType::I8 => bytes.map(|byte| byte as i8).collect::<Vec<_>>().into(),
        _ => bytes.map(|byte| f32::from(byte) / 127.5 - 1.0).collect::<Vec<_>>().into(),
    };
    Tensor { shape: shape.to_vec(), data }
}

fn to_tract(tensor: &Tensor) -> tract::Tensor {
    match &tensor.data {
        Data::U8(values) => tract::Tensor::from_shape(&tensor.shape, values),
        Data::I8(values) => tract::Tensor::from_shape(&tensor.shape, values),
        Data::F32(values) => tract::Tensor::from_shape(&tensor.shape, values),
        Data::I32(values) => tract::Tensor::from_shape(&tensor.shape, values),
        Data::I64(values) => tract::Tensor::from_shape(&tensor.shape, values),
        other => panic!("{other:?}"),
    }
    .unwrap()
}

#[test]
fn outputs_do_not_depend_on_threads_compiling_or_tract() {
    let Some(folder) = common::models() else { return };
    let mut models = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(graph) = read_file(&path) else { continue };
        if graph.is_float() {
            continue;
        }
        let graph = Arc::new(graph);
        for numerics in Numerics::ALL {
            let options = PlanOptions::default().numerics(numerics);
            let plan = Arc::new(Plan::new(Arc::clone(&graph), options).unwrap());
            let inputs: Vec<Tensor> = (graph.inputs().iter())
                .map(|&id| input(plan.shape(id).unwrap(), graph.tensors()[id].element_type))
                .collect();
            let views: Vec<_> = inputs.iter().map(Tensor::view).collect();
            let expected = Session::new(Arc::clone(&plan)).run(&views).unwrap().to_vec();
            let compiled = Arc::new(compiled::read(compiled::write(&graph)).unwrap());
            let options = PlanOptions::default().numerics(numerics);
            let mut session = Session::new(Arc::new(Plan::new(compiled, options).unwrap()));
            assert_eq!(session.run(&views).unwrap(), expected, "{} compiled", path.display());
            for threads in [2, 3, 7] {
                let threads = NonZero::new(threads).unwrap();
                let mut session = Session::new(Arc::clone(&plan)).threads(threads);
                for _ in 0..3 {
                    assert_eq!(
                        session.run(&views).unwrap(),
                        expected,
                        "{threads} {}",
                        path.display()
                    );
                }
            }
            let model = plan_to_tract(&plan).unwrap().into_optimized().unwrap();
            let model = model.into_runnable().unwrap();
            // Twice: the second run computes in memory that the first has left.
            for _ in 0..2 {
                let inputs: TVec<_> =
                    inputs.iter().map(|input| to_tract(input).into_tvalue()).collect();
                let outputs = model.run(inputs).unwrap();
                assert_eq!(outputs.len(), expected.len());
                for (output, expected) in outputs.iter().zip(&expected) {
                    assert_eq!(**output, to_tract(expected), "{}", path.display());
                }
            }
        }
        models += 1;
    }
    assert!(models >= 15, "{models} quantized models");
}

#[test]
fn a_float_graph_is_refused_with_what_to_do() {
    let Some(folder) = common::models() else { return };
    let graph = read_file(folder.join("vww_96_float.tflite")).unwrap();
    let error = mobileight_tflite::to_tract(&graph).unwrap_err();
    assert!(matches!(
        error,
        mobileight_tflite::Error::Graph(mobileight_runtime::Error::FloatModel)
    ));
}
