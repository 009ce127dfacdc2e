"""The API's addresses below /v4 and /v4beta; each with and without a trailing slash.

Nothing redirects: a 301 turns a client's POST into a GET.
"""

from django.urls import URLPattern, path

from instances.api.endpoint import Endpoint
from instances.api.views.account import (
    AccountAvailabilityListView,
    AccountAvailabilityView,
    AccountView,
    MaintenanceListView,
    MaintenancePolicyListView,
    NotificationListView,
    SettingsView,
    UserListView,
    UserView,
)
from instances.api.views.addresses import (
    AddressListView,
    AddressView,
    InstanceAddressesView,
    InstanceAddressView,
)
from instances.api.views.availability import (
    AvailabilityListView,
    RegionAvailabilityView,
)
from instances.api.views.betas import (
    AccountBetaListView,
    AccountBetaView,
    BetaListView,
    BetaView,
)
from instances.api.views.console import ConsoleView
from instances.api.views.events import EventListView, EventSeenView, EventView
from instances.api.views.feedback import FeedbackView
from instances.api.views.firewalls import (
    FirewallDeviceListView,
    FirewallDeviceView,
    FirewallListView,
    FirewallRulesView,
    FirewallSettingsView,
    FirewallView,
    InstanceFirewallApplyView,
    InstanceFirewallListView,
)
from instances.api.views.gpus import (
    AttestationView,
    GpuListView,
    GpuReportView,
    TopologyView,
)
from instances.api.views.images import ImageListView, ImageView
from instances.api.views.instances import InstanceListView, InstanceView
from instances.api.views.invoices import (
    InvoiceItemListView,
    InvoiceListView,
    InvoiceView,
)
from instances.api.views.kernels import KernelListView, KernelView
from instances.api.views.openapi import DocumentView
from instances.api.views.placement_groups import (
    PlacementGroupAssignView,
    PlacementGroupListView,
    PlacementGroupUnassignView,
    PlacementGroupView,
)
from instances.api.views.power import (
    BootView,
    ConfigListView,
    DiskListView,
    DiskView,
    PasswordView,
    RebootView,
    RebuildView,
    ShutdownView,
)
from instances.api.views.profile import ProfileView
from instances.api.views.quotas import QuotaListView
from instances.api.views.regions import RegionListView, RegionView
from instances.api.views.reservations import ReservationListView, ReservationView
from instances.api.views.resize import InstanceResizeView
from instances.api.views.ssh_keys import SSHKeyListView, SSHKeyView
from instances.api.views.stock import (
    GpuModelListView,
    InventoryListView,
    QuoteView,
)
from instances.api.views.tags import TagListView, TagView
from instances.api.views.tokens import TokenListView, TokenUseListView, TokenView
from instances.api.views.trials import TrialListView, TrialView
from instances.api.views.types import TypeListView, TypeView
from instances.api.views.usage import UsageListView
from instances.api.views.waitlist import WaitlistEntryView, WaitlistView
from instances.api.views.webhooks import (
    WebhookDeliveryListView,
    WebhookListView,
    WebhookView,
)


def _both(route: str, view: type[Endpoint]) -> list[URLPattern]:
    # With the slash first: an image's id may hold slashes, and would take it in.
    return [path(f"{route}/", view.as_view()), path(route, view.as_view())]


