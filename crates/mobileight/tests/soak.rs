//! Many inferences at once on one plan: the outputs of one thread, and no memory that grows.
#![cfg(feature = "tract")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mobileight::{Limits, Model, Pipeline, Session, Tensor, preprocess};

const THREADS: usize = 8;
const IMAGES: usize = 48;

/// Inferences in all; `MOBILEIGHT_SOAK=100000` for a long run.
fn inferences() -> usize {
    let told = std::env::var("MOBILEIGHT_SOAK").ok();
    told.map_or(1000, |count| count.parse().expect("MOBILEIGHT_SOAK is a number"))
}

/// Bytes of this process in memory; `None` where the system does not say.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
}

#[test]
fn threads_share_a_plan_for_long() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo");
    let pipeline = Pipeline::new(Model::open(demo.join("int8.tflite")).unwrap()).unwrap();
    let files = mobileight::image_files(&demo.join("images")).unwrap();
    let every = files.len() / IMAGES;
    let images: Vec<_> = files
        .iter()
        .step_by(every)
        .map(|path| preprocess::decode_file(path, &Limits::default()).unwrap())
        .collect();
    let inputs: Vec<Tensor> =
        images.iter().map(|image| pipeline.preprocessor().prepare(image).unwrap()).collect();
    let plan = pipeline.plan().expect("a quantized model");
    let mut serial = Session::new(Arc::clone(plan));
    let expected: Vec<Vec<Tensor>> =
        inputs.iter().map(|input| serial.run(&[input.view()]).unwrap().to_vec()).collect();
    assert!(expected.windows(2).any(|pair| pair[0] != pair[1]), "the images are not mixed");

    let total = inferences();
    let next = AtomicUsize::new(0);
    let is_done = AtomicBool::new(false);
    // Resident bytes and the inferences done by then.
    let mut samples: Vec<(usize, u64)> = Vec::new();
    let start = Instant::now();
    let work = |thread: usize| {
        let mut session = Session::new(Arc::clone(plan));
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= total {
                return;
            }
            // Another order in each thread.
            let image = (at * 7 + thread * 11) % inputs.len();
            let outputs = session.run(&[inputs[image].view()]).unwrap();
            assert_eq!(outputs, expected[image], "image {image} in thread {thread}");
            if at.is_multiple_of(16) {
                assert_eq!(pipeline.run(&images[image]).unwrap(), expected[image]);
            }
            // Sessions come and go.
            if at.is_multiple_of(500) {
                session = Session::new(Arc::clone(plan));
            }
        }
    };
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        let is_done = &is_done;
        let (next, samples) = (&next, &mut samples);
        let watch = scope.spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                let done = next.load(Ordering::Relaxed).min(total);
                samples.extend(resident().map(|bytes| (done, bytes)));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        is_done.store(true, Ordering::Relaxed);
        watch.join().unwrap();
        results.into_iter().for_each(|result| result.unwrap());
    });
    println!("{total} inferences on {THREADS} threads in {:.1} s", start.elapsed().as_secs_f64());
    // After a quarter everything has been used once.
    let largest = |from: usize, to: usize| {
        let within = samples.iter().filter(|(done, _)| (from..to).contains(done));
        within.map(|&(_, bytes)| bytes).max()
    };
    let (Some(before), Some(after)) = (largest(total / 4, total / 2), largest(total / 2, total))
    else {
        println!(
            "skipped: this system does not tell the resident memory, or the run was too short"
        );
        return;
    };
    println!("resident: {before} bytes at most in the second quarter, {after} in the second half");
    assert!(after < before + (2 << 20), "memory grows from {before} to {after} bytes");
}
