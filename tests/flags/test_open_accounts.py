"""open_accounts says of many accounts what is_available says of each."""

import pytest

from flags.availability import is_available, open_accounts
from instances.models import Account
from tests.builders import make_account, make_flag

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("everyone", [True, False, None])
@pytest.mark.parametrize("tags", [(), ("employee",), ("beta", "employee")])
@pytest.mark.parametrize("flag_name", ["gpu", "", "unknown"])
def test_it_agrees_with_the_gate(
    everyone: bool | None, tags: tuple[str, ...], flag_name: str
) -> None:
    listed = make_account()
    make_account(tags=("employee",))
    make_account(tags=("beta", "other"))
    make_account()
    make_flag("gpu", everyone=everyone, accounts=(listed,), tags=tags)

    found = set(open_accounts([flag_name], Account.objects.all()))

    assert found == {a for a in Account.objects.all() if is_available([flag_name], a)}
