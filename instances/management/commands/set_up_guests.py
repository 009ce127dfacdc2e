"""manage.py set_up_guests: say where a host keeps guests' disks, and give it a network."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from inventory.choices import NetworkKind
from inventory.models import AddressPool, GuestSetup, Host
from inventory.models.guest_setup import setup_of


class Command(BaseCommand):
    help = (
        "Name the libvirt network or the bridge that a host's guests hang on, and an "
        "address pool for its region. Both can be changed in the admin, too."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("host")
        kind = parser.add_mutually_exclusive_group()
        kind.add_argument("--network", default="", help="libvirt network")
        kind.add_argument("--bridge", default="", help="bridge of the host")
        parser.add_argument("--subnet", help="addresses for guests: 203.0.113.0/24")
        parser.add_argument("--first", help="first address for guests")
        parser.add_argument("--last", help="last address for guests")
        parser.add_argument("--gateway")
        parser.add_argument("--nameserver", action="append", default=[])
        parser.add_argument("--ipv6-prefix", help="a /64 that a router advertises")
        parser.add_argument(
            "--own-addresses",
            action="store_true",
            help="for guests of this host alone, not of its region",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        host = Host.objects.filter(name=options["host"]).first()
        if host is None:
            raise CommandError(f"no host is called {options['host']}")
        try:
            with transaction.atomic():
                setup = _set_up(host, options)
                pool = _pool(host, options) if options["subnet"] else None
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stdout.write(f"{setup}: {setup.network_name or 'no network'}")
        if pool is not None:
            self.stdout.write(f"{pool}: {pool.first} to {pool.last}")


def _set_up(host: Host, options: dict[str, Any]) -> GuestSetup:
    setup = setup_of(host)
    if options["network"] or options["bridge"]:
        is_bridge = bool(options["bridge"])
        setup.network_kind = NetworkKind.BRIDGE if is_bridge else NetworkKind.NETWORK
        setup.network_name = options["bridge"] or options["network"]
    setup.full_clean()
    setup.save()
    return setup


def _pool(host: Host, options: dict[str, Any]) -> AddressPool:
    missing = [n for n in ("first", "last", "gateway") if not options[n]]
    if missing:
        raise CommandError(f"--subnet needs --{' and --'.join(missing)}")
    pool = AddressPool.objects.filter(
        region=host.region, network=options["subnet"]
    ).first()
    pool = pool or AddressPool(region=host.region, network=options["subnet"])
    pool.name = pool.name or f"{host.region.slug}-{host.region.address_pools.count()}"
    pool.host = host if options["own_addresses"] else None
    pool.first, pool.last = options["first"], options["last"]
    pool.gateway = options["gateway"]
    pool.nameservers = options["nameserver"]
    pool.ipv6_prefix = options["ipv6_prefix"]
    pool.full_clean()
    pool.save()
    return pool
