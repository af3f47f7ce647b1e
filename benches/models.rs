//! The model that ships, and those of the test data where there are some: an inference in both numerics, and opening the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use mobileight_runtime::{Data, ElementType, Graph, Numerics, Plan, PlanOptions, Session, Tensor};
use mobileight_tflite::read_file;

fn models() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let default = root.join("../shared");
    let data = std::env::var_os("MOBILEIGHT_TEST_DATA").map_or(default, PathBuf::from);
    let mut models = vec![root.join("models/demo/int8.tflite")];
    for name in [
        "random_mobilenetv1_1.0_224_int8",
        "random_mobilenetv2_1.0_224_int8",
        "random_mobilenetv3large_1.0_224_int8",
        "mobilenet_v2_1.0_224_quant",
        "mobilenet_v1_0.5_160_quant",
    ] {
        let path = data.join("models").join(format!("{name}.tflite"));
        if path.exists() {
            models.push(path);
        } else {
            eprintln!("skipped: no {}", path.display());
        }
    }
    models
}

fn plan(graph: &Arc<Graph>, numerics: Numerics) -> Plan {
    let options = PlanOptions::default().numerics(numerics);
    Plan::new(Arc::clone(graph), options).expect("a model that can be planned")
}

fn inference(criterion: &mut Criterion) {
    for path in models() {
        let graph = Arc::new(read_file(&path).expect("a readable model"));
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut group = criterion.benchmark_group(name);
        for numerics in Numerics::ALL {
            let plan = plan(&graph, numerics);
            let id = graph.inputs()[0];
            let shape = plan.shape(id).unwrap_or_default().to_vec();
            let count = shape.iter().product();
            let data: Data = match graph.tensors()[id].element_type {
                ElementType::U8 => vec![100u8; count].into(),
                _ => vec![-28i8; count].into(),
            };
            let input = Tensor { shape, data };
            let mut session = Session::new(Arc::new(plan));
            group.bench_function(numerics.to_string(), |bencher| {
                bencher.iter(|| session.run(&[input.view()]).map(|_| ()));
            });
        }
        group.bench_function("open and plan", |bencher| {
            bencher.iter(|| {
                let graph = Arc::new(read_file(&path).expect("a readable model"));
                plan(&graph, Numerics::Xnnpack)
            });
        });
    }
}

criterion_group!(benches, inference);
criterion_main!(benches);
