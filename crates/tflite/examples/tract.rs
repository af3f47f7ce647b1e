//! A program that runs models by tract, given a quantized one: `cargo run --release -p mobileight-tflite --example tract -- MODEL.tflite`.
//!
//! Tells how long a run takes by tract and by a session of ours, which compute the same.

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mobileight_runtime::{Data, DataView, ElementType, Plan, PlanOptions, Session, TensorView};
use mobileight_tflite::tract_core::prelude::*;
use mobileight_tflite::{plan_to_tract, read_file};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("give the path of a .tflite file")?;
    let plan = Arc::new(Plan::new(Arc::new(read_file(path)?), PlanOptions::default())?);
    let input = plan.graph().inputs()[0];
    let shape = plan.shape(input).unwrap_or_default().to_vec();
    let codes: Vec<u8> = (0..shape.iter().product()).map(|at: usize| (at * 37) as u8).collect();

    // As with any model of tract.
    let mut model = plan_to_tract(&plan)?.into_optimized()?.into_runnable()?.spawn()?;
    let values: Vec<i8> = codes.iter().map(|&code| code as i8).collect();
    let image: TValue = match plan.graph().tensors()[input].element_type {
        ElementType::U8 => Tensor::from_shape(&shape, &codes)?.into(),
        ElementType::I8 => Tensor::from_shape(&shape, &values)?.into(),
        other => return Err(format!("this example has no image of {other}").into()),
    };
    let mut by_tract = model.run(tvec!(image.clone()))?;

    let mut session = Session::new(Arc::clone(&plan));
    let data = match plan.graph().tensors()[input].element_type {
        ElementType::U8 => DataView::U8(&codes),
        _ => DataView::I8(&values),
    };
    let view = TensorView { shape: &shape, data };
    let own = session.run(&[view])?[0].clone();
    let equal = match &own.data {
        Data::U8(own) => by_tract[0].to_plain_array_view::<u8>()?.iter().eq(own),
        Data::I8(own) => by_tract[0].to_plain_array_view::<i8>()?.iter().eq(own),
        Data::F32(own) => by_tract[0].to_plain_array_view::<f32>()?.iter().eq(own),
        other => return Err(format!("unexpected output {other:?}").into()),
    };
    assert!(equal, "both compute the same");

    // In turns, because a machine's speed drifts, and several at a time: neither shall find the other's memory in the caches.
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..20 {
        for _ in 0..20 {
            let start = Instant::now();
            by_tract = model.run(tvec!(image.clone()))?;
            times[0].push(start.elapsed());
        }
        for _ in 0..20 {
            let start = Instant::now();
            session.run(&[view])?;
            times[1].push(start.elapsed());
        }
    }
    let [tract, own] = times.map(|mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    });
    println!("output {:?}", by_tract[0].shape());
    println!("by tract {tract:?}, by a session {own:?}, ratio {:.3}", ratio(tract, own));
    Ok(())
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}
