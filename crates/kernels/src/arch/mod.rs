//! Instruction sets: what the vector kernels are written in terms of, and which one runs.
//!
//! A kernel's algorithm is written once, over [`Simd`]; an instruction set is a thin implementation of it. A value of such a
//! type is the proof that the CPU has the instructions: its constructor asks. The portable kernels need none and are the oracle
//! for all others.

// Without a system to ask, CPUs have what the code is compiled for.
#[cfg(all(not(feature = "std"), target_arch = "aarch64"))]
macro_rules! is_aarch64_feature_detected {
    ($feature:tt) => {
        cfg!(target_feature = $feature)
    };
}
#[cfg(all(not(feature = "std"), target_arch = "x86_64"))]
macro_rules! is_x86_feature_detected {
    ($feature:tt) => {
        cfg!(target_feature = $feature)
    };
}

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) mod aarch64;
pub(crate) mod arm;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) mod wasm32;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_64;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::bytes::Number;
use crate::requantize::{FixedPoint, FixedPointMultiplier, Float};

/// A set of vector instructions that kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum InstructionSet {
    /// Plain Rust, for any CPU.
    Portable,
    /// x86-64 with AVX2: products of 16-bit pairs in 256-bit vectors.
    Avx2,
    /// x86-64 with AVX-VNNI, or the same instructions from AVX-512: dot products of four bytes in 256-bit vectors.
    AvxVnni,
    /// x86-64 with AVX-512 VNNI: dot products of four bytes in 512-bit vectors.
    Avx512Vnni,
    /// ARM. In 64 bits: products of bytes, added in pairs. In 32 bits, for convolutions only: multiply-adds of 16-bit numbers.
    Neon,
    /// 64-bit ARM with FEAT_DotProd: dot products of four signed bytes.
    Dotprod,
    /// 64-bit ARM with FEAT_I8MM: products of unsigned and signed bytes.
    I8mm,
    /// WebAssembly compiled with 128-bit vectors.
    Simd128,
}

impl InstructionSet {
    /// Every instruction set, the slowest first.
    pub const ALL: [InstructionSet; 8] = [
        InstructionSet::Portable,
        InstructionSet::Avx2,
        InstructionSet::AvxVnni,
        InstructionSet::Avx512Vnni,
        InstructionSet::Neon,
        InstructionSet::Dotprod,
        InstructionSet::I8mm,
        InstructionSet::Simd128,
    ];

    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            InstructionSet::Portable => "portable",
            InstructionSet::Avx2 => "avx2",
            InstructionSet::AvxVnni => "avxvnni",
            InstructionSet::Avx512Vnni => "avx512vnni",
            InstructionSet::Neon => "neon",
            InstructionSet::Dotprod => "dotprod",
            InstructionSet::I8mm => "i8mm",
            InstructionSet::Simd128 => "simd128",
        }
    }

    /// Whether this CPU has it.
    pub fn is_available(self) -> bool {
        match self {
            InstructionSet::Portable => true,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => x86_64::Avx2::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::AvxVnni if x86_64::AvxVnni::<x86_64::Vex>::new().is_some() => true,
            #[cfg(all(target_arch = "x86_64", feature = "evex"))]
            InstructionSet::AvxVnni => x86_64::AvxVnni::<x86_64::Evex>::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni => x86_64::Avx512Vnni::new().is_some(),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            InstructionSet::Neon => aarch64::Neon::<aarch64::Bytes>::new().is_some(),
            #[cfg(not(all(target_arch = "aarch64", target_endian = "little")))]
            InstructionSet::Neon => arm::Neon::new().is_some(),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            InstructionSet::Dotprod => aarch64::Neon::<aarch64::Signed>::new().is_some(),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            InstructionSet::I8mm => aarch64::Neon::<aarch64::Unsigned>::new().is_some(),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            InstructionSet::Simd128 => true,
            _ => false,
        }
    }

    /// The fastest that this CPU has.
    pub fn best() -> Self {
        let available = InstructionSet::ALL.into_iter().rev().find(|set| set.is_available());
        available.unwrap_or(InstructionSet::Portable)
    }

    /// Runs a task with these instructions; gives it back when there is no vector code for them, or not on this CPU.
    pub(crate) fn run<T: Task>(self, task: T) -> Result<(), T> {
        macro_rules! on {
            ($simd:ty) => {
                match <$simd>::new() {
                    Some(simd) => simd.vectorize(task),
                    None => return Err(task),
                }
            };
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => on!(x86_64::Avx2),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::AvxVnni if x86_64::AvxVnni::<x86_64::Vex>::new().is_some() => {
                on!(x86_64::AvxVnni<x86_64::Vex>)
            }
            #[cfg(all(target_arch = "x86_64", feature = "evex"))]
            InstructionSet::AvxVnni => on!(x86_64::AvxVnni<x86_64::Evex>),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni => on!(x86_64::Avx512Vnni),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            InstructionSet::Neon => on!(aarch64::Neon<aarch64::Bytes>),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            InstructionSet::Dotprod => on!(aarch64::Neon<aarch64::Signed>),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            InstructionSet::I8mm => on!(aarch64::Neon<aarch64::Unsigned>),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            InstructionSet::Simd128 => on!(wasm32::Simd128),
            _ => return Err(task),
        }
        Ok(())
    }
}

