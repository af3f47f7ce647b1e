//! Runs random operators on the runtime and on the naive twin and compares every element.

use std::sync::Arc;

use mobileight_runtime::{Data, ElementType, Numerics, Plan, PlanOptions, Session, TensorView};

use crate::naive::{self, Values};
use crate::random::{Case, Random};

/// Makes a random operator.
pub type Family = fn(&mut Random, Numerics) -> Case;

/// Configurations for each numerics, half of them uint8 and half int8: fewer where CPUs are emulated.
pub const CONFIGURATIONS: u64 = if cfg!(target_arch = "x86_64") { 1000 } else { 100 };

/// The cases of a family for one numerics, with their seeds.
pub fn cases(family: Family, numerics: Numerics) -> impl Iterator<Item = (u64, Case)> {
    (0..CONFIGURATIONS).map(move |seed| {
        let element_type = if seed % 2 == 0 { ElementType::U8 } else { ElementType::I8 };
        (seed, family(&mut Random::new(seed, element_type), numerics))
    })
}

/// What the twin says of a case.
pub fn expected(case: &Case, numerics: Numerics) -> Values {
    let mut tensors = naive::evaluate(&case.graph, &case.inputs, numerics);
    tensors[case.graph.outputs()[0]].take().expect("the output is computed").values
}

/// How the outputs of a family are spread.
#[derive(Default)]
struct Tally {
    elements: usize,
    /// Neither the smallest nor the largest of their case.
    inner: usize,
    /// At an end of the element type.
    saturated: usize,
    is_8_bit: bool,
}

impl Tally {
    fn count(&mut self, values: &Values, element_type: ElementType) {
        let Values::Integers(values) = values else { return };
        let (least, most) = (values.iter().min().unwrap(), values.iter().max().unwrap());
        let (low, high) = element_type.integer_range().unwrap();
        self.elements += values.len();
        self.is_8_bit = element_type.is_8_bit();
        self.inner += values.iter().filter(|v| *v != least && *v != most).count();
        self.saturated += values.iter().filter(|v| **v == low || **v == high).count();
    }
}

/// Compares every configuration of a family; fails with the smallest that differs.
pub fn check(family: Family) {
    for numerics in Numerics::ALL {
        let mut tally = Tally::default();
        let mut failures: Vec<(usize, String)> = Vec::new();
        for (seed, case) in cases(family, numerics) {
            let expected = expected(&case, numerics);
            tally.count(&expected, case.output().element_type);
            if let Some(difference) = compare(&case, numerics, &expected) {
                let size = case.output().shape.iter().product();
                failures.push((size, format!("seed {seed}: {}\n  {difference}", case.describe())));
            }
        }
        let count = failures.len();
        if let Some((_, smallest)) = failures.into_iter().min_by_key(|(size, _)| *size) {
            panic!(
                "{numerics}: {count} of {CONFIGURATIONS} configurations differ; the smallest:\n{smallest}"
            );
        }
        // Floats and indices have no end to saturate at; most probabilities of a SOFTMAX are zero.
        assert!(
            tally.elements == 0 || tally.inner * 50 > tally.elements,
            "{numerics}: the outputs do not vary enough to tell: {} of {} are within, {} saturated",
            tally.inner,
            tally.elements,
            tally.saturated
        );
        assert!(!tally.is_8_bit || tally.saturated > 0, "{numerics}: no output saturated");
    }
}

/// Runs a case on the runtime; the first difference from what is expected, in words.
pub fn compare(case: &Case, numerics: Numerics, expected: &Values) -> Option<String> {
    let options = PlanOptions::default().numerics(numerics);
    let plan = match Plan::new(Arc::clone(&case.graph), options) {
        Ok(plan) => plan,
        Err(error) => return Some(format!("refused by the plan: {error}")),
    };
    let mut session = Session::new(Arc::new(plan));
    let views: Vec<TensorView<'_>> = case.inputs.iter().map(|input| input.view()).collect();
    let output = match session.run(&views) {
        Ok(outputs) => &outputs[0],
        Err(error) => return Some(format!("refused by the session: {error}")),
    };
    if output.shape != case.output().shape {
        return Some(format!("shape {:?}, expected {:?}", output.shape, case.output().shape));
    }
    let found = naive::values(&output.data);
    match (&found, expected) {
        (Values::Integers(found), Values::Integers(expected)) => {
            first_difference(found, expected, |a, b| a == b)
        }
        (Values::Floats(found), Values::Floats(expected)) => {
            first_difference(found, expected, |a, b| a.to_bits() == b.to_bits())
        }
        _ => Some(format!("element type {}", kind(&output.data))),
    }
}

fn kind(data: &Data) -> ElementType {
    data.view().element_type()
}

fn first_difference<T: std::fmt::Debug>(
    found: &[T],
    expected: &[T],
    equal: impl Fn(&T, &T) -> bool,
) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} elements, expected {}", found.len(), expected.len()));
    }
    let differs = |position: &usize| !equal(&found[*position], &expected[*position]);
    let position = (0..found.len()).find(differs)?;
    let count = (0..found.len()).filter(differs).count();
    Some(format!(
        "{count} of {} elements differ, the first at {position}: runtime {:?}, naive {:?}",
        found.len(),
        found[position],
        expected[position]
    ))
}