urlpatterns = [
    *_both("regions", RegionListView),
    *_both("regions/availability", AvailabilityListView),
    *_both("regions/<str:region_id>", RegionView),
    *_both("regions/<str:region_id>/availability", RegionAvailabilityView),
    *_both("linode/types", TypeListView),
    *_both("linode/types/<str:type_id>", TypeView),
    *_both("linode/kernels", KernelListView),
    *_both("linode/kernels/<path:kernel_id>", KernelView),
    *_both("images", ImageListView),
    *_both("images/<path:image_id>", ImageView),
    *_both("linode/instances", InstanceListView),
    *_both("linode/instances/<int:instance_id>", InstanceView),
    *_both("linode/instances/<int:instance_id>/ips", InstanceAddressesView),
    *_both("linode/instances/<int:instance_id>/ips/<str:address>", InstanceAddressView),
    *_both("linode/instances/<int:instance_id>/boot", BootView),
    *_both("linode/instances/<int:instance_id>/reboot", RebootView),
    *_both("linode/instances/<int:instance_id>/shutdown", ShutdownView),
    *_both("linode/instances/<int:instance_id>/rebuild", RebuildView),
    *_both("linode/instances/<int:instance_id>/password", PasswordView),
    *_both("linode/instances/<int:instance_id>/disks", DiskListView),
    *_both("linode/instances/<int:instance_id>/disks/<int:disk_id>", DiskView),
    *_both("linode/instances/<int:instance_id>/configs", ConfigListView),
    *_both("linode/instances/<int:instance_id>/resize", InstanceResizeView),
    *_both("linode/instances/<int:instance_id>/firewalls", InstanceFirewallListView),
    *_both(
        "linode/instances/<int:instance_id>/firewalls/apply", InstanceFirewallApplyView
    ),
    *_both("networking/firewalls", FirewallListView),
    *_both("networking/firewalls/settings", FirewallSettingsView),
    *_both("networking/firewalls/<int:firewall_id>", FirewallView),
    *_both("networking/firewalls/<int:firewall_id>/rules", FirewallRulesView),
    *_both("networking/firewalls/<int:firewall_id>/devices", FirewallDeviceListView),
    *_both(
        "networking/firewalls/<int:firewall_id>/devices/<int:device_id>",
        FirewallDeviceView,
    ),
    *_both("networking/ips", AddressListView),
    *_both("networking/ips/<str:address>", AddressView),
    *_both("placement/groups", PlacementGroupListView),
    *_both("placement/groups/<int:group_id>", PlacementGroupView),
    *_both("placement/groups/<int:group_id>/assign", PlacementGroupAssignView),
    *_both("placement/groups/<int:group_id>/unassign", PlacementGroupUnassignView),
    *_both("account/events", EventListView),
    *_both("account/events/<int:event_id>", EventView),
    *_both("account/events/<int:event_id>/seen", EventSeenView),
    *_both("account", AccountView),
    *_both("account/availability", AccountAvailabilityListView),
    *_both("account/availability/<str:region_id>", AccountAvailabilityView),
    *_both("account/invoices", InvoiceListView),
    *_both("account/invoices/<int:invoice_id>", InvoiceView),
    *_both("account/invoices/<int:invoice_id>/items", InvoiceItemListView),
    *_both("account/settings", SettingsView),
    *_both("account/users", UserListView),
    *_both("account/users/<str:username>", UserView),
    *_both("account/maintenance", MaintenanceListView),
    *_both("maintenance/policies", MaintenancePolicyListView),
    *_both("account/notifications", NotificationListView),
    *_both("betas", BetaListView),
    *_both("betas/<str:beta_id>", BetaView),
    *_both("account/betas", AccountBetaListView),
    *_both("account/betas/<str:enrolled_beta_id>", AccountBetaView),
    *_both("profile", ProfileView),
    *_both("profile/sshkeys", SSHKeyListView),
    *_both("profile/sshkeys/<int:key_id>", SSHKeyView),
    *_both("profile/tokens", TokenListView),
    *_both("profile/tokens/<int:token_id>", TokenView),
    *_both("tags", TagListView),
    *_both("tags/<path:label>", TagView),
    *_both("openapi.json", DocumentView),
    *_both("gpucloud/gpu-models", GpuModelListView),
    *_both("gpucloud/inventory", InventoryListView),
    *_both("gpucloud/quotas", QuotaListView),
    *_both("gpucloud/quotes", QuoteView),
    *_both("gpucloud/reservations", ReservationListView),
    *_both("gpucloud/reservations/<int:reservation_id>", ReservationView),
    *_both("gpucloud/tokens", TokenUseListView),
    *_both("gpucloud/trials", TrialListView),
    *_both("gpucloud/trials/<int:trial_id>", TrialView),
    *_both("gpucloud/usage", UsageListView),
    *_both("gpucloud/waitlist", WaitlistView),
    *_both("gpucloud/waitlist/<int:entry_id>", WaitlistEntryView),
    *_both("gpucloud/webhooks", WebhookListView),
    *_both("gpucloud/webhooks/<int:webhook_id>", WebhookView),
    *_both("gpucloud/webhooks/<int:webhook_id>/deliveries", WebhookDeliveryListView),
    *_both("gpucloud/instances/<int:instance_id>/console", ConsoleView),
    *_both("gpucloud/instances/<int:instance_id>/gpus", GpuListView),
    *_both("gpucloud/instances/<int:instance_id>/topology", TopologyView),
    *_both("gpucloud/instances/<int:instance_id>/attestation", AttestationView),
    *_both("gpucloud/instances/<int:instance_id>/gpu-report", GpuReportView),
    *_both("gpucloud/instances/<int:instance_id>/feedback", FeedbackView),
]
