//! Reports as files: one page, JSON, CSV and Markdown. `docs/report.md` describes them.

mod chart;
mod folder;
mod page;
mod tables;
mod text;

pub use folder::ReportFolder;
pub use page::html;
pub use tables::{ImageRow, per_layer_csv};
pub use text::{json, markdown};
