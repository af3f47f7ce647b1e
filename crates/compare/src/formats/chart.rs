//! Charts as SVG: plain shapes that take their colours from the page.

use std::fmt::Write;

use crate::report::{Decibels, MarginBin, Report};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 26.0;
const TOP: f64 = 10.0;

/// Text for an attribute or an element.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The value of a `data-value` attribute: as in JSON.
fn raw(value: Decibels) -> String {
    match value.0 {
        nan if nan.is_nan() => "undefined".into(),
        infinite if infinite.is_infinite() => {
            if infinite > 0.0 { "infinity" } else { "-infinity" }.into()
        }
        finite => finite.to_string(),
    }
}

struct Axes {
    least: f64,
    most: f64,
    count: usize,
}

impl Axes {
    fn x(&self, at: usize) -> f64 {
        LEFT + (at as f64 + 0.5) * (WIDTH - LEFT) / self.count.max(1) as f64
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.least) / (self.most - self.least);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
    }

    fn begin(&self, title: &str, unit: &str) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\"><title>{0}</title>",
            escape(title)
        );
        let step = nice_step((self.most - self.least) / 4.0);
        let mut value = (self.least / step).ceil() * step;
        while value <= self.most + 1e-9 {
            let y = self.y(value);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                (value * 1000.0).round() / 1000.0,
            );
            value += step;
        }
        let _ = write!(svg, "<text class=\"tick\" x=\"0\" y=\"{TOP}\">{}</text>", escape(unit));
        svg
    }
}

/// 1, 2 or 5 times a power of ten.
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.max(1e-9).log10().floor());
    let digit = rough / power;
    power
        * if digit <= 1.0 {
            1.0
        } else if digit <= 2.0 {
            2.0
        } else if digit <= 5.0 {
            5.0
        } else {
            10.0
        }
}

/// SQNR layer by layer: alone as dots, accumulated as a line with dots.
pub fn sqnr(report: &Report) -> String {
    let layers = &report.layers.layers;
    let finite = layers
        .iter()
        .flat_map(|layer| [layer.local.as_ref(), layer.accumulated.as_ref()])
        .flatten()
        .map(|error| error.sqnr.0)
        .filter(|value| value.is_finite());
    let [least, most] = finite.fold([0.0f64, 10.0f64], |[a, b], v| [a.min(v), b.max(v)]);
    let axes = Axes { least: least.floor(), most: (most * 1.05).ceil(), count: layers.len() };
    let mut svg =
        axes.begin("SQNR of each layer: alone, and with all layers before it in INT8", "dB");
    let mut line = String::new();
    let mut dots = String::new();
    for (at, layer) in layers.iter().enumerate() {
        for (part, error) in [("local", &layer.local), ("accumulated", &layer.accumulated)] {
            let Some(error) = error else { continue };
            let value = error.sqnr;
            // No error at all is drawn at the upper edge, what is undefined at the lower.
            let y = axes.y(if value.0.is_nan() { axes.least } else { value.0 });
            if part == "accumulated" {
                let _ = write!(line, "{:.1},{y:.1} ", axes.x(at));
            }
            let _ = write!(
                dots,
                "<circle class=\"{part}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3\" data-figure=\"layers.layers.{at}.{part}.sqnr\" \
                 data-value=\"{}\"><title>{} {}: {} dB {part}</title></circle>",
                axes.x(at),
                raw(value),
                layer.operator,
                escape(&layer.name),
                super::text::decibels(value),
            );
        }
    }
    let _ =
        write!(svg, "<polyline class=\"accumulated-line\" points=\"{}\"/>{dots}", line.trim_end());
    svg += "</svg>";
    svg
}

/// RMSE over scale of each layer alone, beside the 0.289 of ideal rounding.
pub fn rounding(report: &Report) -> String {
    let layers = &report.layers.layers;
    let value = |at: usize| Some(layers[at].local.as_ref()?.rmse_over_scale);
    let most = (0..layers.len()).filter_map(value).fold(0.6f64, f64::max).min(4.0);
    let axes = Axes { least: 0.0, most, count: layers.len() };
    let mut svg =
        axes.begin("Rounding error of each layer alone, in quanta; 0.289 is ideal", "RMSE / scale");
    let width = 0.7 * (WIDTH - LEFT) / layers.len().max(1) as f64;
    for (at, layer) in layers.iter().enumerate() {
        let Some(value) = value(at) else { continue };
        let y = axes.y(value);
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" \
             data-figure=\"layers.layers.{at}.local.rmse_over_scale\" data-value=\"{value}\"><title>{} {}: {value:.3}</title></rect>",
            axes.x(at) - width / 2.0,
            HEIGHT - BOTTOM - y,
            layer.operator,
            escape(&layer.name),
        );
    }
    let y = axes.y(1.0 / 12f64.sqrt());
    let _ = write!(
        svg,
        "<line class=\"ideal\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/></svg>"
    );
    svg
}

/// Images by margin, and those of them that flipped.
pub fn margins(bins: &[MarginBin]) -> String {
    let most = bins.iter().map(|bin| bin.images).max().unwrap_or(0).max(1) as f64;
    let axes = Axes { least: 0.0, most, count: bins.len() };
    let mut svg = axes.begin("Images by the reference's margin, and flips among them", "images");
    let width = 0.8 * (WIDTH - LEFT) / bins.len().max(1) as f64;
    for (at, bin) in bins.iter().enumerate() {
        for (class, key, count) in [("bar", "images", bin.images), ("flips", "flips", bin.flips)] {
            let y = axes.y(count as f64);
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" \
                 data-figure=\"overall.margins.{at}.{key}\" data-value=\"{count}\"><title>{:.1} to {:.1}: {count} {key}</title></rect>",
                axes.x(at) - width / 2.0,
                HEIGHT - BOTTOM - y,
                bin.from,
                bin.to,
            );
        }
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.1}</text>",
            axes.x(at) - width * 0.625,
            HEIGHT - 8.0,
            bin.from
        );
    }
    svg += "</svg>";
    svg
}
