//! Progress on stderr, and Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use mobileight::comparison::{Observer, Phase};

/// Whether Ctrl-C was pressed. A second one ends the program at once.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches Ctrl-C from now on; once in a program.
    pub fn new() -> Result<Self> {
        let pressed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&pressed);
        ctrlc::set_handler(move || {
            if seen.swap(true, Ordering::Relaxed) {
                std::process::exit(1);
            }
            eprintln!("stopping: writing what there is (Ctrl-C again to quit at once)");
        })
        .context("cannot catch Ctrl-C")?;
        Ok(Interrupt(pressed))
    }

    fn pressed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A bar for each part of a comparison, with rate and time left; nothing when stderr is no terminal.
pub struct Progress {
    interrupt: Interrupt,
    bar: Mutex<ProgressBar>,
}

impl Progress {
    pub fn new(interrupt: &Interrupt) -> Self {
        Progress { interrupt: interrupt.clone(), bar: Mutex::new(ProgressBar::hidden()) }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar().finish_and_clear();
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, ProgressBar> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Progress {
    fn begin(&self, phase: Phase, steps: u64) {
        let (what, unit) = match phase {
            Phase::Images => ("both models", "images"),
            Phase::Layers => ("layers", "images"),
            Phase::Preprocessing => ("preprocessing", "images"),
            Phase::Sensitivity => ("sensitivity", "layers"),
            _ => ("working", "steps"),
        };
        let template =
            format!("{{msg:>14}} {{wide_bar}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left");
        let style = ProgressStyle::with_template(&template);
        let bar = ProgressBar::new(steps).with_message(what);
        if let Ok(style) = style {
            bar.set_style(style);
        }
        std::mem::replace(&mut *self.bar(), bar).finish_and_clear();
    }

    fn advance(&self, steps: u64) {
        self.bar().inc(steps);
    }

    fn stop(&self) -> bool {
        self.interrupt.pressed()
    }
}
