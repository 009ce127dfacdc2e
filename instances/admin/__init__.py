"""Staff pages of the instances; importing this package registers them with the site."""

from instances.admin import inventory_words
from instances.admin.access import AccessEventAdmin
from instances.admin.accounts import AccountAdmin, ApiTokenAdmin, SSHKeyAdmin
from instances.admin.catalogue import HostImageAdmin, ImageAdmin, PlanAdmin
from instances.admin.discrepancies import DiscrepancyAdmin
from instances.admin.feedback import InstanceFeedbackAdmin
from instances.admin.flags import FlagAdmin, FlagChangeAdmin, FlagProposalAdmin
from instances.admin.instances import InstanceAdmin
from instances.admin.invoices import InvoiceAdmin
from instances.admin.launch_records import LaunchDecisionAdmin, ReadinessThresholdAdmin
from instances.admin.placement_groups import PlacementGroupAdmin
from instances.admin.quotas import GpuQuotaAdmin
from instances.admin.refusals import RefusedDemandAdmin
from instances.admin.reservations import ReservationAdmin
from instances.admin.trials import TrialAdmin
from instances.admin.usage import UsageIntervalAdmin
from instances.admin.waitlist import WaitlistEntryAdmin
from instances.admin.webhooks import WebhookAdmin, WebhookDeliveryAdmin
from instances.admin.work import EventAdmin, JobAdmin

inventory_words.teach()

__all__ = [
    "AccessEventAdmin",
    "AccountAdmin",
    "ApiTokenAdmin",
    "DiscrepancyAdmin",
    "EventAdmin",
    "FlagAdmin",
    "FlagChangeAdmin",
    "FlagProposalAdmin",
    "GpuQuotaAdmin",
    "HostImageAdmin",
    "ImageAdmin",
    "InstanceAdmin",
    "InstanceFeedbackAdmin",
    "InvoiceAdmin",
    "JobAdmin",
    "LaunchDecisionAdmin",
    "PlacementGroupAdmin",
    "PlanAdmin",
    "ReadinessThresholdAdmin",
    "RefusedDemandAdmin",
    "ReservationAdmin",
    "SSHKeyAdmin",
    "TrialAdmin",
    "UsageIntervalAdmin",
    "WaitlistEntryAdmin",
    "WebhookAdmin",
    "WebhookDeliveryAdmin",
]
