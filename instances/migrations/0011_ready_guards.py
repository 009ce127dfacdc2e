"""Let no instance that was ready fail, and none that was not be at work."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("instances", "0010_instances_are_ready")]

    operations = [
        migrations.AddConstraint(
            model_name="instance",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("phase", "failed"), _negated=True),
                    ("ready_at", None),
                    _connector="OR",
                ),
                name="instance_failed_was_never_ready",
            ),
        ),
        migrations.AddConstraint(
            model_name="instance",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        (
                            "phase__in",
                            (
                                "running",
                                "offline",
                                "shutting_down",
                                "rebooting",
                                "rebuilding",
                            ),
                        ),
                        _negated=True,
                    ),
                    ("ready_at__isnull", False),
                    _connector="OR",
                ),
                name="instance_at_its_work_was_ready",
            ),
        ),
        migrations.AddConstraint(
            model_name="instance",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("next_image", None),
                    models.Q(("phase__in", ("running", "offline")), _negated=True),
                    _connector="OR",
                ),
                name="instance_next_image_only_in_a_rebuild",
            ),
        ),
    ]
