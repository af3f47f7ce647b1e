//! Runs one pointwise convolution once, for counting its instructions: `pointwise INSTRUCTION_SET PIXELS INPUT_CHANNELS OUTPUT_CHANNELS`.

use mobileight_kernels::bytes::AlignedBytes;
use mobileight_kernels::convolution::{Convolution, Geometry, Weights};
use mobileight_kernels::requantize::{ReferenceArithmetic, Requantization, Scales};
use mobileight_kernels::{InstructionSet, Numerics};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [set, pixels, depth, channels] = &arguments[..] else {
        return Err("four arguments are needed".into());
    };
    let set: InstructionSet = set.parse()?;
    let [pixels, depth, channels]: [usize; 3] =
        [pixels.parse()?, depth.parse()?, channels.parse()?];
    let scales = Scales {
        input: 0.02,
        weights: &vec![0.01; channels],
        output: 0.05,
        reference: ReferenceArithmetic::FixedPoint,
    };
    let kernel = Convolution::new(
        set,
        Geometry::matrix(pixels, depth, channels),
        120,
        Weights::int8(&vec![3; depth * channels]),
        &vec![100; channels],
        Requantization::new(Numerics::Xnnpack, &scales, 0, [0, 255])?,
    )?;
    if kernel.instruction_set() != set {
        return Err(format!("{set} is not on this CPU").into());
    }
    let mut output = vec![0; pixels * channels];
    let mut scratch = AlignedBytes::zeroed(kernel.scratch_bytes());
    kernel.run(&vec![77; pixels * depth], &mut output, &mut scratch)?;
    // What is never looked at need not be computed.
    println!("{}", output.iter().map(|&code| u64::from(code)).sum::<u64>());
    Ok(())
}
