//! A network on a microcontroller without an operating system: the compiled model stays in flash, its packed weights and its activations
//! are on a heap of 2 MiB. Prints the output for a grey image to the debugger.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use emballoc::Allocator;
use mobileight_runtime::{Data, DataView, Error, Plan, PlanOptions, Session, TensorView, compiled};
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

fn run() -> Result<Vec<i8>, Error> {
    let plan = Plan::new(Arc::new(compiled::read(MODEL)?), PlanOptions::default())?;
    let shape = plan.shape(plan.graph().inputs()[0]).unwrap_or_default().to_vec();
    // Where the camera's pixels would go, each less 128.
    let pixels = vec![0; shape.iter().product()];
    let mut session = Session::new(Arc::new(plan));
    let input = TensorView { shape: &shape, data: DataView::I8(&pixels) };
    let outputs = session.run(&[input])?;
    Ok(match &outputs[0].data {
        Data::I8(codes) => codes.clone(),
        _ => Vec::new(),
    })
}
