//! Operators on each element or row.

use mobileight_runtime::{Activation, ElementType, Numerics, OperatorKind};

use crate::check::check;
use crate::random::{Builder, Case, Random, per_tensor, spread};

fn shape(random: &mut Random, ranks: &[usize], longest: usize) -> Vec<usize> {
    let rank = random.pick(ranks);
    (0..rank).map(|_| random.length(longest)).collect()
}

/// Two operands, broadcast in some way, and an output scale between two fractions of theirs.
fn pair(
    random: &mut Random,
    kind: fn(Activation) -> OperatorKind,
    ratio: impl Fn(f64, f64, f64) -> f64,
) -> Case {
    let output = shape(random, &[1, 2, 3, 4, 4], 7);
    let mut shapes = [output.clone(), output.clone()];
    let broadcast = random.rng.usize(0..5);
    if broadcast < 2 {
        let operand = &mut shapes[broadcast];
        let skip = random.rng.usize(0..operand.len());
        operand.drain(..skip);
        operand.iter_mut().for_each(|length| {
            if random.chance(0.5) {
                *length = 1;
            }
        });
    } else if broadcast == 2 {
        let [first, second] = &mut shapes;
        for (a, b) in first.iter_mut().zip(second) {
            *(if random.rng.bool() { a } else { b }) = 1;
        }
    }
    let rank = output.len();
    let length =
        |shape: &[usize], d: usize| (d + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let output: Vec<usize> =
        (0..rank).map(|d| length(&shapes[0], d).max(length(&shapes[1], d))).collect();
    let first = random.quantization();
    let second = (first.0 * random.between(0.1, 10.0) as f32, random.zero_point());
    let counts: Vec<usize> = shapes.iter().map(|shape| shape.iter().product()).collect();
    let values = [random.values(counts[0], first.1), random.values(counts[1], second.1)];
    let real = ratio(
        f64::from(first.0) * spread(&values[0], first.1),
        f64::from(second.0) * spread(&values[1], second.1),
        random.between(8.0, 400.0),
    );
    // XNNPACK takes output scales within this.
    let scale = real.clamp(f64::from(first.0.max(second.0)) / 100.0, f64::INFINITY) as f32;
    let constant = random.rng.usize(0..4);
    let element_type = random.element_type;
    let mut builder = Builder::default();
    for (at, (quantization, shape)) in [first, second].into_iter().zip(&shapes).enumerate() {
        match at == constant {
            true => builder.constant(shape, element_type, per_tensor(quantization), &values[at]),
            false => builder.input(shape, element_type, quantization, &values[at]),
        }
    }
    let quantization = per_tensor((scale, random.zero_point()));
    builder.finish(kind(random.activation()), &output, element_type, quantization)
}

pub fn add(random: &mut Random, _: Numerics) -> Case {
    pair(random, OperatorKind::Add, |a, b, fill| (a + b) / fill)
}

pub fn sub(random: &mut Random, _: Numerics) -> Case {
    pair(random, OperatorKind::Sub, |a, b, fill| (a + b) / fill)
}

pub fn mul(random: &mut Random, _: Numerics) -> Case {
    pair(random, OperatorKind::Mul, |a, b, fill| a * b / fill)
}

/// One 8-bit operand and an output of some quantization.
fn unary(
    random: &mut Random,
    kind: OperatorKind,
    longest: usize,
    input: (f32, i32),
    output: (f32, i32),
) -> Case {
    let shape = shape(random, &[1, 2, 3, 4], longest);
    let values = random.values(shape.iter().product(), input.1);
    let mut builder = Builder::default();
    builder.input(&shape, random.element_type, input, &values);
    builder.finish(kind, &shape, random.element_type, per_tensor(output))
}

/// The quantization that TFLite asks of probabilities.
fn probabilities(random: &Random) -> (f32, i32) {
    (1.0 / 256.0, random.range().0 as i32)
}

pub fn logistic(random: &mut Random, _: Numerics) -> Case {
    let (input, output) = (random.quantization(), probabilities(random));
    unary(random, OperatorKind::Logistic, 6, input, output)
}

pub fn hard_swish(random: &mut Random, _: Numerics) -> Case {
    let input = random.quantization();
    let output = (input.0 * random.between(0.1, 4.0) as f32, random.zero_point());
    unary(random, OperatorKind::HardSwish, 6, input, output)
}

pub fn relu(random: &mut Random, _: Numerics) -> Case {
    let input = random.quantization();
    let output = match random.chance(0.3) {
        true => input,
        false => (input.0 * random.between(0.1, 4.0) as f32, random.zero_point()),
    };
    let kind = random.pick(&[Activation::Relu, Activation::Relu6]);
    let kind = if kind == Activation::Relu { OperatorKind::Relu } else { OperatorKind::Relu6 };
    unary(random, kind, 6, input, output)
}

pub fn leaky_relu(random: &mut Random, _: Numerics) -> Case {
    let input = random.quantization();
    // Now and then beyond the ratios that XNNPACK takes, on either side.
    let any = if random.chance(0.2) { 0.002..500.0 } else { 0.1..4.0 };
    let output = (input.0 * random.between(any.start, any.end) as f32, random.zero_point());
    let alpha = match random.chance(0.3) {
        true => random.pick(&[0.0, 0.001, 1.0, 2.5, -0.3, -200.0, 150.0]),
        false => random.between(0.005, 0.5) as f32,
    };
    unary(random, OperatorKind::LeakyRelu { alpha }, 6, input, output)
}

pub fn softmax(random: &mut Random, _: Numerics) -> Case {
    let beta = random.pick(&[1.0, 1.0, 0.5, 2.0]);
    let mut shape = shape(random, &[1, 2, 3, 4], 4);
    let classes = random.chance(0.2);
    let depths = [1, 2, random.length(12), random.length(60)];
    *shape.last_mut().unwrap() = if classes { 1001 } else { random.pick(&depths) };
    // LiteRT's reference kernel aborts when as many as 256 elements are about as large as the largest.
    let least = if classes { 0.1 } else { 0.003 };
    let input = (random.between(least, 1.5) as f32, random.zero_point());
    let count = shape.iter().product();
    let values = match classes {
        true => (0..count).map(|_| random.any()).collect(),
        false => random.values(count, input.1),
    };
    let mut builder = Builder::default();
    builder.input(&shape, random.element_type, input, &values);
    let output = per_tensor(probabilities(random));
    builder.finish(OperatorKind::Softmax { beta }, &shape, random.element_type, output)
}

pub fn quantize(random: &mut Random, _: Numerics) -> Case {
    let output = random.quantization();
    let shape = shape(random, &[1, 2, 3, 4], 6);
    let count = shape.iter().product();
    let (low, high) = random.range();
    // Anywhere, a little beyond the ends, and halfway between two values.
    let mut real = || {
        let code = random.rng.i64(low - 20..=high + 20) - i64::from(output.1);
        let offset = match random.rng.u32(0..4) {
            0 => 0.5,
            _ => random.rng.f32() - 0.5,
        };
        (code as f32 + offset) * output.0
    };
    let values = (0..count).map(|_| real()).collect();
    let mut builder = Builder::default();
    builder.float_input(&shape, values);
    builder.finish(OperatorKind::Quantize, &shape, random.element_type, per_tensor(output))
}

pub fn requantize(random: &mut Random, _: Numerics) -> Case {
    let input = random.quantization();
    let shape = shape(random, &[1, 2, 3, 4], 6);
    let values = random.values(shape.iter().product(), input.1);
    let mut builder = Builder::default();
    builder.input(&shape, random.element_type, input, &values);
    let other = match random.element_type {
        ElementType::U8 => ElementType::I8,
        _ => ElementType::U8,
    };
    let element_type = random.pick(&[random.element_type, other]);
    random.element_type = element_type;
    // Now and then beyond the ratios that XNNPACK takes.
    let any = if random.chance(0.2) { 0.002..500.0 } else { 0.1..8.0 };
    let scale = if random.chance(0.2) { 1.0 } else { random.between(any.start, any.end) as f32 };
    let output = per_tensor((input.0 * scale, random.zero_point()));
    builder.finish(OperatorKind::Quantize, &shape, element_type, output)
}

pub fn dequantize(random: &mut Random, _: Numerics) -> Case {
    let input = random.quantization();
    let shape = shape(random, &[1, 2, 3, 4], 6);
    let values = random.values(shape.iter().product(), input.1);
    let mut builder = Builder::default();
    builder.input(&shape, random.element_type, input, &values);
    builder.finish(OperatorKind::Dequantize, &shape, ElementType::F32, None)
}

#[test]
fn add_with_broadcasting() {
    check(add);
}

#[test]
fn sub_with_broadcasting() {
    check(sub);
}

#[test]
fn mul_with_broadcasting() {
    check(mul);
}

#[test]
fn logistic_of_every_code() {
    check(logistic);
}

#[test]
fn hard_swish_of_every_code() {
    check(hard_swish);
}

#[test]
fn relu_and_relu6() {
    check(relu);
}

#[test]
fn leaky_relu_of_any_slope() {
    check(leaky_relu);
}

#[test]
fn softmax_over_the_last_dimension() {
    check(softmax);
}

#[test]
fn quantize_from_float() {
    check(quantize);
}

#[test]
fn quantize_from_8_bits() {
    check(requantize);
}

#[test]
fn dequantize_to_float() {
    check(dequantize);
}
