"""A guest that the rows do not know may be given claims on what it has already."""

from importlib import import_module

from django.db import migrations, models

_life_cycle = import_module("inventory.migrations.0005_life_cycle_guards")
_holds = import_module("inventory.migrations.0007_holds")

# As 0005's, but an adopted claim tells of what is in use: only a card that cannot be in a
# guest is refused, and what prevents other claims is that very guest.
_IS_READY = """    IF found_condition IS DISTINCT FROM 'ready' THEN"""
CLAIMABLE_BEFORE = _life_cycle.CLAIMABLE
CLAIMABLE = CLAIMABLE_BEFORE.replace(
    _IS_READY,
    """    IF NEW.is_adopted AND found_condition
       IN ('ready', 'unverified', 'dirty', 'quarantined') THEN
        RETURN NEW;
    END IF;
"""
    + _IS_READY,
)
IN_LEDGER_BEFORE = _holds.IN_LEDGER
IN_LEDGER = IN_LEDGER_BEFORE.replace(
    "WHEN TG_OP = 'INSERT' THEN 'claimed'",
    "WHEN TG_OP = 'INSERT' AND NEW.is_adopted THEN 'adopted'\n"
    "        WHEN TG_OP = 'INSERT' THEN 'claimed'",
)
STEPS_BEFORE = _holds.STEPS
STEPS = STEPS_BEFORE.replace(
    "('unverified', 'testing'),", "('unverified', 'testing'), ('unverified', 'dirty'),"
)
if (
    CLAIMABLE == CLAIMABLE_BEFORE
    or IN_LEDGER == IN_LEDGER_BEFORE
    or STEPS == STEPS_BEFORE
):
    raise RuntimeError("migrations 0005 and 0007 no longer read as this one expects")


class Migration(migrations.Migration):
    dependencies = [("inventory", "0015_flags_of_places_and_models")]

    operations = [
        migrations.AddField(
            model_name="cardclaim",
            name="is_adopted",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Its guest was found with the card, which need not have been "
                "ready.",
                verbose_name="adopted",
            ),
        ),
        migrations.AddField(
            model_name="discrepancy",
            name="shut_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="When a person had its guest shut: nobody adopts it meanwhile.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="cardevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("enrolled", "enrolled"),
                    ("condition", "condition changed"),
                    ("claimed", "claimed"),
                    ("held", "held, not used yet"),
                    ("taken_up", "hold taken up"),
                    ("adopted", "found with a guest, adopted"),
                    ("released", "released"),
                    ("moved", "moved"),
                ],
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="discrepancy",
            name="kind",
            field=models.CharField(
                choices=[
                    ("stray_domain", "domain without instance"),
                    ("unknown_guest", "guest of ours without instance"),
                    ("guest_changed", "guest changed since its rows were written"),
                    ("domain_missing", "instance without domain"),
                    ("domain_off", "domain that should run does not"),
                    ("domain_on", "domain that should be off runs"),
                    ("unclaimed_hostdev", "card passed through that nobody claimed"),
                    ("hostdev_missing", "claimed card missing from the domain"),
                    ("card_in_two_domains", "one card in two domains"),
                    ("claim_unused", "claim without a live instance"),
                    ("cpus_differ", "CPU pinning differs from the claim"),
                    ("memory_differs", "memory differs from the claim"),
                    ("card_vanished", "card no longer listed"),
                    ("card_new", "new card"),
                    ("card_replaced", "another card in the slot"),
                    ("card_moved", "known card at another address"),
                    ("card_unsellable", "card that cannot be sold"),
                    ("numa_changed", "NUMA node changed"),
                    ("group_changed", "IOMMU group changed"),
                    ("driver_changed", "driver changed"),
                    ("functions_changed", "PCI functions changed"),
                    ("boot_changed", "host has booted anew"),
                    ("host_changed", "host lost CPUs, nodes or memory"),
                    ("host_replaced", "another host answers at this address"),
                ],
                max_length=20,
            ),
        ),
        migrations.RunSQL(CLAIMABLE, CLAIMABLE_BEFORE),
        migrations.RunSQL(IN_LEDGER, IN_LEDGER_BEFORE),
        migrations.RunSQL(STEPS, STEPS_BEFORE),
    ]
