"""Cells of CSV files that spreadsheets must not take for formulas; pure."""

# What a spreadsheet takes for a formula at a cell's beginning (OWASP, "CSV Injection").
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def inert(cell: str) -> str:
    """Return the cell so that it is shown and not computed."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
