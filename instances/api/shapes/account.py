"""The account, its users, events and maintenance: API.md's tables, field by field."""

from typing import Annotated, Any, Literal, TypedDict

from instances.api.shapes.common import Entity, Moment
from instances.api.shapes.doc import Doc


class Event(TypedDict):
    id: Annotated[int, Doc("Grows with time.", 17)]
    action: Annotated[str, Doc("What was done.", "linode_boot")]
    status: Annotated[
        str, Doc("scheduled, started, finished, failed, notification.", "finished")
    ]
    percent_complete: Annotated[int, Doc("0 to 100.", 100)]
    created: Moment
    duration: Annotated[float | None, Doc("Seconds from its start to its end.", 6.2)]
    entity: Entity
    secondary_entity: Entity | None
    message: Annotated[str | None, Doc("Why it failed.")]
    username: Annotated[str | None, Doc("Who asked for it.", "carol")]
    seen: Annotated[bool, Doc("Set by .../seen.", False)]
    read: Annotated[bool, Doc("The same as seen.", False)]
    rate: str | None
    time_remaining: str | None


class CreditCard(TypedDict):
    expiry: str | None
    last_four: str | None


class Account(TypedDict):
    """What is not kept here is empty, null or 0: addresses, cards, promotions, balances."""

    euuid: Annotated[str, Doc("Opaque and lasting.")]
    company: Annotated[str, Doc("The account's name.", "Example AG")]
    email: Annotated[str, Doc("Where bills and warnings go.", "ops@example.net")]
    first_name: str
    last_name: str
    address_1: str
    address_2: str
    city: str
    state: str
    zip: str
    country: str
    phone: str
    tax_id: str
    active_since: Moment
    active_promotions: list[dict[str, Any]]
    balance: Annotated[float, Doc("US$.", 0)]
    balance_uninvoiced: Annotated[float, Doc("US$.", 0)]
    billing_source: Literal["linode", "akamai"]
    capabilities: Annotated[list[str], Doc("What the account can have.", ["Linodes"])]
    credit_card: CreditCard


class AccountUpdate(TypedDict, total=False):
    """What else an account has may be sent as it is, and is then left alone."""

    email: Annotated[str, Doc("Where bills and warnings go.", "ops@example.net")]


class AccountAvailability(TypedDict):
    region: Annotated[str, Doc("A region's id.", "us-east")]
    available: Annotated[list[str], Doc("What you can have there.", ["Linodes"])]
    unavailable: Annotated[list[str], Doc("What you cannot.", ["Kubernetes"])]


class AccountSettings(TypedDict):
    backups_enabled: bool
    interfaces_for_new_linodes: Annotated[str, Doc("Linode's word.")]
    longview_subscription: str | None
    maintenance_policy: Annotated[str, Doc("Of each Linode.", "linode/power_off_on")]
    managed: bool
    network_helper: bool
    object_storage: Annotated[str, Doc("disabled: there is none.", "disabled")]
    tfa_enforced: bool


class LastLogin(TypedDict):
    login_datetime: Moment
    status: str


class User(TypedDict):
    username: Annotated[str, Doc("Events show it.", "carol")]
    email: Annotated[str, Doc("Of the user, not of the account.", "c@example.net")]
    restricted: Annotated[bool, Doc("No user is; tokens are, by scopes.", False)]
    ssh_keys: Annotated[list[str], Doc("Labels of the user's keys.", ["laptop"])]
    tfa_enabled: bool
    tfa_enforced: bool
    user_type: Annotated[str, Doc("Linode's word.", "default")]
    last_login: LastLogin | None
    password_created: Moment | None
    verified_phone_number: str | None


class Maintenance(TypedDict):
    """A host of yours is being emptied or repaired; it goes when a person has decided when."""

    entity: Entity
    type: Annotated[str, Doc("What will happen to the Linode.", "power_off_on")]
    status: Annotated[str, Doc("pending, until its host is free.", "pending")]
    reason: Annotated[str, Doc("For people.")]
    description: Annotated[str, Doc("scheduled or emergency.", "scheduled")]
    source: Annotated[str, Doc("platform: not you.", "platform")]
    maintenance_policy_set: Annotated[str, Doc("", "linode/power_off_on")]
    when: Moment | None
    not_before: Moment | None
    start_time: Moment | None
    complete_time: Moment | None


class MaintenancePolicy(TypedDict):
    slug: Annotated[str, Doc("As Linodes name it.", "linode/power_off_on")]
    label: Annotated[str, Doc("For people.", "Power Off / Power On")]
    description: str
    type: Annotated[str, Doc("What happens to the Linode.", "power_off_on")]
    notification_period_sec: Annotated[int, Doc("Seconds of warning promised.", 0)]
    is_default: bool


class Notification(TypedDict):
    entity: Entity
    type: Annotated[str, Doc("maintenance is all there is.", "maintenance")]
    severity: Annotated[str, Doc("minor, major or critical.", "major")]
    label: Annotated[str, Doc("A few words.")]
    message: Annotated[str, Doc("A sentence.")]
    body: str | None
    when: Moment | None
    until: Moment | None


class Tag(TypedDict):
    label: Annotated[str, Doc("3 to 50 characters.", "prod")]


class TagCreate(TypedDict, total=False):
    label: Annotated[str, Doc("3 to 50 characters; none that exists.", "prod")]
    linodes: Annotated[list[int], Doc("Ids of Linodes that get it at once.", [123])]
