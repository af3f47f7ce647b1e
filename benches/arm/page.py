"""docs/arm.md, whose tables stand between markers."""

import pathlib

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/arm.md"


def write(name, text):
    """Replaces what stands between the markers of a name."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    head, rest = PAGE.read_text().split(begin)
    PAGE.write_text(head + begin + text + end + rest.split(end)[1])