impl InstructionSet {
    /// Looks up the first codes of the input, as many as come in whole vectors; gives their number.
    pub(crate) fn look_up(self, table: &[u8; 256], input: &[u8], output: &mut [u8]) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 | InstructionSet::AvxVnni | InstructionSet::Avx512Vnni => {
                x86_64::look_up(self, table, input, output)
            }
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            InstructionSet::Neon | InstructionSet::Dotprod | InstructionSet::I8mm => {
                aarch64::look_up(table, input, output)
            }
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            InstructionSet::Simd128 => wasm32::look_up(table, input, output),
            _ => {
                let _ = (table, input, output);
                0
            }
        }
    }
}

/// Plain code whose loops compilers turn into vectors by themselves, better ones for a better instruction set.
pub trait Plain {
    /// Does it. Implementations are `#[inline(always)]`, and so is what they call: only what is inlined is compiled for the
    /// instruction set.
    fn run(self);
}

struct Compiled<P>(P);

impl<P: Plain> Task for Compiled<P> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.0.run();
    }
}

impl InstructionSet {
    /// Runs plain code as compiled for these instructions, or for any CPU where this one lacks them.
    pub fn run_plain(self, plain: impl Plain) {
        if let Err(Compiled(plain)) = self.run(Compiled(plain)) {
            plain.run();
        }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for InstructionSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        InstructionSet::ALL.into_iter().find(|set| set.name() == text).ok_or_else(|| {
            let names: Vec<&str> = InstructionSet::ALL.iter().map(|set| set.name()).collect();
            format!("unknown instruction set `{text}`: expected one of {}", names.join(", "))
        })
    }
}

/// Work that is written for any instruction set.
pub(crate) trait Task {
    /// Does it. Implementations are `#[inline(always)]`: only what is inlined into [`Simd::vectorize`] uses its instructions.
    fn run<S: Simd>(self, simd: S);
}

/// Inner loops of the convolutions that are not written over [`Simd`]. Each does what it says for the first numbers of its slices and gives
/// their number: plain code does the rest.
pub(crate) trait Loops: Copy {
    /// The proof that the CPU has them, or `None`.
    fn new() -> Option<Self>;

    /// Whose they are.
    fn instruction_set(self) -> InstructionSet {
        InstructionSet::Portable
    }

    /// Differences of codes and their zero point.
    #[inline(always)]
    fn differences(self, _codes: &[u8], _zero_point: u8, _to: &mut [i16]) -> usize {
        0
    }

    /// For each of the patches, which lie behind each other, the bias and the sum of its products with the weights, to every `stride`-th of
    /// the sums. Tells whether it did.
    #[inline(always)]
    fn products<const PIXELS: usize>(
        self,
        _patches: &[i16],
        _weights: &[i16],
        _bias: i32,
        _sums: &mut [i32],
        _stride: usize,
    ) -> bool {
        false
    }

    /// Adds to each sum the product of a code's difference to the zero point and a weight.
    #[inline(always)]
    fn multiply_add(
        self,
        _sums: &mut [i32],
        _codes: &[u8],
        _zero_point: u8,
        _weights: &[i16],
    ) -> usize {
        0
    }

    /// The codes of accumulators, each with its multiplier.
    #[inline(always)]
    fn requantize_float(
        self,
        _float: Float,
        _sums: &[i32],
        _multipliers: &[f32],
        _codes: &mut [u8],
    ) -> usize {
        0
    }

    /// The same in fixed point.
    #[inline(always)]
    fn requantize_fixed(
        self,
        _fixed: FixedPoint,
        _sums: &[i32],
        _multipliers: &[FixedPointMultiplier],
        _codes: &mut [u8],
    ) -> usize {
        0
    }
}

/// Plain code alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoLoops;

impl Loops for NoLoops {
    fn new() -> Option<Self> {
        // No instruction set is this.
        None
    }
}

