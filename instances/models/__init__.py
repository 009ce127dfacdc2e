"""What customers run, on what terms, and the work that is done for it."""

from instances.models.access import AccessEvent
from instances.models.account import Account, ApiToken, SSHKey
from instances.models.api_use import ApiChange, TokenRate
from instances.models.catalogue import HostImage, Image, Plan, RegionPrice
from instances.models.event import Event
from instances.models.feedback import InstanceFeedback
from instances.models.firewall import Firewall, FirewallDevice
from instances.models.instance import Instance, SeedSettings
from instances.models.invoice import Invoice, InvoicedMonth, InvoiceItem
from instances.models.job import Job, JobStep
from instances.models.launch_notice import LaunchNotice
from instances.models.observability import Heartbeat, WorkDuration
from instances.models.placement_group import PlacementGroup, PlacementMember
from instances.models.quota import GpuQuota
from instances.models.refusal import RefusedDemand
from instances.models.report_mail import ReportMail
from instances.models.reservation import Reservation
from instances.models.resize import PendingResize
from instances.models.tag import Tag
from instances.models.trial import Trial
from instances.models.usage import UsageInterval
from instances.models.waitlist import WaitlistEntry
from instances.models.webhook import Webhook, WebhookDelivery

__all__ = [
    "AccessEvent",
    "Account",
    "ApiChange",
    "ApiToken",
    "Event",
    "Firewall",
    "FirewallDevice",
    "GpuQuota",
    "Heartbeat",
    "HostImage",
    "Image",
    "Instance",
    "InstanceFeedback",
    "Invoice",
    "InvoiceItem",
    "InvoicedMonth",
    "Job",
    "JobStep",
    "LaunchNotice",
    "PendingResize",
    "PlacementGroup",
    "PlacementMember",
    "Plan",
    "RefusedDemand",
    "RegionPrice",
    "ReportMail",
    "Reservation",
    "SSHKey",
    "SeedSettings",
    "Tag",
    "TokenRate",
    "Trial",
    "UsageInterval",
    "WaitlistEntry",
    "Webhook",
    "WebhookDelivery",
    "WorkDuration",
]
