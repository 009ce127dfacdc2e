"""The step that brings a change of its firewall to a guest that goes on meanwhile."""

from instances.exceptions import StepFailed
from instances.jobs.context import StepContext
from instances.jobs.steps import define_filter, held
from instances.network_filter import filter_name
from inventory.exceptions import InvalidXml
from inventory.hypervisor.xml import filters_named_in


class ApplyFilter:
    name = "apply_filter"
    label = "Firewall applied"
    timeout_s = 180

    def do(self, context: StepContext) -> None:
        machine = held(context)
        if machine.spec.nic is not None and machine.is_on():
            document = machine.hypervisor.domain_xml(machine.spec.uuid)
            if filter_name(machine.spec.uuid) not in filters_named_in(document):
                # It runs since before there were firewalls, or by somebody's hand.
                raise StepFailed(
                    "The firewall is applied when the Linode is booted next.",
                    "the running domain does not refer to its own network filter",
                )
        try:
            define_filter(context)
        except InvalidXml as error:
            raise StepFailed(
                "The firewall could not be applied.", str(error)
            ) from error

    def undo(self, context: StepContext) -> None:
        """What the host was told is what is wanted, or will be once more."""
