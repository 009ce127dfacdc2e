"""Staff pages for cards: who uses which, their state, and each one's life as a ledger."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.views import ChangeList

from inventory import card_actions
from inventory.admin.card_filters import StateFilter
from inventory.admin.card_page import card_page
from inventory.admin.colours import coloured
from inventory.admin.dialogs import (
    ReasonForm,
    actor_with_reason,
    leave_dialog,
    object_or_404,
)
from inventory.admin.holders import HolderChangeList, holder_link
from inventory.admin.read_only import ReadOnlyAdmin
from inventory.card_states import CardState, with_state
from inventory.choices import CARD_TRANSITIONS, CardCondition
from inventory.exceptions import InventoryError
from inventory.ledger import Actor
from inventory.models import Card, CardClaim, Host

CONDITION_COLOURS = {
    CardCondition.READY: "success",
    CardCondition.DIRTY: "warning",
    CardCondition.SANITISING: "info",
    CardCondition.TESTING: "info",
    CardCondition.UNVERIFIED: "warning",
    CardCondition.QUARANTINED: "danger",
    CardCondition.MISSING: "danger",
}


def _named(word: str) -> Q:
    """Return "a word of a search names it"; one query, for the hosts with such names.

    All of it is found by indexes then, but for slots, which a word without ":" names none.
    """
    hosts = Host.objects.filter(name__icontains=word).order_by()
    found = Q(host__in=list(hosts.values_list("pk", flat=True)))
    found |= Q(identity__startswith=word)
    return found | Q(slot_path__startswith=word) if ":" in word else found


@admin.register(Card)
class CardAdmin(ReadOnlyAdmin):
    list_display = (
        "__str__",
        "region",
        "gpu_model_name",
        "node",
        "shown_condition",
        "shown_state",
        "used_by",
    )
    list_filter = (
        StateFilter,
        ("host__region", admin.RelatedFieldListFilter),
        "gpu_model",
        "condition",
        ("host", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    list_select_related = ("host__region", "numa_node", "gpu_model")
    search_fields = ("host__name", "slot_path", "identity")
    search_help_text = gettext_lazy("Host, or how its PCI slot or identity begins")
    ordering = ("host__name", "slot_path")
    list_per_page = 50
    change_form_template = "admin/inventory/card/page.html"
    fields = (
        ("host", "node"),
        ("gpu_model_name", "slot_path"),
        ("condition", "condition_changed_at"),
        ("identity", "identity_is_weak"),
        "enrolled_at",
    )
    readonly_fields = ("gpu_model_name", "node")
    actions_detail = ("check_again", "quarantine", "retire")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Card]:
        claims = CardClaim.objects.filter(card=OuterRef("pk"), released_at=None)
        cards: QuerySet[Card] = super().get_queryset(request)
        holder = claims.order_by().values("consumer")[:1]
        held = cards.annotate(consumer=Subquery(holder))
        return with_state(held, is_held=Q(consumer__isnull=False))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Card], search_term: str
    ) -> tuple[QuerySet[Card], bool]:
        """Find by each word in turn; an OR over joined tables would look at each card."""
        for word in search_term.split():
            queryset = queryset.filter(_named(word))
        return queryset, False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return HolderChangeList

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {**(extra_context or {}), **card_page(request, object_id)}
        return super().change_view(request, object_id, form_url, context)

    @display(description=gettext_lazy("region"), ordering="host__region__slug")
    def region(self, card: Card) -> str:
        return card.host.region.slug

    @display(description=gettext_lazy("GPU model"), ordering="gpu_model__slug")
    def gpu_model_name(self, card: Card) -> str:
        return card.gpu_model.name

    @display(description=gettext_lazy("NUMA node"), ordering="numa_node__number")
    def node(self, card: Card) -> int:
        return card.numa_node.number

    @display(
        description=gettext_lazy("condition"),
        ordering="condition",
        label=coloured(CardCondition, CONDITION_COLOURS),
    )
    def shown_condition(self, card: Card) -> tuple[str, str]:
        return card.condition, card.get_condition_display()

    @display(description=gettext_lazy("state"), ordering="state")
    def shown_state(self, card: Any) -> str:
        known = dict(CardState.choices)
        return str(known.get(card.state, card.state))

    @display(description=gettext_lazy("used by"))
    def used_by(self, card: Any) -> str:
        return holder_link(card)

    def has_check_again_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        return self._may(request, object_id, set(card_actions.CHECKABLE))

    def has_retire_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        to = CardCondition.RETIRED
        return self._may(
            request,
            object_id,
            {c for c in CARD_TRANSITIONS if to in CARD_TRANSITIONS[c]},
        )

    def has_quarantine_permission(
        self, request: HttpRequest, object_id: str | None = None
    ) -> bool:
        to = CardCondition.QUARANTINED
        return self._may(
            request,
            object_id,
            {c for c in CARD_TRANSITIONS if to in CARD_TRANSITIONS[c]},
        )

    def _may(
        self, request: HttpRequest, object_id: str | None, allowed: set[CardCondition]
    ) -> bool:
        if not request.user.has_perm("inventory.change_card"):
            return False
        # What was sent is judged by the action, which says why it refuses.
        return request.method == "POST" or (
            object_or_404(self, request, object_id or "").condition in allowed
        )

    @action(
        description=gettext_lazy("Check again"),
        icon="fact_check",
        permissions=["check_again"],
        attrs={"aria-label": gettext_lazy("Have this card checked again")},
        dialog={
            "title": gettext_lazy("Have this card checked again"),
            "description": gettext_lazy(
                "It is not sold until it has passed. A quarantined card is overwritten "
                "first, then tested."
            ),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("Check again"),
        },
    )
    def check_again(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        return self._act(request, form, object_id, card_actions.send_to_checks)

    @action(
        description=gettext_lazy("Retire"),
        icon="delete_forever",
        variant=ActionVariant.DANGER,
        permissions=["retire"],
        attrs={"aria-label": gettext_lazy("Retire this card")},
        dialog={
            "title": gettext_lazy("Retire this card"),
            "description": gettext_lazy(
                "It leaves the fleet for good. Its history stays."
            ),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("Retire"),
            "submit_variant": "danger",
        },
    )
    def retire(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        return self._act(request, form, object_id, card_actions.retire)

    @action(
        description=gettext_lazy("Quarantine"),
        icon="block",
        variant=ActionVariant.DANGER,
        permissions=["quarantine"],
        attrs={"aria-label": gettext_lazy("Quarantine this card")},
        dialog={
            "title": gettext_lazy("Quarantine this card"),
            "description": gettext_lazy(
                "It is not sold again until it was sanitised and tested. Who uses it now "
                "keeps it."
            ),
            "form_class": ReasonForm,
            "form_submit_text": gettext_lazy("Quarantine"),
            "submit_variant": "danger",
        },
    )
    def quarantine(
        self, request: HttpRequest, form: ReasonForm, object_id: str
    ) -> HttpResponse:
        return self._act(request, form, object_id, card_actions.quarantine)

    def _act(
        self,
        request: HttpRequest,
        form: ReasonForm,
        object_id: str,
        verb: Callable[[int, Actor], Card],
    ) -> HttpResponse:
        card = object_or_404(self, request, object_id)
        url = reverse("admin:inventory_card_change", args=[card.pk])
        try:
            card = verb(card.pk, actor_with_reason(request, form))
        except InventoryError as error:
            return leave_dialog(request, url, refused=str(error))
        condition = card.get_condition_display()
        return leave_dialog(
            request,
            url,
            done=_("%(card)s is %(condition)s now.")
            % {"card": card, "condition": condition},
        )
