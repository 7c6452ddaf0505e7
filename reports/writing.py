"""A report as files."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.results import atomic_file, write_text
from reports.markdown import to_markdown
from reports.page import to_page
from reports.report import Report


def write_report(report: Report, out: Path, *, with_records: bool = False) -> list[Path]:
    """Write report.md, report.html, table.csv and figures/ (with records/) into a folder; returns the files.

    What an earlier report has left in figures/ and records/ there, and this one has not, is removed.

    Raises:
        UserError: the folder cannot be written.
    """
    contents: dict[Path, bytes] = {
        out / "table.csv": report.csv.encode(),
        out / "report.html": to_page(report.document).encode(),
    }
    for picture in report.document.pictures():
        contents[out / "figures" / f"{picture.name}.svg"] = picture.svg
        contents[out / "figures" / f"{picture.name}.png"] = picture.png
    if with_records:
        for name, record in report.records.items():
            text = record.model_dump_json(indent=2) + "\n"
            contents[out / "records" / name] = text.encode()
    stale: set[Path] = set()
    if (out / "report.md").exists():  # an earlier report's folder, not somebody's pictures
        folders = ["figures/*.svg", "figures/*.png", *(["records/*.json"] if with_records else [])]
        stale = {path for pattern in folders for path in out.glob(pattern)} - set(contents)
    try:
        for path, data in contents.items():
            with atomic_file(path) as stream:
                stream.write(data)
        for path in stale:
            path.unlink()
        # last: whoever sees it finds everything that it shows
        write_text(out / "report.md", to_markdown(report.document))
    except OSError as error:
        raise UserError(f"--out: {out} cannot be written ({error.strerror}); choose another folder") from None
    return [*contents, out / "report.md"]
