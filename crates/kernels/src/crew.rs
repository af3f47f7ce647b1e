//! Several threads on one sequence of steps.
//!
//! Each step writes one range of a common memory, in parts, and reads what lies around that range. A crew's threads claim parts one by
//! one, at first those of their own share: neighbouring steps' shares lie at the same place, and so in the same core's caches. A step
//! begins when all parts of the one before are done. Nobody waits for a thread that has not come yet: whoever is there does all the
//! work. Between steps threads spin, because a step takes microseconds.

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::marker::PhantomData;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
#[cfg(feature = "std")]
use std::thread::yield_now;

#[cfg(not(feature = "std"))]
use spin_loop as yield_now;

/// Looks at the state before a thread offers its core to others.
const SPINS: u32 = 1 << 12;

/// Where a step writes, cut into parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    output: Range<usize>,
    /// The end of each part, counted from the start of the output.
    ends: Vec<usize>,
}

impl Split {
    /// Cuts an output into at most `parts` parts of about the same length, between units of `unit` bytes.
    pub fn new(output: Range<usize>, unit: usize, parts: usize) -> Self {
        let length = output.len();
        let units = length.div_ceil(unit.max(1));
        let parts = parts.clamp(1, units.max(1));
        let end = |part: usize| ((part + 1) * units / parts).saturating_mul(unit).min(length);
        let mut ends: Vec<usize> = (0..parts - 1).map(end).collect();
        ends.push(length);
        Split { output, ends }
    }

    fn part(&self, part: usize) -> Range<usize> {
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[part]
    }

    fn check(&self, memory: usize) {
        let is_inside = self.output.start <= self.output.end && self.output.end <= memory;
        assert!(is_inside && self.ends.is_sorted() && self.ends.last() == Some(&self.output.len()));
    }
}

/// A part of a step, given to one thread.
#[derive(Debug)]
pub struct Part<'a> {
    /// The step's position.
    pub step: usize,
    /// The memory before the step's whole output.
    pub before: &'a [u8],
    /// The memory after it.
    pub after: &'a [u8],
    /// Where in the output the part starts.
    pub start: usize,
    /// The part's own memory.
    pub output: &'a mut [u8],
}

/// What threads claim from: made once, used for run after run.
#[derive(Debug)]
pub struct Shares(Vec<Claim>);

impl Shares {
    /// For up to this many threads.
    pub fn new(threads: usize) -> Self {
        Shares((0..threads.max(1)).map(|_| Claim(AtomicUsize::new(0))).collect())
    }
}

/// A counter in a cache line of its own, so that claiming does not disturb the other threads.
#[derive(Debug)]
#[repr(align(128))]
struct Claim(AtomicUsize);

/// Bits of a half of a [`Claim`].
const HALF: u32 = usize::BITS / 2;

/// Threads' common view of a run through all steps.
pub struct Crew<'a, E, W> {
    memory: *mut u8,
    length: usize,
    steps: &'a [Split],
    work: W,
    /// For each thread's share of parts: the current step in the upper half, the next part to be claimed in the lower.
    claims: &'a [Claim],
    /// Parts of the current step that are done.
    done: AtomicUsize,
    has_failed: AtomicBool,
    /// Written by the thread that was the first to fail.
    error: UnsafeCell<Option<E>>,
    borrowed: PhantomData<&'a mut [u8]>,
}

// SAFETY: the memory is borrowed for the crew's life, and its bytes are handed out to one thread at a time: see `help`. The error is
// written by one thread, and read by none before the crew is given up.
unsafe impl<E: Send, W: Sync> Sync for Crew<'_, E, W> {}

