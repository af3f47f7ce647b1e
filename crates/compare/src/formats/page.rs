//! The report as one page.

use base64::prelude::{BASE64_STANDARD, Engine};
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, context};
use sha2::{Digest, Sha256};

use super::chart;
use crate::report::Report;
use crate::{Error, describe, probability};

/// The report as `report.html`: one file that needs nothing else, and no script to be read.
///
/// # Errors
///
/// [`Error::Format`] when the page cannot be made.
pub fn html(report: &Report) -> Result<String, Error> {
    let mut environment = Environment::new();
    let script = include_str!("report.js");
    environment.add_filter("figure", figure);
    let thumbnails: Vec<Option<&String>> =
        report.worst.iter().map(|image| image.thumbnail.as_ref()).collect();
    environment
        .add_template("report.html", include_str!("report.html.j2"))
        .and_then(|()| {
            environment.get_template("report.html")?.render(context! {
                report => Value::from_serialize(report),
                headline => describe(&report.overall.top1),
                thumbnails => thumbnails,
                style => include_str!("report.css"),
                script => script,
                script_hash => BASE64_STANDARD.encode(Sha256::digest(script)),
                sqnr_chart => chart::sqnr(report),
                rounding_chart => chart::rounding(report),
                margins_chart => chart::margins(&report.overall.margins),
            })
        })
        .map_err(|error| Error::Format { format: "report.html", reason: format!("{error:#}") })
}

/// A figure as people read it; what is not there is a dash.
fn figure(value: &Value, kind: &str) -> String {
    if value.is_none() || value.is_undefined() {
        return "–".into();
    }
    if let Some(word) = value.as_str() {
        return match word {
            "infinity" => "∞".into(),
            "undefined" => "–".into(),
            other => other.into(),
        };
    }
    if value.kind() == ValueKind::Bool {
        return if value.is_true() { "yes" } else { "no" }.into();
    }
    let Ok(number) = f64::try_from(value.clone()) else { return value.to_string() };
    // No "-0.0".
    let number = number + 0.0;
    match kind {
        "share" => format!("{:.1} %", 100.0 * number),
        "points" => format!("{number:+.1}"),
        "lost" => format!("{:+.1}", -number + 0.0),
        "tenth" => format!("{number:.1}"),
        "hundredth" => format!("{number:.2}"),
        "thousandth" => format!("{number:.3}"),
        "probability" => probability(number),
        "fine" => format!("{number:.4}"),
        "precise" => format!("{number:.6}"),
        "mebibytes" => format!("{:.2} MiB", number / f64::from(1 << 20)),
        "millions" => format!("{:.1} M", number / 1e6),
        _ => {
            let digits = format!("{number:.0}");
            let mut grouped = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0
                    && (digits.len() - at) % 3 == 0
                    && digit.is_ascii_digit()
                    && !grouped.ends_with('-')
                {
                    grouped.push('\u{202f}');
                }
                grouped.push(digit);
            }
            grouped
        }
    }
}
