//! tract's own way with a `.tflite` file, speaking the protocol of `peer.py`.

use std::env;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::Instant;

use tract_tflite::prelude::*;

fn main() -> TractResult<()> {
    let path = env::args().nth(1).expect("the path of a model");
    let model = tract_tflite::tflite().model_for_path(path)?.into_optimized()?;
    let fact = model.input_fact(0)?.clone();
    let shape = fact.shape.as_concrete().expect("a fixed shape").to_vec();
    let mut model = model.into_runnable()?.spawn()?;
    let input: TValue = Tensor::zero_dt(fact.datum_type, &shape)?.into();
    for line in stdin().lock().lines() {
        let runs: usize = line?.trim().parse()?;
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs {
            let start = Instant::now();
            model.run(tvec!(input.clone()))?;
            times.push(start.elapsed().as_secs_f64());
        }
        println!("{}", serde_json::to_string(&times)?);
        stdout().flush()?;
    }
    Ok(())
}
