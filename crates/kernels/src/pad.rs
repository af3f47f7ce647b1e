//! PAD and PADV2.

use alloc::format;
use alloc::vec::Vec;

use crate::Error;
use crate::error::check_length;
use crate::walk::{RANK, row_major, walk};

/// A padding, prepared.
#[derive(Clone, Debug)]
pub struct Pad {
    shape: Vec<usize>,
    steps: Vec<usize>,
    output_steps: Vec<usize>,
    /// Where the input's first element goes.
    start: usize,
    outputs: usize,
    value: u8,
}

impl Pad {
    /// Prepares a padding of a tensor of `shape` by `[before, after]` elements of each dimension with a code.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] when the paddings do not fit the shape or the output is too large.
    pub fn new(shape: &[usize], paddings: &[[usize; 2]], value: u8) -> Result<Self, Error> {
        let fail = |reason: &str| {
            Err(Error::Parameter {
                what: "paddings",
                reason: format!("{paddings:?} of {shape:?} {reason}"),
            })
        };
        if shape.is_empty() || shape.len() > RANK || paddings.len() != shape.len() {
            return fail("do not fit");
        }
        let padded = |(&length, &[before, after]): (&usize, &[usize; 2])| {
            length.checked_add(before)?.checked_add(after)
        };
        let output: Option<Vec<usize>> = shape.iter().zip(paddings).map(padded).collect();
        let Some(output) = output else { return fail("are too large") };
        let Some(outputs) = output.iter().try_fold(1usize, |n, &length| n.checked_mul(length))
        else {
            return fail("are too large");
        };
        let output_steps = row_major(&output);
        let start =
            paddings.iter().zip(&output_steps).map(|([before, _], step)| before * step).sum();
        Ok(Pad {
            steps: row_major(shape),
            shape: shape.to_vec(),
            output_steps,
            start,
            outputs,
            value,
        })
    }

    /// Runs on codes.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] when a slice does not fit its shape.
    pub fn run(&self, input: &[u8], output: &mut [u8]) -> Result<(), Error> {
        check_length("input", input.len(), self.shape.iter().product())?;
        check_length("output", output.len(), self.outputs)?;
        output.fill(self.value);
        let last = self.shape.len() - 1;
        let row = self.shape[last];
        let steps = [&self.steps[..last], &self.output_steps[..last]];
        for [from, to] in walk(&self.shape[..last], steps) {
            output[self.start + to..][..row].copy_from_slice(&input[from..][..row]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_lands_in_the_middle() {
        let pad = Pad::new(&[2, 2], &[[1, 0], [0, 2]], 9).unwrap();
        let mut output = [0; 12];
        pad.run(&[1, 2, 3, 4], &mut output).unwrap();
        assert_eq!(output, [9, 9, 9, 9, 1, 2, 9, 9, 3, 4, 9, 9]);
        assert!(pad.run(&[1], &mut output).is_err());
        assert!(Pad::new(&[2, 2], &[[1, 0]], 9).is_err());
        assert!(Pad::new(&[2], &[[usize::MAX, 1]], 9).is_err());
    }
}
