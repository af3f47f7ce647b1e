//! Reports as files.

use std::fs;
use std::path::PathBuf;

use mobileight_compare::formats::{ImageRow, ReportFolder, html, json, markdown, per_layer_csv};
use mobileight_compare::report::{
    Class, Decibels, Effect, Layer, LayerSensitivity, MarginBin, Preprocessing, RecipeScore,
    Report, Sensitivity, Split, TensorError, Unreadable, Weights, WorstImage,
};
use mobileight_compare::{Error, advise, gate, paired_difference};

const HOSTILE: &str = "</script><script>alert(\"x\")</script>|=1+1";

/// A report with everything that one may hold, names that want to be markup included.
fn rich() -> Report {
    let mut report = Report::new();
    report.overall.top1 = paired_difference([400, 40, 10, 50], 1);
    report.overall.top5 = paired_difference([470, 10, 5, 15], 1);
    (report.overall.images, report.overall.flips) = (500, 61);
    report.overall.agreement = 439.0 / 500.0;
    report.overall.margins = (0..10)
        .map(|at| MarginBin {
            from: at as f64 / 10.0,
            to: (at + 1) as f64 / 10.0,
            images: 10 * at + 20,
            flips: 9 - at,
        })
        .collect();
    let pair = report.overall.clone();
    report.split = Some(Split { weights: pair.clone(), activations: pair });
    report.gate = Some(gate(&report.overall.top1, 1.0));
    report.layers.images = 32;
    report.layers.layers = (0..5)
        .map(|operator| Layer {
            operator,
            kind: "CONV_2D".into(),
            name: format!("{HOSTILE}{operator}"),
            shape: vec![1, 7, 7, 8],
            local: Some(TensorError { rmse_over_scale: 0.29, ..TensorError::default() }),
            accumulated: Some(TensorError {
                sqnr: Decibels(if operator == 4 { f64::NAN } else { 30.0 - operator as f64 }),
                ..TensorError::default()
            }),
            weights: Some(Weights { range_ratio: 50.0, channels: 8, ..Weights::default() }),
            ..Layer::default()
        })
        .collect();
    report.layers.unmatched_int8 = vec![HOSTILE.into()];
    let effect = Effect { kl_mean: 0.1, agreement: 0.9, top1: None };
    report.sensitivity = Some(Sensitivity {
        images: 4,
        layers: vec![LayerSensitivity {
            name: HOSTILE.into(),
            only_int8: effect,
            ..LayerSensitivity::default()
        }],
    });
    let recipe = RecipeScore { name: "as used".into(), top1: Some(0.8), ..RecipeScore::default() };
    report.preprocessing = Some(Preprocessing { images: 64, recipes: vec![recipe] });
    let class = Class { index: 1, name: HOSTILE.into(), probability: 0.5 };
    report.worst = vec![WorstImage {
        file: HOSTILE.into(),
        label: Some(class.clone()),
        reference: vec![class.clone()],
        int8: vec![class],
        flipped: true,
        thumbnail: Some("data:image/png;base64,AAAA".into()),
        ..WorstImage::default()
    }];
    report.images.unreadable = vec![Unreadable { file: HOSTILE.into(), reason: "broken".into() }];
    report.int8.file = HOSTILE.into();
    // Not the nearest to any short decimal.
    report.int8.input.scale = Some(f64::from(1.0f32 / 127.5));
    report.advice = advise(&report);
    report
}

