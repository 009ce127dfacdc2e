"""Placement groups and their members, and the events that tell of them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0026_invoice_guards"),
        ("inventory", "0014_gpu_reports"),
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
                    ("firewall_create", "firewall_create"),
                    ("firewall_update", "firewall_update"),
                    ("firewall_enable", "firewall_enable"),
                    ("firewall_disable", "firewall_disable"),
                    ("firewall_rules_update", "firewall_rules_update"),
                    ("firewall_device_add", "firewall_device_add"),
                    ("firewall_device_remove", "firewall_device_remove"),
                    ("firewall_delete", "firewall_delete"),
                    ("placement_group_create", "placement_group_create"),
                    ("placement_group_update", "placement_group_update"),
                    ("placement_group_delete", "placement_group_delete"),
                    ("placement_group_assign", "placement_group_assign"),
                    ("placement_group_unassign", "placement_group_unassign"),
                    ("gpu_report", "gpu_report"),
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
                    ("firewall", "firewall"),
                    ("placement_group", "placement_group"),
                    ("webhook", "webhook"),
                    ("waitlist", "waitlist"),
                ],
                default="linode",
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="PlacementGroup",
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
                ("label", models.CharField(max_length=64)),
                (
                    "policy",
                    models.CharField(
                        choices=[("strict", "strict"), ("flexible", "flexible")],
                        max_length=8,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="placement_groups",
                        to="instances.account",
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
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="PlacementMember",
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
                    "policy",
                    models.CharField(
                        choices=[("strict", "strict"), ("flexible", "flexible")],
                        max_length=8,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="since"),
                ),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="members",
                        to="instances.placementgroup",
                    ),
                ),
                (
                    "host",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="inventory.host",
                    ),
                ),
                (
                    "instance",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="placement_member",
                        to="instances.instance",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.AddConstraint(
            model_name="placementgroup",
            constraint=models.UniqueConstraint(
                fields=("account", "label"),
                name="placement_group_label_once_per_account",
            ),
        ),
        migrations.AddConstraint(
            model_name="placementmember",
            constraint=models.UniqueConstraint(
                condition=models.Q(("policy", "strict")),
                fields=("group", "host"),
                name="strict_group_once_on_a_host",
            ),
        ),
    ]
