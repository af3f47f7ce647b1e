//! The fields of a `.tflite` file, to be changed where they are: random bytes rarely pass the verifier, other values in the places of
//! numbers do.

use fastrand::Rng;
use flatbuffers::{Follow, Table, Vector};
use tract_tflite::tflite::{self, BuiltinOptions, Model};

/// Where a number is, and its bytes.
type Place = (usize, usize);

/// Changes one to three numbers of the tables; says whether it did. Leaves half of the calls, and what is no model, to others.
pub fn mutate(bytes: &mut [u8], seed: u32) -> bool {
    let mut random = Rng::with_seed(seed.into());
    if random.bool() {
        return false;
    }
    let places = match tflite::root_as_model(bytes) {
        Ok(model) => Places::of(bytes, &model).found,
        Err(_) => return false,
    };
    if places.is_empty() {
        return false;
    }
    for _ in 0..1 + random.usize(..3) {
        let (at, size) = places[random.usize(..places.len())];
        let value = match random.usize(..4) {
            0 => number(bytes, at, size).wrapping_add(random.usize(..9) as u64).wrapping_sub(4),
            // What stands somewhere else often fits: another tensor, scale or length.
            1 => {
                let same: Vec<&Place> = places.iter().filter(|place| place.1 == size).collect();
                let &(from, _) = same[random.usize(..same.len())];
                number(bytes, from, size)
            }
            2 => INTERESTING[random.usize(..INTERESTING.len())],
            _ => random.u64(..),
        };
        bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }
    true
}

/// Borders of integers, and floats: 0, 1, infinity, NaN, a denormal, the largest, minus one.
const INTERESTING: [u64; 22] = [
    0,
    1,
    2,
    3,
    16,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
    u64::MAX,
    i64::MAX as u64,
    0x3f80_0000,
    0x7f80_0000,
    0x7fc0_0000,
    0x0000_0001,
    0x7f7f_ffff,
    0xbf80_0000,
    0x3380_0000,
];

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let mut word = [0; 8];
    word[..size].copy_from_slice(&bytes[at..at + size]);
    u64::from_le_bytes(word)
}

struct Places<'a> {
    bytes: &'a [u8],
    found: Vec<Place>,
}

impl<'a> Places<'a> {
    fn of(bytes: &'a [u8], model: &Model<'a>) -> Self {
        let mut places = Places { bytes, found: Vec::new() };
        for code in model.operator_codes().into_iter().flatten() {
            places.table(&code._tab);
        }
        let Some(graph) = model.subgraphs().and_then(|graphs| graphs.iter().next()) else {
            return places;
        };
        places.table(&graph._tab);
        places.vector(graph.inputs());
        places.vector(graph.outputs());
        for tensor in graph.tensors().into_iter().flatten() {
            places.table(&tensor._tab);
            places.vector(tensor.shape());
            if let Some(quantization) = tensor.quantization() {
                places.table(&quantization._tab);
                places.vector(quantization.scale());
                places.vector(quantization.zero_point());
            }
            // Small constants are parameters: axes, paddings, shapes.
            let buffer = model.buffers().filter(|all| (tensor.buffer() as usize) < all.len());
            let data = buffer.and_then(|all| all.get(tensor.buffer() as usize).data());
            places.vector(data.filter(|data| data.len() <= 64));
        }
        for operator in graph.operators().into_iter().flatten() {
            places.table(&operator._tab);
            places.vector(operator.inputs());
            places.vector(operator.outputs());
            // Options of no known kind are not verified.
            let kind = operator.builtin_options_type();
            let is_known = kind != BuiltinOptions::NONE && kind.variant_name().is_some();
            if is_known && let Some(options) = operator.builtin_options() {
                places.table(&options);
            }
        }
        places
    }

    /// The fields that a table has: each ends at the latest where the next begins.
    fn table(&mut self, table: &Table<'_>) {
        let vtable = table.vtable();
        // The verifier takes vtables without even their own sizes.
        if vtable.num_bytes() < 4 {
            return;
        }
        let mut offsets: Vec<usize> =
            (0..vtable.num_fields()).map(|at| vtable.get_field(at).into()).collect();
        offsets.retain(|&offset| offset > 0);
        offsets.push(vtable.object_inline_num_bytes());
        offsets.sort_unstable();
        for pair in offsets.windows(2) {
            let size = match pair[1].saturating_sub(pair[0]) {
                0 => continue,
                1 => 1,
                2 | 3 => 2,
                4..8 => 4,
                _ => 8,
            };
            self.push(table.loc() + pair[0], size);
        }
    }

    fn vector<'b, T: Follow<'b> + 'b>(&mut self, vector: Option<Vector<'b, T>>) {
        let Some(vector) = vector.filter(|vector| !vector.is_empty()) else { return };
        let start = vector.bytes().as_ptr().addr().wrapping_sub(self.bytes.as_ptr().addr());
        let size = vector.bytes().len() / vector.len();
        if matches!(size, 1 | 2 | 4 | 8) {
            (0..vector.len()).for_each(|at| self.push(start + at * size, size));
        }
    }

    fn push(&mut self, at: usize, size: usize) {
        if at.checked_add(size).is_some_and(|end| end <= self.bytes.len()) {
            self.found.push((at, size));
        }
    }
}
