"""What is green for every flag until admins say otherwise."""

from django.db import migrations

# line -> bound
DEFAULTS = {
    "launches": 20,
    "success": 95,
    "time_p50": 60,
    "time_p95": 180,
    "failures": 2,
    "card_faults": 0,
    "check_failures": 0,
    "discrepancies": 0,
    "refusals": 10,
    "hours": 24,
    "accounts": 3,
    "feedback": 80,
}


def add(apps, schema_editor):
    thresholds = apps.get_model("flags", "ReadinessThreshold").objects
    for line, bound in DEFAULTS.items():
        thresholds.get_or_create(flag=None, line=line, defaults={"bound": bound})


def remove(apps, schema_editor):
    apps.get_model("flags", "ReadinessThreshold").objects.filter(flag=None).delete()


class Migration(migrations.Migration):
    dependencies = [("flags", "0006_readiness")]

    operations = [migrations.RunPython(add, remove)]