/// Evaluates an expression with the [`Loops`] of an instruction set.
macro_rules! with_loops {
    ($set:expr, |$loops:ident| $value:expr) => {{
        use $crate::arch::{Loops, NoLoops, arm};
        let neon = match $set {
            $crate::InstructionSet::Neon => arm::Neon::new(),
            _ => None,
        };
        match neon {
            Some($loops) => $value,
            None => {
                let $loops = NoLoops;
                $value
            }
        }
    }};
}
pub(crate) use with_loops;

/// Vectors of 32-bit lanes, and dot products of small groups of codes and weights into them.
///
/// # Safety
///
/// A value may exist only on a CPU that has the instructions which the methods use; the methods rely on it.
pub(crate) unsafe trait Simd: Copy {
    /// Lanes of a vector: output channels computed by one instruction.
    const LANES: usize;
    /// Codes and weights that a lane multiplies in one instruction.
    const GROUP: usize;
    /// Vectors that [`store`](Simd::store) takes: the widest panel of output channels.
    const VECTORS: usize;
    /// The smallest and the largest weight.
    const WEIGHTS: [i16; 2] = [-128, 127];
    /// A code as the dot product takes it.
    type Code: Code;
    /// A vector of 32-bit integers, or of groups of codes or weights.
    type Integers: Copy;

    /// Runs a task compiled for these instructions.
    fn vectorize<T: Task>(self, task: T);

    /// Reads a vector of numbers.
    ///
    /// # Safety
    ///
    /// A vector's bytes must be readable at the address; no alignment is needed.
    unsafe fn load<T>(self, address: *const T) -> Self::Integers;

    /// Reads a group of weights for each lane, as the dot product takes them.
    ///
    /// # Safety
    ///
    /// `LANES * GROUP` weights must be readable at the address; no alignment is needed.
    #[inline(always)]
    unsafe fn weights(self, address: *const i8) -> Self::Integers {
        // SAFETY: the caller's: where they are taken as bytes, they fill a vector.
        unsafe { self.load(address) }
    }

    /// Reads a vector of groups of codes that differ between lanes.
    ///
    /// # Safety
    ///
    /// As for [`load`](Simd::load).
    #[inline(always)]
    unsafe fn load_codes(self, codes: *const Self::Code) -> Self::Integers {
        // SAFETY: the caller's.
        unsafe { self.load(codes) }
    }

    /// Brings the weights of whole vectors, packed as groups beside each other, into the order that [`weights`](Simd::weights) takes.
    #[inline(always)]
    fn arrange_weights(_weights: &mut [u8]) {}

    /// `LANES` codes as integers.
    ///
    /// # Safety
    ///
    /// They must be readable at the address.
    unsafe fn widen(self, codes: *const u8) -> Self::Integers;

    /// Writes a vector.
    ///
    /// # Safety
    ///
    /// `LANES` integers must be writable at the address.
    unsafe fn write(self, vector: Self::Integers, address: *mut i32);

    /// The same group of codes in each lane.
    ///
    /// # Safety
    ///
    /// `GROUP` codes must be readable at the address; no alignment is needed.
    unsafe fn broadcast(self, codes: *const Self::Code) -> Self::Integers;

    /// The same integer in each lane.
    fn splat(self, value: i32) -> Self::Integers;

    /// Adds each lane's dot product of a group of codes and a group of weights to its sum; sums wrap.
    fn dot(
        self,
        sums: Self::Integers,
        codes: Self::Integers,
        weights: Self::Integers,
    ) -> Self::Integers;

    /// [`dot`](Simd::dot) for the first groups of each of `P` pixels, broadcast, and for `V` vectors of weights for each group: as many
    /// groups as the instruction set multiplies better together; gives their number.
    ///
    /// # Safety
    ///
    /// `groups` groups are readable at `codes` and every `pixel` codes from there on, and weights for each at `weights`.
    #[inline(always)]
    unsafe fn dot_many<const P: usize, const V: usize>(
        self,
        _sums: &mut [[Self::Integers; V]; P],
        _codes: *const Self::Code,
        _pixel: usize,
        _weights: *const i8,
        _groups: usize,
    ) -> usize {
        0
    }

    /// Sums of lanes; they wrap.
    fn add(self, a: Self::Integers, b: Self::Integers) -> Self::Integers;

    /// Low halves of the products of lanes.
    fn multiply(self, a: Self::Integers, b: Self::Integers) -> Self::Integers;

    /// Accumulators times `f32` factors, rounded to nearest even; all products are within the integers' range.
    fn scale(self, sums: Self::Integers, factors: Self::Integers) -> Self::Integers;

    /// The same for integers to which [`BIAS`] was added, sums between -2^23 and 2^23; `offsets` are -2^23 times the factors. Where a sum
    /// is negative, what comes out is not positive, but otherwise off.
    ///
    /// The bits of such an integer are those of the `f32` 2^23 + sum, so that one multiply-add does for a conversion and a
    /// multiplication; both round the same product once.
    fn scale_biased(
        self,
        sums: Self::Integers,
        factors: Self::Integers,
        offsets: Self::Integers,
    ) -> Self::Integers;

