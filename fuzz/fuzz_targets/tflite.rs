#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use mobileight_fuzz::fields;

fuzz_target!(|bytes: &[u8]| mobileight_fuzz::tflite(bytes));

// Half of the time a field of the file's tables, else any bytes.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match fields::mutate(&mut data[..size], seed) {
        true => size,
        false => fuzzer_mutate(data, size, max_size),
    }
});
