"""A usage report as JSON, and as CSV for a spreadsheet that must not take a name for a formula. Pure."""

import csv
import io
from typing import Final

from tallystick.base.money import format_amount
from tallystick.metering.report import Report

# What spreadsheets begin a formula with, also as the wide characters of some keyboards.
_FORMULA: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def as_json(report: Report) -> dict[str, object]:
    """Units are whole numbers; money is text, in credits."""
    return {
        "from": report.span.starts_at,
        "to": report.span.ends_at,
        "group_by": report.group_by,
        "usage": [
            {
                **({} if report.group_by == "meter" else {report.group_by: line.group}),
                "meter": line.meter,
                "units": line.units,
                "charge": format_amount(line.charge),
            }
            for line in report.lines
        ],
        "charge": format_amount(report.charge),
    }


def as_csv(report: Report) -> str:
    """One line for each of the report, under a heading; charges in credits."""
    written = io.StringIO()
    sheet = csv.writer(written)
    groups = () if report.group_by == "meter" else (report.group_by,)
    sheet.writerow((*groups, "meter", "units", "charge"))
    for line in report.lines:
        group = (inert(line.group or ""),) if groups else ()
        sheet.writerow((*group, inert(line.meter), line.units, format_amount(line.charge)))
    return written.getvalue()


def inert(text: str) -> str:
    """The text, so that a spreadsheet shows it and computes nothing: with an apostrophe where it would."""
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text
