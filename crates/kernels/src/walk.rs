//! Walking over tensors of any rank.

use alloc::vec;
use alloc::vec::Vec;

/// Most dimensions that a tensor may have.
pub(crate) const RANK: usize = 8;

/// Every index of `lengths` (at most [`RANK`] of them) in row-major order, as the offset that it has under each of `K` lists of steps.
///
/// An iterator, not a function that calls back: what a loop over it does is compiled where the loop is, for the instruction set there.
#[inline(always)]
pub(crate) fn walk<'a, const K: usize>(
    lengths: &'a [usize],
    steps: [&'a [usize]; K],
) -> Walk<'a, K> {
    Walk { lengths, steps, left: lengths.iter().product(), at: [0; RANK], offsets: [0; K] }
}

/// See [`walk`].
pub(crate) struct Walk<'a, const K: usize> {
    lengths: &'a [usize],
    steps: [&'a [usize]; K],
    left: usize,
    at: [usize; RANK],
    offsets: [usize; K],
}

impl<const K: usize> Iterator for Walk<'_, K> {
    type Item = [usize; K];

    #[inline(always)]
    fn next(&mut self) -> Option<[usize; K]> {
        self.left = self.left.checked_sub(1)?;
        let offsets = self.offsets;
        for d in (0..self.lengths.len()).rev() {
            self.at[d] += 1;
            for (offset, steps) in self.offsets.iter_mut().zip(self.steps) {
                *offset += steps[d];
            }
            if self.at[d] < self.lengths[d] {
                break;
            }
            for (offset, steps) in self.offsets.iter_mut().zip(self.steps) {
                *offset -= steps[d] * self.lengths[d];
            }
            self.at[d] = 0;
        }
        Some(offsets)
    }
}

/// The step of each dimension of a tensor in row-major order.
pub(crate) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut steps = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        steps[d - 1] = steps[d] * shape[d];
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_visited_in_order() {
        let shape = [2, 3, 4];
        let (mut expected, steps) = (0, row_major(&shape));
        for [own, other] in walk(&shape, [&steps, &[0, 10, 0]]) {
            assert_eq!((own, other), (expected, expected / 4 % 3 * 10));
            expected += 1;
        }
        assert_eq!(expected, 24);
        assert_eq!(walk(&[], [&[]]).collect::<Vec<_>>(), [[0]]);
    }
}
