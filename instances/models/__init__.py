"""What customers run, on what terms, and the work that is done for it."""

from instances.models.account import Account, ApiToken, SSHKey
from instances.models.catalogue import Image, Plan
from instances.models.event import Event
from instances.models.instance import Instance
from instances.models.job import Job, JobStep

__all__ = [
    "Account",
    "ApiToken",
    "Event",
    "Image",
    "Instance",
    "Job",
    "JobStep",
    "Plan",
    "SSHKey",
]