impl<'a, E: Send, W: Fn(Part<'_>, &mut [u8]) -> Result<(), E> + Sync> Crew<'a, E, W> {
    /// Prepares a run of `work` on each part of each step.
    ///
    /// # Panics
    ///
    /// When a step's output is not within the memory, or when steps or parts are too many to be counted in half a `usize`.
    pub fn new(memory: &'a mut [u8], steps: &'a [Split], shares: &'a mut Shares, work: W) -> Self {
        shares.0.iter_mut().for_each(|claim| *claim.0.get_mut() = 0);
        steps.iter().for_each(|step| step.check(memory.len()));
        let fits = |count: usize| count >> HALF == 0;
        assert!(fits(steps.len()) && steps.iter().all(|step| fits(step.ends.len())));
        Crew {
            memory: memory.as_mut_ptr(),
            length: memory.len(),
            steps,
            work,
            claims: &shares.0,
            done: AtomicUsize::new(0),
            has_failed: AtomicBool::new(false),
            error: UnsafeCell::new(None),
            borrowed: PhantomData,
        }
    }

    /// Works until all steps are done, or one has failed. `thread` tells which share of the parts comes first; `scratch` is the calling
    /// thread's own working memory.
    pub fn help(&self, thread: usize, scratch: &mut [u8]) {
        let mut idle = 0;
        while !self.has_failed.load(Ordering::Relaxed) {
            match self.claim(thread) {
                Claimed::Part(step, part) => {
                    idle = 0;
                    self.work(step, part, scratch);
                }
                Claimed::NoneLeft => return,
                Claimed::NoneYet => {
                    idle += 1;
                    if idle % SPINS == 0 { yield_now() } else { spin_loop() }
                }
            }
        }
    }

    /// A part that no other thread has.
    fn claim(&self, thread: usize) -> Claimed {
        let shares = self.claims.len();
        for share in (0..shares).map(|other| (thread + other) % shares) {
            let claim = &self.claims[share].0;
            // Acquires what the steps before have written.
            let mut seen = claim.load(Ordering::Acquire);
            loop {
                let (step, next) = (seen >> HALF, seen & ((1 << HALF) - 1));
                let Some(split) = self.steps.get(step) else { return Claimed::NoneLeft };
                let border = |share: usize| share * split.ends.len() / shares;
                let part = border(share) + next;
                if part >= border(share + 1) {
                    break;
                }
                let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
                match claim.compare_exchange_weak(seen, seen + 1, success, failure) {
                    Ok(_) => return Claimed::Part(step, part),
                    Err(now) => seen = now,
                }
            }
        }
        Claimed::NoneYet
    }

    fn work(&self, step: usize, part: usize, scratch: &mut [u8]) {
        let failure = FailureOnUnwind(&self.has_failed);
        let result = (self.work)(self.part(step, part), scratch);
        core::mem::forget(failure);
        if let Err(error) = result {
            if !self.has_failed.swap(true, Ordering::Relaxed) {
                // SAFETY: only one thread finds that nobody has failed before.
                unsafe { *self.error.get() = Some(error) };
            }
            return;
        }
        // Whoever does the last part has acquired the others', and releases them all.
        if self.done.fetch_add(1, Ordering::AcqRel) + 1 == self.steps[step].ends.len() {
            self.done.store(0, Ordering::Relaxed);
            for claim in self.claims {
                claim.0.store((step + 1) << HALF, Ordering::Release);
            }
        }
    }

    /// The result of all threads' work, when none works any more.
    ///
    /// # Errors
    ///
    /// The first error of a part.
    pub fn finish(self) -> Result<(), E> {
        self.error.into_inner().map_or(Ok(()), Err)
    }

    /// The memory of a part.
    fn part(&self, step: usize, part: usize) -> Part<'_> {
        let split = &self.steps[step];
        let Range { start, end } = split.output;
        let range = split.part(part);
        // SAFETY: within the memory, as checked; no other thread has this part, for each is claimed once, the parts of a step do not
        // overlap each other nor what is read around them, and parts of different steps are not worked on at the same time.
        unsafe {
            let at = |from: usize, to: usize| {
                core::slice::from_raw_parts(self.memory.add(from), to - from)
            };
            let own = self.memory.add(start + range.start);
            Part {
                step,
                before: at(0, start),
                after: at(end, self.length),
                start: range.start,
                output: core::slice::from_raw_parts_mut(own, range.len()),
            }
        }
    }
}

/// What a thread finds to do.
enum Claimed {
    /// A part of a step.
    Part(usize, usize),
    /// All parts of this step are taken.
    NoneYet,
    /// All steps are done.
    NoneLeft,
}

/// Lets the others stop when a thread unwinds.
struct FailureOnUnwind<'a>(&'a AtomicBool);

impl Drop for FailureOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps that each add up what the step before wrote.
    fn run(threads: usize, steps: &[Split], memory: &mut [u8]) -> Result<(), String> {
        let work = |part: Part<'_>, scratch: &mut [u8]| {
            scratch[0] = scratch[0].wrapping_add(1);
            if part.step == 77 {
                return Err(format!("step {}", part.step));
            }
            let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
            let around = sum(part.before).wrapping_add(sum(part.after));
            for (at, byte) in part.output.iter_mut().enumerate() {
                *byte = around.wrapping_mul(31).wrapping_add((part.start + at) as u8);
            }
            Ok(())
        };
        let mut shares = Shares::new(threads);
        let crew = Crew::new(memory, steps, &mut shares, work);
        std::thread::scope(|scope| {
            for thread in 1..threads {
                let crew = &crew;
                scope.spawn(move || crew.help(thread, &mut [0]));
            }
            crew.help(0, &mut [0]);
        });
        crew.finish()
    }

    fn steps(count: usize) -> Vec<Split> {
        let step = |at: usize| {
            let start = at * 37 % 150;
            Split::new(start..start + 1 + at * 53 % 90, 1 + at % 5, 1 + at % 7)
        };
        (0..count).map(step).collect()
    }

    #[cfg_attr(target_family = "wasm", ignore = "has no threads")]
    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        let steps = steps(if cfg!(miri) { 12 } else { 60 });
        let expected = {
            let mut memory = [1; 256];
            run(1, &steps, &mut memory).unwrap();
            memory
        };
        for threads in [2, 3, 8] {
            for _ in 0..if cfg!(miri) { 2 } else { 200 } {
                let mut memory = [1; 256];
                run(threads, &steps, &mut memory).unwrap();
                assert_eq!(memory, expected);
            }
        }
    }

    #[cfg_attr(target_family = "wasm", ignore = "has no threads")]
    #[test]
    fn errors_stop_all_threads() {
        for threads in 1..4 {
            let error = run(threads, &steps(90), &mut [1; 256]).unwrap_err();
            assert_eq!(error, "step 77");
        }
    }

    #[test]
    fn splits_are_at_units_and_cover_the_output() {
        assert_eq!(Split::new(10..30, 3, 2).ends, [9, 20]);
        assert_eq!(Split::new(10..30, 20, 4).ends, [20]);
        assert_eq!(Split::new(10..30, 100, 4).ends, [20]);
        assert_eq!(Split::new(5..5, 1, 4).ends, [0]);
        assert_eq!(Split::new(0..8, 1, 8).ends, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    #[should_panic(expected = "is_inside")]
    fn outputs_beyond_the_memory_are_refused() {
        let _ = run(1, &[Split::new(0..300, 1, 1)], &mut [0; 256]);
    }
}
