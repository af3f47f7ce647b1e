//! A network on a microcontroller without an operating system: the compiled model stays in flash, its packed weights and its activations
//! are on a heap of 2 MiB. Prints the output for a frame of colours to the debugger.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use emballoc::Allocator;
use mobileight_preprocess::{InputContract, Preprocessor, Recipe, RgbView};
use mobileight_runtime::{Data, Plan, PlanOptions, Session, compiled};
use panic_semihosting as _;

#[global_allocator]
static HEAP: Allocator<{ 2 << 20 }> = Allocator::new();

/// A compiled model: `MODEL` is its path when this is built.
static MODEL: &[u8] = include_bytes!(env!("MODEL"));

#[entry]
fn main() -> ! {
    let result = run();
    match &result {
        Ok(codes) => {
            let codes: Vec<_> = codes.iter().map(|code| code.to_string()).collect();
            hprintln!("{}", codes.join(" "));
        }
        Err(error) => hprintln!("{}", error),
    }
    loop {
        debug::exit(result.as_ref().map(|_| ()).map_err(|_| ()));
    }
}

const WIDTH: u32 = 160;
const HEIGHT: u32 = 120;

/// Where the camera's frame would come from.
fn frame() -> Vec<u8> {
    let pixels = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| [x as u8, y as u8, 128]));
    pixels.flatten().collect()
}

fn run() -> Result<Vec<i8>, String> {
    let graph = compiled::read(MODEL).map_err(|error| error.to_string())?;
    let contract = InputContract::from_graph(&graph);
    let preprocessor = contract.and_then(|contract| Preprocessor::new(contract, Recipe::default()));
    let frame = frame();
    let input = preprocessor.and_then(|preprocessor| {
        Ok(preprocessor.prepare_rgb(RgbView::new(&frame, WIDTH, HEIGHT)?))
    });
    let input = input.map_err(|error| error.to_string())?;
    let plan = Plan::new(Arc::new(graph), PlanOptions::default());
    let mut session = Session::new(Arc::new(plan.map_err(|error| error.to_string())?));
    let outputs = session.run(&[input.view()]).map_err(|error| error.to_string())?;
    Ok(match &outputs[0].data {
        Data::I8(codes) => codes.clone(),
        _ => Vec::new(),
    })
}
