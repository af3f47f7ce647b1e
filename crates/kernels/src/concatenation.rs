//! CONCATENATION.

use alloc::boxed::Box;

use crate::Error;
use crate::error::check_length;
#[cfg(not(feature = "std"))]
use crate::math::Math;
use crate::table::CodeQuantization;

/// One operand of a concatenation, prepared: its codes as codes of the output.
#[derive(Clone, Debug)]
pub struct Part {
    /// Codes between one slice along the axis and the next.
    length: usize,
    table: Option<Box<[u8; 256]>>,
}

impl Part {
    /// An operand that contributes `length` codes to each slice of the output: its length along the axis times all that is inside of it.
    ///
    /// Codes of another quantization than the output's are rescaled in `f32`, rounded half away from zero
    /// (TFLite's `ConcatenationWithScaling`).
    pub fn new(length: usize, input: CodeQuantization, output: CodeQuantization) -> Self {
        let scale = input.scale * (1.0 / output.scale);
        let bias = -f32::from(input.zero_point) * scale;
        let rescaled = |code: usize| {
            let quanta = (code as f32 * scale + bias).round() as i32;
            quanta.saturating_add(output.zero_point.into()).clamp(0, 255) as u8
        };
        let table = (input != output).then(|| Box::new(core::array::from_fn(rescaled)));
        Part { length, table }
    }
}

/// Joins operands: `get(i)` gives the codes of operand `i`.
///
/// # Errors
///
/// [`Error::Length`] when an operand's length or the output's does not fit the parts.
pub fn concatenate<'a>(
    parts: &[Part],
    get: impl Fn(usize) -> &'a [u8],
    output: &mut [u8],
) -> Result<(), Error> {
    let slice: usize = parts.iter().map(|part| part.length).sum();
    let slices = output.len() / slice.max(1);
    check_length("output", output.len(), slices * slice)?;
    let mut start = 0;
    for (at, part) in parts.iter().enumerate() {
        let input = get(at);
        check_length("operand", input.len(), slices * part.length)?;
        let rows = output.chunks_exact_mut(slice).zip(input.chunks_exact(part.length.max(1)));
        for (output, input) in rows {
            let output = &mut output[start..][..part.length];
            match &part.table {
                None => output.copy_from_slice(input),
                Some(table) => {
                    for (output, &code) in output.iter_mut().zip(input) {
                        *output = table[usize::from(code)];
                    }
                }
            }
        }
        start += part.length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_and_rescaled() {
        let output = CodeQuantization { scale: 0.5, zero_point: 10 };
        let other = CodeQuantization { scale: 1.0, zero_point: 0 };
        let parts = [Part::new(1, output, output), Part::new(2, other, output)];
        let operands = [&[1, 2][..], &[3, 4, 5, 200]];
        let mut joined = [0; 6];
        concatenate(&parts, |i| operands[i], &mut joined).unwrap();
        assert_eq!(joined, [1, 16, 18, 2, 20, 255]);
        assert!(concatenate(&parts, |i| operands[i], &mut joined[..5]).is_err());
        assert!(concatenate(&parts, |_| operands[0], &mut joined).is_err());
    }
}
