"""manage.py enrol_host URI --region R: take a GPU host into the fleet."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.enrolment import EnrolmentOrder, enrol
from inventory.exceptions import EnrolmentRefused, HostUnreachable, HypervisorError


class Command(BaseCommand):
    help = (
        "Enrol a host by its libvirt URI: NUMA nodes, CPUs, memory and cards. A host that "
        "is enrolled already gets the cards that are new."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("uri", help="such as qemu+tls://gpu1.example.net/system")
        parser.add_argument("--region", required=True, help="such as us-east")
        parser.add_argument("--name", default="", help="default: gpu-XXXXXXXX")
        parser.add_argument(
            "--plain",
            action="store_true",
            help="a host without cards, for plans without cards",
        )
        parser.add_argument(
            "--reserve-cpus-per-node",
            type=int,
            default=1,
            metavar="CORES",
            help="whole cores kept for the host on each NUMA node (default 1)",
        )
        parser.add_argument(
            "--reserve-memory-mib-per-node",
            type=int,
            default=4096,
            metavar="MIB",
            help="memory kept for the host on each NUMA node (default 4096)",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        order = EnrolmentOrder(
            uri=options["uri"],
            region=options["region"],
            name=options["name"],
            is_plain=options["plain"],
            reserved_cores=options["reserve_cpus_per_node"],
            reserved_memory_mib=options["reserve_memory_mib_per_node"],
        )
        try:
            report = enrol(order, "command:enrol_host")
        except EnrolmentRefused as error:
            raise CommandError(
                "Not enrolled:\n  " + "\n  ".join(error.problems)
            ) from error
        except HostUnreachable as error:
            raise CommandError(
                f"Not enrolled: {order.uri} does not answer: {error}\n"
                "  Is libvirtd running there, and the address and port right?"
            ) from error
        except HypervisorError as error:
            raise CommandError(f"Not enrolled: {error}") from error
        verb = "enrolled" if report.is_new else "known already"
        self.stdout.write(
            f"{report.host}: {verb}, {len(report.new_cards)} new cards, "
            f"{report.host.cards.count()} in all"
        )
        for reason in report.not_for_sale:
            self.stderr.write(f"not for sale: {reason}")
