//! Placement of activations in one block of memory.

use alloc::vec::Vec;

use mobileight_kernels::bytes::ALIGNMENT;

/// The memory of one tensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub bytes: u64,
    /// The first and last step during which it is needed.
    pub first: usize,
    pub last: usize,
    /// Where it starts; set by [`place`].
    pub offset: u64,
}

/// Gives every block an aligned offset so that no two that are needed at the same time overlap; returns the bytes needed.
///
/// Greedy by size, largest first, each at the lowest free offset (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural
/// Net Inference", 2020).
pub(crate) fn place<'a>(blocks: impl Iterator<Item = &'a mut Block>) -> u64 {
    let mut blocks: Vec<&mut Block> = blocks.collect();
    blocks.sort_by_key(|block| (core::cmp::Reverse(block.bytes), block.first));
    // Copies beside each other: this takes time with the square of the blocks.
    let mut placed: Vec<Block> = Vec::with_capacity(blocks.len());
    let mut total = 0;
    for block in blocks {
        let mut offset = 0;
        // `placed` is in order of offsets: walk the gaps from the bottom.
        for other in placed.iter().filter(|o| o.first <= block.last && block.first <= o.last) {
            if offset + block.bytes <= other.offset {
                break;
            }
            offset = offset.max((other.offset + other.bytes).next_multiple_of(ALIGNMENT as u64));
        }
        block.offset = offset;
        total = total.max(offset + block.bytes);
        let at = placed.partition_point(|other| other.offset <= offset);
        placed.insert(at, *block);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_needed_together_do_not_overlap() {
        let mut state = 1u64;
        let mut random = |bound: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % bound
        };
        for _ in 0..200 {
            let mut blocks: Vec<Block> = (0..20)
                .map(|_| {
                    let first = random(30) as usize;
                    let last = first + random(6) as usize;
                    Block { bytes: 1 + random(1000), first, last, offset: 0 }
                })
                .collect();
            let total = place(blocks.iter_mut());
            for (i, a) in blocks.iter().enumerate() {
                assert_eq!(a.offset % ALIGNMENT as u64, 0);
                assert!(a.offset + a.bytes <= total);
                for b in &blocks[..i] {
                    let together = a.first <= b.last && b.first <= a.last;
                    let apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
                    assert!(!together || apart, "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn a_chain_takes_two_blocks() {
        let mut chain: Vec<Block> =
            (0..10).map(|at| Block { bytes: 64, first: at, last: at + 1, offset: 0 }).collect();
        assert_eq!(place(chain.iter_mut()), 128);
    }
}
