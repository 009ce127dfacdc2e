"""Invoices as plain dicts."""

from instances.api import wire
from instances.api.shapes import invoices as shapes
from instances.models import Invoice, InvoiceItem


def invoice_json(invoice: Invoice) -> shapes.Invoice:
    return {
        "id": invoice.pk,
        "label": invoice.label,
        "date": wire.time_of(invoice.issued_at),
        "billing_source": "linode",
        "subtotal": wire.number_of(invoice.subtotal),
        "tax": wire.number_of(invoice.tax),
        "tax_summary": [],
        "total": wire.number_of(invoice.total),
    }


def item_json(item: InvoiceItem) -> shapes.InvoiceItem:
    price = item.price_hourly
    return {
        "label": item.label,
        "type": "hourly",
        "region": item.region,
        "from": wire.time_of(item.starts_at),
        "to": wire.time_of(item.ends_at),
        "quantity": item.hours,
        "unit_price": None if price is None else str(price),
        "amount": wire.number_of(item.amount),
        "tax": 0,
        "total": wire.number_of(item.amount),
    }
