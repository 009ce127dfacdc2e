"""Who waits for which plan where."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0019_webhooks"),
        ("inventory", "0013_disks_stay"),
    ]

    operations = [
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
                    ("linode_resize", "linode_resize"),
                    ("lassie_reboot", "lassie_reboot"),
                    ("password_reset", "password_reset"),
                    ("linode_delete", "linode_delete"),
                    ("linode_update", "linode_update"),
                    ("gpu_available", "gpu_available"),
                    ("gpucloud_webhook_disabled", "gpucloud_webhook_disabled"),
                ],
                max_length=40,
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="entity_type",
            field=models.CharField(
                choices=[
                    ("linode", "linode"),
                    ("webhook", "webhook"),
                    ("waitlist", "waitlist"),
                ],
                default="linode",
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="WaitlistEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting"),
                            ("told", "told"),
                            ("expired", "waited too long"),
                            ("cancelled", "cancelled"),
                        ],
                        default="waiting",
                        max_length=9,
                    ),
                ),
                (
                    "not_before",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                ("expires_at", models.DateTimeField()),
                ("created_by", models.CharField(help_text="user:NAME", max_length=150)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "ended_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="waited until"
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waitlist",
                        to="instances.account",
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="instances.plan",
                    ),
                ),
                (
                    "region",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="inventory.region",
                    ),
                ),
                (
                    "reservation",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waitlist_entry",
                        to="instances.reservation",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "waitlist entries",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "waiting")),
                        fields=["region", "id"],
                        name="waitlist_waiting",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "waiting")),
                        fields=("account", "plan", "region"),
                        name="waitlist_once_per_account_plan_and_region",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at", None), ("state", "waiting")),
                            models.Q(
                                models.Q(("state", "waiting"), _negated=True),
                                ("ended_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="waitlist_ended_at_iff_ended",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("reservation", None),
                                ("state__in", ("waiting", "expired")),
                            ),
                            models.Q(("reservation__isnull", False), ("state", "told")),
                            ("state", "cancelled"),
                            _connector="OR",
                        ),
                        name="waitlist_told_with_a_reservation",
                    ),
                ],
            },
        ),
    ]
