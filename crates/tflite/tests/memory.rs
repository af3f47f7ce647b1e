//! What opening a model and running it takes: the file, the packed weights, the arena, and little besides.

mod common;

use std::sync::Arc;

use mobileight_runtime::{DataView, ElementType, Plan, PlanOptions, Session, TensorView};
use mobileight_tflite::read_file;

#[test]
fn little_is_needed_besides_weights_and_activations() {
    let Some(folder) = common::models() else { return };
    for name in [
        "random_mobilenetv2_1.0_224_int8.tflite",
        "mobilenet_v2_1.0_224_quant.tflite",
        "mobilenet_v1_0.25_128_quant.tflite",
    ] {
        let path = folder.join(name);
        let mut expected = std::fs::metadata(&path).unwrap().len() as usize;
        let used = allocation_counter::measure(|| {
            let plan = Arc::new(
                Plan::new(Arc::new(read_file(&path).unwrap()), PlanOptions::default()).unwrap(),
            );
            expected += plan.packed_bytes() + plan.arena_bytes();
            let id = plan.graph().inputs()[0];
            let shape = plan.shape(id).unwrap().to_vec();
            let codes = vec![77; shape.iter().product()];
            let values = vec![77; codes.len()];
            let data = match plan.graph().tensors()[id].element_type {
                ElementType::U8 => DataView::U8(&codes),
                _ => DataView::I8(&values),
            };
            Session::new(plan).run(&[TensorView { shape: &shape, data }]).unwrap();
        });
        let besides = used.bytes_max as usize - expected;
        println!("{name}: {} bytes, {besides} besides", used.bytes_max);
        assert!(besides < 4_000_000, "{name}: {besides}");
    }
}
