//! `mobileight demo` with the real binary.

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_demo_compares_what_ships() {
    let out = std::env::temp_dir().join(format!("mobileight-demo-{}", std::process::id()));
    let _ = fs::remove_dir_all(&out);
    // Twice: a second run replaces the first.
    let [first, second] = ["2", "1"].map(|threads| {
        let output = Command::new(env!("CARGO_BIN_EXE_mobileight"))
            .args(["demo", "--threads", threads, "--out"])
            .arg(&out)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{message}");
        String::from_utf8(output.stdout).unwrap()
    });
    assert_eq!(first, second.replace("--threads 1", "--threads 2"));
    let report = |name: &str| -> Value {
        let page = out.join(name).join("report.html");
        assert!(page.exists());
        assert!(first.contains(page.to_str().unwrap()), "{first}");
        serde_json::from_slice(&fs::read(out.join(name).join("report.json")).unwrap()).unwrap()
    };
    let [per_channel, per_tensor] = ["int8", "int8_per_tensor"].map(report);
    let share =
        |report: &Value, network: &str| report["overall"]["top1"][network].as_f64().unwrap();
    assert!((0.93..=0.98).contains(&share(&per_channel, "first")));
    assert_eq!(share(&per_channel, "first"), share(&per_tensor, "first"));
    // What the demo shows: one conversion costs next to nothing, the other surely something, and the report says what to do.
    let drop = |report: &Value| report["overall"]["top1"]["drop"].as_f64().unwrap();
    assert!(drop(&per_channel).abs() < 1.5, "{}", drop(&per_channel));
    assert!(per_tensor["overall"]["top1"]["interval"][0].as_f64().unwrap() > 0.0);
    assert_eq!(per_tensor["advice"][0]["rule"], "per_channel_weights", "{}", per_tensor["advice"]);
    for report in [&per_channel, &per_tensor] {
        assert_eq!(report["images"]["evaluated"], 600);
        assert!(report["sensitivity"]["layers"].as_array().unwrap().len() > 40);
    }
    fs::remove_dir_all(&out).unwrap();
}
