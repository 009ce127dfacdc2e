"""manage.py host_setup NAME: print what a host needs, as text or as an Ansible playbook."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.host_setup import setup_facts
from inventory.setup_files import as_playbook, as_text, setup_of


class Command(BaseCommand):
    help = (
        "Print what a GPU host needs: kernel words, vfio-pci, hugepages, CPUs kept for the "
        "host, libvirt with TLS or a restricted SSH key, pools and network. By its rows if "
        "it is enrolled. Nothing is written anywhere, and the host is not asked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the host's name, enrolled or not")
        parser.add_argument(
            "--ansible", action="store_true", help="print a playbook instead of text"
        )
        parser.add_argument(
            "--client",
            action="append",
            default=[],
            metavar="DN",
            help="distinguished name of a certificate that may connect, such as "
            "CN=web1.gpucloud; may be repeated",
        )
        parser.add_argument(
            "--ssh-key",
            default="",
            metavar="KEY",
            help="instead of TLS: the public key that may run libvirt's helper and no more",
        )
        parser.add_argument(
            "--hugepages-gib",
            type=int,
            metavar="GIB",
            help="pages of 1 GiB on each NUMA node (default: as the host has them)",
        )

    def handle(self, *_: Any, name: str, **options: Any) -> None:
        key, clients, pages = (
            options["ssh_key"].strip(),
            options["client"],
            options["hugepages_gib"],
        )
        if key and clients:
            raise CommandError("--client is of TLS: leave out --ssh-key, or it")
        if len(key.splitlines()) > 1:
            raise CommandError("--ssh-key: give one public key, on one line")
        if pages is not None and pages < 0:
            raise CommandError("--hugepages-gib: give 0 or more")
        setup = setup_of(
            setup_facts(name, clients=tuple(clients), ssh_key=key, hugepages_gib=pages)
        )
        told = as_playbook(setup) if options["ansible"] else as_text(setup)
        self.stdout.write(told, ending="")
