//! Typical layers of MobileNets, for each instruction set that this CPU has and both requantizations.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mobileight_kernels::bytes::AlignedBytes;
use mobileight_kernels::convolution::{Convolution, DepthwiseConvolution, Geometry, Weights};
use mobileight_kernels::requantize::{ReferenceArithmetic, Requantization, Scales};
use mobileight_kernels::{InstructionSet, Numerics};

fn requantization(numerics: Numerics, channels: usize) -> Requantization {
    let scales = Scales {
        input: 0.02,
        weights: &vec![0.003; channels],
        output: 0.0235,
        reference: ReferenceArithmetic::FixedPoint,
    };
    Requantization::new(numerics, &scales, 0, [0, 255]).expect("usual scales")
}

/// Bytes that look like codes or weights.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| ((at * 40_503) >> 7) as u8).collect()
}

fn sets() -> impl Iterator<Item = (InstructionSet, Numerics)> {
    let sets = InstructionSet::ALL.into_iter().filter(|set| set.is_available());
    sets.flat_map(|set| Numerics::ALL.map(|numerics| (set, numerics)))
}

fn pointwise(criterion: &mut Criterion) {
    for (pixels, from, to) in [(12544, 16, 96), (3136, 128, 128), (196, 512, 512), (1, 1024, 1000)]
    {
        let mut group = criterion.benchmark_group(format!("pointwise {pixels}x{from} to {to}"));
        group.throughput(Throughput::Elements((pixels * from * to) as u64));
        let (input, weights) = (bytes(pixels * from), bytes(from * to));
        let mut output = vec![0; pixels * to];
        for (set, numerics) in sets() {
            let kernel = Convolution::new(
                set,
                Geometry::matrix(pixels, from, to),
                128,
                Weights::int8(&weights),
                &vec![0; to],
                requantization(numerics, to),
            )
            .expect("a usual layer");
            let mut scratch = AlignedBytes::zeroed(kernel.scratch_bytes());
            group.bench_function(format!("{set} {numerics}"), |bencher| {
                bencher.iter(|| kernel.run(black_box(&input), &mut output, &mut scratch));
            });
        }
    }
}

fn depthwise(criterion: &mut Criterion) {
    for (size, channels, filter, stride) in
        [(112, 32, 3, 1), (112, 64, 3, 2), (56, 144, 3, 1), (14, 512, 3, 1), (28, 120, 5, 1)]
    {
        let out = size / stride;
        let name = format!("depthwise {size}x{size}x{channels} by {filter}x{filter} / {stride}");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements((out * out * channels * filter * filter) as u64));
        let (input, weights) = (bytes(size * size * channels), bytes(filter * filter * channels));
        let mut output = vec![0; out * out * channels];
        for (set, numerics) in sets() {
            let geometry = Geometry {
                batch: 1,
                input: [size, size],
                input_channels: channels,
                output: [out, out],
                output_channels: channels,
                filter: [filter, filter],
                stride: [stride, stride],
                dilation: [1, 1],
                padding: [if stride == 1 { filter / 2 } else { 0 }; 2],
            };
            let kernel = DepthwiseConvolution::new(
                set,
                geometry,
                128,
                Weights::int8(&weights),
                &vec![0; channels],
                requantization(numerics, channels),
            )
            .expect("a usual layer");
            let mut scratch = AlignedBytes::zeroed(kernel.scratch_bytes());
            group.bench_function(format!("{set} {numerics}"), |bencher| {
                bencher.iter(|| kernel.run(black_box(&input), &mut output, &mut scratch));
            });
        }
    }
}

criterion_group!(benches, pointwise, depthwise);
criterion_main!(benches);
