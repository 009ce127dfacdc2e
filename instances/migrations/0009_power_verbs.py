"""What work on an instance that is there needs to keep."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0008_disk_images"),
        ("inventory", "0010_address_guards"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="job",
            name="job_has_the_subject_of_its_kind",
        ),
        migrations.AddField(
            model_name="instance",
            name="next_image",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                help_text="Of a rebuild that has not taken the old disk yet.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="instances.image",
            ),
        ),
        migrations.AddField(
            model_name="instance",
            name="ready_at",
            field=models.DateTimeField(
                blank=True, help_text="When its launch had made it.", null=True
            ),
        ),
        migrations.AddField(
            model_name="instance",
            name="watchdog_enabled",
            field=models.BooleanField(
                default=True,
                help_text="A guest that crashed is started again.",
                verbose_name="watchdog",
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="action",
            field=models.CharField(
                choices=[
                    ("linode_create", "linode_create"),
                    ("linode_boot", "linode_boot"),
                    ("linode_shutdown", "linode_shutdown"),
                    ("linode_reboot", "linode_reboot"),
                    ("linode_rebuild", "linode_rebuild"),
                    ("lassie_reboot", "lassie_reboot"),
                    ("password_reset", "password_reset"),
                    ("linode_delete", "linode_delete"),
                    ("linode_update", "linode_update"),
                ],
                max_length=40,
            ),
        ),
        migrations.AlterField(
            model_name="instance",
            name="desired",
            field=models.CharField(
                choices=[
                    ("running", "running"),
                    ("off", "off"),
                    ("deleted", "deleted"),
                ],
                default="running",
                max_length=8,
            ),
        ),
        migrations.AlterField(
            model_name="instance",
            name="phase",
            field=models.CharField(
                choices=[
                    ("provisioning", "provisioning"),
                    ("booting", "booting"),
                    ("running", "running"),
                    ("shutting_down", "shutting down"),
                    ("offline", "offline"),
                    ("rebooting", "rebooting"),
                    ("rebuilding", "rebuilding"),
                    ("deleting", "deleting"),
                    ("deleted", "deleted"),
                    ("failed", "failed"),
                ],
                default="provisioning",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="job",
            name="kind",
            field=models.CharField(
                choices=[
                    ("launch", "launch"),
                    ("launch_off", "launch, left off"),
                    ("boot", "boot"),
                    ("shutdown", "shutdown"),
                    ("reboot", "reboot"),
                    ("rebuild", "rebuild"),
                    ("rebuild_off", "rebuild, left off"),
                    ("password", "password reset"),
                    ("delete", "delete"),
                    ("sanitise", "sanitise and test"),
                    ("test", "test"),
                    ("clear", "removal of a left-over check guest"),
                ],
                max_length=12,
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["succeeded", "failed"]), _negated=True),
                    models.Q(("kind", "delete"), _negated=True),
                ),
                fields=("instance",),
                name="job_one_open_per_instance",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("card", None),
                        ("instance__isnull", False),
                        (
                            "kind__in",
                            (
                                "launch",
                                "launch_off",
                                "boot",
                                "shutdown",
                                "reboot",
                                "rebuild",
                                "rebuild_off",
                                "password",
                                "delete",
                            ),
                        ),
                    ),
                    models.Q(
                        ("card__isnull", False),
                        ("instance", None),
                        ("kind__in", ("sanitise", "test", "clear")),
                    ),
                    _connector="OR",
                ),
                name="job_has_the_subject_of_its_kind",
            ),
        ),
    ]
