//! Runs the pointwise layers of MobileNet V2 (224 x 224, width 1) once, by the instruction set named, for counting instructions.

use mobileight_kernels::bytes::AlignedBytes;
use mobileight_kernels::convolution::{Convolution, Geometry, Weights};
use mobileight_kernels::requantize::{ReferenceArithmetic, Requantization, Scales};
use mobileight_kernels::{InstructionSet, Numerics};

/// Pixels, input channels, output channels, and how many such layers there are.
const LAYERS: [[usize; 4]; 20] = [
    [12544, 32, 16, 1],
    [12544, 16, 96, 1],
    [3136, 96, 24, 1],
    [3136, 24, 144, 2],
    [3136, 144, 24, 1],
    [784, 144, 32, 1],
    [784, 32, 192, 3],
    [784, 192, 32, 2],
    [196, 192, 64, 1],
    [196, 64, 384, 4],
    [196, 384, 64, 3],
    [196, 384, 96, 1],
    [196, 96, 576, 3],
    [196, 576, 96, 2],
    [49, 576, 160, 1],
    [49, 160, 960, 3],
    [49, 960, 160, 2],
    [49, 960, 320, 1],
    [49, 320, 1280, 1],
    [1, 1280, 1001, 1],
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("usage: pointwise INSTRUCTION_SET")?;
    let set: InstructionSet = name.parse()?;
    let mut products = 0;
    for [pixels, depth, channels, count] in LAYERS {
        let weights: Vec<u8> =
            (0..depth * channels).map(|at| (at * 37 % 255 + 129) as u8).collect();
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
            Weights::int8(&weights),
            &vec![100; channels],
            Requantization::new(Numerics::Xnnpack, &scales, 0, [0, 255])?,
        )?;
        if kernel.instruction_set() != set {
            return Err(format!("{set} is not on this CPU").into());
        }
        let input: Vec<u8> = (0..pixels * depth).map(|at| (at * 59 % 251) as u8).collect();
        let mut output = vec![0; pixels * channels];
        let mut scratch = AlignedBytes::zeroed(kernel.scratch_bytes());
        for _ in 0..count {
            kernel.run(&input, &mut output, &mut scratch)?;
            products += pixels * depth * channels;
        }
    }
    println!("{products}");
    Ok(())
}
