"""GET /account/invoices: what each month that is over came to, and its items."""

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from instances.api.endpoint import Endpoint
from instances.api.filter_fields import INVOICE_FIELDS
from instances.api.listing import listing
from instances.api.openapi.operations import operation
from instances.api.serializers.invoices import invoice_json, item_json
from instances.api.shapes import invoices as shapes
from instances.models import Invoice


class _AccountsInvoices(Endpoint):
    category = "account"

    def invoices(self) -> QuerySet[Invoice]:
        return Invoice.objects.filter(account=self.account).order_by("pk")

    def invoice(self, invoice_id: int) -> Invoice:
        found = self.invoices().filter(pk=invoice_id).first()
        if found is None:
            raise Http404
        return found


class InvoiceListView(_AccountsInvoices):
    @operation("List invoices", shapes.Invoice, fields=INVOICE_FIELDS)
    def get(self, request: Request) -> Response:
        return listing(request, self.invoices(), INVOICE_FIELDS, invoice_json)


class InvoiceView(_AccountsInvoices):
    @operation("View an invoice", shapes.Invoice)
    def get(self, request: Request, invoice_id: int) -> Response:
        return Response(invoice_json(self.invoice(invoice_id)))


class InvoiceItemListView(_AccountsInvoices):
    @operation("List items of an invoice", shapes.InvoiceItem, fields={})
    def get(self, request: Request, invoice_id: int) -> Response:
        items = self.invoice(invoice_id).items.order_by("pk")
        return listing(request, items, {}, item_json)
