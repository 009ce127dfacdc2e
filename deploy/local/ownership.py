"""Which checkout a `.local/` was made for: copied or moved, its records are wrong."""

from __future__ import annotations

from deploy.local.layout import Layout
from deploy.local.private_file import read_json_object, write_private_json
from deploy.local.problems import MovedCheckout


def prepare_local(layout: Layout) -> None:
    """Make `.local/` for this checkout.

    Raises: MovedCheckout if it was made for another one.
    """
    layout.local.mkdir(exist_ok=True)
    layout.logs.mkdir(mode=0o700, exist_ok=True)
    state = read_json_object(layout.state)
    made_for = state.get("root")
    if made_for is None:
        write_private_json(layout.state, state | {"root": str(layout.root)})
    elif not is_ours(layout):
        raise MovedCheckout(
            f"{layout.local} was made for {made_for}, and this is {layout.root}",
            "`make reset` empties it (`make stop` in the old place first, if it is"
            " still there)",
        )


def is_ours(layout: Layout) -> bool:
    """Say whether `.local/` was made for this path, or not at all yet."""
    return read_json_object(layout.state).get("root") in {None, str(layout.root)}
