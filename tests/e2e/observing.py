"""What the e2e tests ask of a stack's rows, and how they wait for what is to come."""

import json
import logging
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from deploy.local.django import Django
from deploy.local.environment import with_inherited

if TYPE_CHECKING:
    from tests.e2e.conftest import Stack

logger = logging.getLogger(__name__)

# A cycle of the e2e stack is 10 s and a look takes one more or two; on a crowded machine,
# minutes.
SEEN_S = 180
# Two checks of a card, or of a few, on a machine that has much else to do.
CHECKED_S = 180


class Rows:
    """One child that evaluates expressions: a process for each would cost a second."""

    def __init__(self, django: Django) -> None:
        self._django = django
        self.open()

    def open(self) -> None:
        """Start the child, or another after close()."""
        layout = self._django.layout
        self._child = subprocess.Popen(  # noqa: S603 -- the project's own module
            [layout.python, "-m", "tests.e2e.rows_shell"],
            cwd=layout.root,
            env=with_inherited(self._django.env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, expression: str) -> Any:
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(json.dumps(expression) + "\n")
        self._child.stdin.flush()
        answer = json.loads(self._child.stdout.readline())
        assert "value" in answer, answer["error"]
        return answer["value"]

    def close(self) -> None:
        self._child.communicate()


def rows(stack: "Stack", expression: str) -> Any:
    """Evaluate an expression over the stack's rows and return it through JSON."""
    return stack.rows(expression)


def decide(stack: "Stack", host: str, policy: str) -> None:
    """Have a host follow a policy, as a person would."""
    rows(
        stack,
        "str(__import__('inventory.host_policy').host_policy.set_policy("
        f"Host.objects.get(name='{host}').pk, "
        f"__import__('inventory.choices').choices.HostPolicy('{policy}'), "
        "__import__('inventory.ledger').ledger.Actor('user:test', 'for a test')))",
    )


def eventually(check: Callable[[], bool], what: str, within_s: float = SEEN_S) -> None:
    """Wait until `check` is true; log how long it took."""
    began = time.monotonic()
    while not check():
        assert time.monotonic() < began + within_s, what
        time.sleep(0.2)
    logger.info("%.1f s until not: %s", time.monotonic() - began, what)


def condition(stack: "Stack", slot: str) -> str:
    """Return the condition of the card that was enrolled first in a slot."""
    return str(
        rows(
            stack,
            f"Card.objects.filter(slot_path='{slot}').order_by('pk')[0].condition",
        )
    )


def conditions(stack: "Stack") -> dict[str, int]:
    """Return how many cards are in each condition, but for retired ones."""
    found = rows(
        stack,
        "list(Card.objects.exclude(condition='retired')"
        ".values_list('condition', flat=True))",
    )
    return {word: found.count(word) for word in sorted(set(found))}


def connection(stack: "Stack") -> str:
    return str(rows(stack, "Host.objects.get().connection"))


def open_claims(stack: "Stack") -> int:
    return int(rows(stack, "CardClaim.objects.filter(released_at=None).count()"))


def open_kinds(stack: "Stack") -> list[str]:
    return list(
        rows(
            stack,
            "sorted(Discrepancy.objects.filter(resolved_at=None)"
            ".values_list('kind', flat=True))",
        )
    )


def sells(stack: "Stack", count: int) -> None:
    """Wait until so many one-card launches fit: a host not just seen sells nothing."""
    sellable = (
        "sum(r.sellable for r in __import__('instances.capacity').capacity"
        ".cards_by_region(Plan.objects.filter(is_sold=True)))"
    )
    eventually(lambda: rows(stack, sellable) == count, f"sells other than {count}")


def healed(stack: "Stack") -> None:
    """Wait until nothing differs and every card has been checked; the ledger adds up."""
    eventually(lambda: open_kinds(stack) == [], "discrepancies stay open")
    stack.wait_for_cards()
    stack.manage("reconcile")
    stack.check("verify_ledger")