fn folder(name: &str) -> PathBuf {
    let path =
        std::env::temp_dir().join(format!("mobileight-formats-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    path
}

#[test]
fn json_gives_the_report_back() {
    for mut report in [Report::new(), rich()] {
        let text = json(&report).unwrap();
        let back: Report = serde_json::from_str(&text).unwrap();
        // Pictures are not in JSON, and NaN is not equal to itself.
        report.worst.iter_mut().for_each(|image| image.thumbnail = None);
        assert_eq!(json(&back).unwrap(), text);
        assert_eq!(back.overall, report.overall);
        assert_eq!(back.worst, report.worst);
    }
    assert!(json(&rich()).unwrap().contains("\"undefined\""));
    assert!(json(&rich()).unwrap().contains("\"infinity\""));
}

#[test]
fn names_stay_text() {
    let report = rich();
    let page = html(&report).unwrap();
    assert!(!page.contains("<script>alert"), "{page}");
    assert_eq!(page.matches("<script>").count(), 1);
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains("http://") && !page.contains("https://"));
    let summary = markdown(&report);
    assert!(!summary.contains("<script>") && !summary.contains("x\")</script>|"), "{summary}");
    let table = per_layer_csv(&report).unwrap();
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 5);
    let cell = |row: usize, name: &str| {
        rows[row][columns.iter().position(|c| c == name).unwrap()].to_owned()
    };
    assert_eq!(cell(2, "name"), format!("{HOSTILE}2"));
    assert_eq!(cell(0, "local_sqnr_db"), "inf");
    assert_eq!(cell(1, "accumulated_sqnr_db"), "29");
    assert_eq!(cell(4, "accumulated_sqnr_db"), "");
}

/// Every figure on the page is the one at its path in the JSON.
#[test]
fn the_page_holds_the_figures_of_the_json() {
    let report = rich();
    let page = html(&report).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json(&report).unwrap()).unwrap();
    let mut figures = 0;
    for part in page.split("data-figure=\"").skip(1) {
        let (path, rest) = part.split_once('"').unwrap();
        let value = rest.split_once("data-value=\"").unwrap().1.split_once('"').unwrap().0;
        let pointer = format!("/{}", path.replace('.', "/"));
        let expected = json.pointer(&pointer).unwrap_or(&serde_json::Value::Null);
        match expected {
            serde_json::Value::Number(number) => {
                let found: f64 = value.parse().unwrap_or_else(|_| panic!("{path}: {value}"));
                assert_eq!(found, number.as_f64().unwrap(), "{path}");
            }
            serde_json::Value::String(word) => assert_eq!(value, word, "{path}"),
            serde_json::Value::Null => assert_eq!(value, "", "{path}"),
            other => panic!("{path}: {other}"),
        }
        figures += 1;
    }
    assert!(figures > 150, "{figures}");
    let circles = page.matches("<circle class=\"accumulated\"").count();
    assert_eq!(circles, report.layers.layers.len());
    assert!(html(&Report::new()).unwrap().contains("No loss that 0 images can show"));
}

#[test]
fn a_report_is_whole_or_the_old_one() {
    let path = folder("whole");
    let mut first = ReportFolder::create(&path).unwrap();
    first.image(&ImageRow { file: "a.jpg".into(), ..ImageRow::default() }).unwrap();
    let page = first.finish(&rich()).unwrap();
    assert_eq!(page, path.join("report.html"));
    let names = ["per_image.csv", "per_layer.csv", "report.html", "report.json", "summary.md"];
    let listed = || {
        let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(listed(), names);
    let old = fs::read(path.join("per_image.csv")).unwrap();
    let mut second = ReportFolder::create(&path).unwrap();
    second.image(&ImageRow { file: "b.jpg".into(), ..ImageRow::default() }).unwrap();
    drop(second);
    assert_eq!(listed(), names);
    assert_eq!(fs::read(path.join("per_image.csv")).unwrap(), old);
    fs::remove_dir_all(&path).unwrap();
    // A folder that was made for nothing goes away again.
    drop(ReportFolder::create(&path).unwrap());
    assert!(!path.exists());
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    let path = folder("file");
    fs::write(&path, "a file").unwrap();
    let error = ReportFolder::create(&path).unwrap_err();
    assert!(matches!(&error, Error::Write { path: found, .. } if *found == path), "{error}");
    fs::remove_file(&path).unwrap();
}
