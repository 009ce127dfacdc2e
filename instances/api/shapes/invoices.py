"""What an account owes for a month: API.md's tables, field by field."""

from typing import Annotated, TypedDict

from instances.api.shapes.common import Moment
from instances.api.shapes.doc import Doc


class TaxSummary(TypedDict):
    name: str
    tax: float


class Invoice(TypedDict):
    """Of a month that is over; nothing of it ever changes."""

    id: Annotated[int, Doc("Lasting.", 12)]
    label: Annotated[str, Doc("With its month.", "Invoice 2026-11")]
    date: Annotated[Moment, Doc("The first moment after the month.")]
    billing_source: Annotated[str, Doc("Linode's word.", "linode")]
    subtotal: Annotated[float, Doc("$, of its items.", 45.0)]
    tax: Annotated[float, Doc("$; none is reckoned here.", 0.0)]
    tax_summary: Annotated[list[TaxSummary], Doc("Always empty.", [])]
    total: Annotated[float, Doc("$ to pay.", 45.0)]


# By call: `from` is no name that a class could have.
InvoiceItem = TypedDict(
    "InvoiceItem",
    {
        "label": Annotated[
            str, Doc("Type and Linode as they were.", "RTX6000 GPU x1 - trainer (123)")
        ],
        "type": Annotated[str, Doc("Linode's word.", "hourly")],
        "region": Annotated[str | None, Doc("Of /regions.", "us-east")],
        "from": Moment,
        "to": Moment,
        "quantity": Annotated[int, Doc("Hours, added up, then rounded up.", 30)],
        "unit_price": Annotated[
            str | None,
            Doc("$ an hour; null where it changed within the month.", "1.5000"),
        ],
        "amount": Annotated[
            float, Doc("$; hours by the price, at most the month's.", 45.0)
        ],
        "tax": Annotated[float, Doc("$; none is reckoned here.", 0.0)],
        "total": Annotated[float, Doc("$.", 45.0)],
    },
)
