//! Views of typed slices as bytes and back, and the border between int8 values and codes.
//!
//! The rest of the workspace forbids `unsafe`; the reinterpretations that an arena of bytes needs are here.

/// Alignment of [`AlignedBytes`]: a cache line, and the widest vector register of any instruction set in use.
pub const ALIGNMENT: usize = 64;

/// A zero-initialized byte buffer that starts at a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub struct AlignedBytes {
    /// With room for the start.
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBytes {
    /// A buffer of `length` zero bytes.
    pub fn zeroed(length: usize) -> Self {
        // Zeros are had for nothing from the system, pages of them when they are first touched.
        let memory = vec![0; length + ALIGNMENT - 1];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        AlignedBytes { memory, start, length }
    }
}

impl Clone for AlignedBytes {
    fn clone(&self) -> Self {
        let mut clone = AlignedBytes::zeroed(self.length);
        clone.copy_from_slice(self);
        clone
    }
}

impl core::ops::Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl core::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

use alloc::vec;
use alloc::vec::Vec;

mod sealed {
    /// Plain numbers: no padding, every bit pattern valid.
    pub trait Number: Copy {}
    impl Number for u8 {}
    impl Number for i8 {}
    impl Number for i16 {}
    impl Number for i32 {}
    impl Number for i64 {}
    impl Number for f32 {}
}
pub(crate) use sealed::Number;

/// The memory of a slice of numbers, in the machine's byte order.
pub fn as_bytes<T: Number>(values: &[T]) -> &[u8] {
    // SAFETY: `T` is a plain number (sealed), so its memory is initialized bytes; the lifetime is that of `values`.
    unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The memory of a slice of numbers, to be written.
pub fn as_bytes_mut<T: Number>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `as_bytes`; every bit pattern is a valid `T`, so any bytes may be written.
    unsafe { core::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// Bytes as numbers; `None` when the start is not aligned for `T` or the length is no multiple of its size.
pub fn from_bytes<T: Number>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: every bit pattern is a valid `T` (sealed plain numbers).
    let (head, middle, tail) = unsafe { bytes.align_to::<T>() };
    (head.is_empty() && tail.is_empty()).then_some(middle)
}

/// Bytes as numbers to be written; `None` as in [`from_bytes`].
pub fn from_bytes_mut<T: Number>(bytes: &mut [u8]) -> Option<&mut [T]> {
    // SAFETY: every bit pattern is a valid `T`, and any `T` is valid bytes.
    let (head, middle, tail) = unsafe { bytes.align_to_mut::<T>() };
    (head.is_empty() && tail.is_empty()).then_some(middle)
}

/// Converts int8 values to codes, or codes to int8 values (in their memory as `u8`): adds 128 modulo 256.
///
/// # Panics
///
/// When the lengths differ.
pub fn flip_sign(source: &[u8], destination: &mut [u8]) {
    assert_eq!(source.len(), destination.len(), "flip_sign: lengths differ");
    for (d, s) in destination.iter_mut().zip(source) {
        *d = s ^ 0x80;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_bytes_are_aligned_and_zero() {
        for length in [0, 1, 63, 64, 65, 1000] {
            let mut bytes = AlignedBytes::zeroed(length);
            assert_eq!(bytes.len(), length);
            assert_eq!(bytes.as_ptr() as usize % ALIGNMENT, 0);
            assert!(bytes.iter().all(|&b| b == 0));
            bytes.fill(7);
            assert!(bytes.iter().all(|&b| b == 7));
        }
    }

    #[test]
    fn round_trips_and_refusals() {
        let values = [1.5f32, -2.0];
        assert_eq!(from_bytes::<f32>(as_bytes(&values)), Some(&values[..]));
        let bytes = AlignedBytes::zeroed(9);
        assert!(from_bytes::<i32>(&bytes[..8]).is_some());
        assert!(from_bytes::<i32>(&bytes[..7]).is_none());
        assert!(from_bytes::<i32>(&bytes[1..9]).is_none());
    }

    #[test]
    fn signs_flip_both_ways() {
        let mut codes = [0; 3];
        flip_sign(as_bytes(&[-128i8, 0, 127]), &mut codes);
        assert_eq!(codes, [0, 128, 255]);
    }
}
