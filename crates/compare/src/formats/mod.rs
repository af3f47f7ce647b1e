//! Reports as files: one page, JSON, CSV and Markdown.