    /// Accumulators times fixed-point factors: gemmlowp's high multiply by a positive mantissa, then its division by 2^shift, where
    /// shifts are at least 1 and halves are `2^(shift - 1)`.
    fn scale_fixed(
        self,
        sums: Self::Integers,
        mantissas: Self::Integers,
        halves: Self::Integers,
        shifts: Self::Integers,
    ) -> Self::Integers;

    /// The same where the shift, reduced by one in `shifts`, is at least 2, and halves are `2^(shift - 2)`. Where a sum is negative,
    /// what comes out is not positive, but otherwise off.
    ///
    /// Without the correction of negative results both roundings are one shift of the 64-bit product, of which the low half is not
    /// needed.
    fn scale_fixed_positive(
        self,
        sums: Self::Integers,
        mantissas: Self::Integers,
        halves: Self::Integers,
        shifts: Self::Integers,
    ) -> Self::Integers;

    /// Adds the zero point to scaled accumulators, clamps them to the range and writes the first `count` codes of them.
    ///
    /// # Safety
    ///
    /// `count` bytes must be writable at the address; `count` is at most `LANES * V`, and `V` at most `VECTORS`.
    unsafe fn store<const V: usize>(
        self,
        scaled: [Self::Integers; V],
        finish: Finish,
        output: *mut u8,
        count: usize,
    );

    /// [`store`](Simd::store) to two addresses; `V` is half of `VECTORS`.
    ///
    /// # Safety
    ///
    /// As for `store`, at either address.
    unsafe fn store_two<const V: usize>(
        self,
        scaled: [[Self::Integers; V]; 2],
        finish: Finish,
        outputs: [*mut u8; 2],
        count: usize,
    );

    /// Whether [`interleaved`](Simd::interleaved) takes less than storing interleaved codes and loading them once or twice.
    const READS_ROWS: bool = false;

    /// `LANES` codes of each of `GROUP` rows as [`interleave`](Simd::interleave) would store them.
    ///
    /// # Safety
    ///
    /// They must be readable.
    #[inline(always)]
    unsafe fn interleaved(self, rows: [*const u8; 4]) -> Self::Integers {
        let mut groups = [[Self::Code::from_code(0); 4]; 16];
        let codes = groups.as_flattened_mut();
        for lane in 0..Self::LANES {
            for (row, at) in rows.iter().zip(lane * Self::GROUP..(lane + 1) * Self::GROUP) {
                // SAFETY: the caller's.
                codes[at] = Self::Code::from_code(unsafe { row.add(lane).read() });
            }
        }
        // SAFETY: no vector has more than 16 lanes of 4 bytes.
        unsafe { self.load(codes.as_ptr()) }
    }

    /// Interleaves `LANES * VECTORS` codes of each of `GROUP` rows: groups of one code from each row, in the order of the codes.
    ///
    /// # Safety
    ///
    /// `LANES * VECTORS` bytes must be readable at each row and `GROUP` times as many codes writable at `output`.
    unsafe fn interleave(self, rows: [*const u8; 4], output: *mut Self::Code);
}

/// See [`Simd::scale_biased`]: the bits of the `f32` 2^23.
pub(crate) const BIAS: i32 = 0x4B00_0000;

/// The last step from a scaled accumulator to a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    pub zero_point: i16,
    pub range: [u8; 2],
}

impl Finish {
    /// Whether saturation to a byte is all that is left to do.
    #[inline(always)]
    pub fn is_saturation(self) -> bool {
        self.zero_point == 0 && self.range == [0, 255]
    }
}

/// What a dot product takes for a code.
pub(crate) trait Code: Number + Into<i32> {
    /// Whether it is the code itself.
    const IS_SAME: bool = false;

    /// A code, or what differs from all codes by the same constant.
    fn from_code(code: u8) -> Self;

    /// Converts codes.
    #[inline(always)]
    fn copy(codes: &[u8], to: &mut [Self]) {
        for (to, &code) in to.iter_mut().zip(codes) {
            *to = Self::from_code(code);
        }
    }
}

impl Code for u8 {
    const IS_SAME: bool = true;

    #[inline(always)]
    fn from_code(code: u8) -> Self {
        code
    }
}

impl Code for i8 {
    /// 128 less.
    #[inline(always)]
    fn from_code(code: u8) -> Self {
        (code ^ 0x80) as i8
    }
}

impl Code for i16 {
    #[inline(always)]
    fn from_code(code: u8) -> Self {
        code.into()
    }
}
