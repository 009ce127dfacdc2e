"""What a report is, whatever shows it: columns with units, rows, remarks."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

Cell = str | int | float | Decimal | date | datetime | None


@dataclass(frozen=True, slots=True)
class Column:
    """heading: with its unit, such as "GPU hours". is_number: set to the right.

    is_share: of something, in per cent.
    """

    heading: str
    is_number: bool = False
    is_share: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """remarks: what the numbers suppose. chart: index of the column drawn as bars."""

    columns: tuple[Column, ...]
    rows: list[tuple[Cell, ...]]
    remarks: tuple[str, ...] = ()
    chart: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is to tell of. since, until: days, both in it, UTC. region: a slug.

    region: empty for all. moment: None for now. flag: by name, of what is behind it alone;
    empty for all.
    """

    since: date
    until: date
    region: str = ""
    moment: datetime | None = None
    flag: str = ""

    @property
    def moments(self) -> tuple[datetime, datetime]:
        """When it begins and when it is over, UTC."""
        begins, ends = (
            datetime.combine(day, time(), tzinfo=UTC) for day in (self.since, self.ends)
        )
        return begins, ends

    @property
    def ends(self) -> date:
        """The first day that is not in it."""
        return self.until + timedelta(days=1)


def shown(cell: Cell) -> str:
    """Return a cell as people read it."""
    if cell is None:
        return "-"
    return cell.isoformat() if isinstance(cell, date) else str(cell)


def text(heading: str) -> Column:
    return Column(heading)


def number(heading: str) -> Column:
    return Column(heading, is_number=True)


def percentage(heading: str) -> Column:
    return Column(heading, is_number=True, is_share=True)


def share(part: float, whole: float) -> float | None:
    """Return part of whole in per cent, one decimal; None of nothing."""
    return round(100 * part / whole, 1) if whole else None
