"""Who asked to be told of a launch, as rows that the launch itself makes."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

# Those who asked to be told: who is in a beta of the flag, who waits for what is behind it,
# and whose webhook names the event.
ASKERS = """
CREATE FUNCTION instances_launch_askers(asked_flag bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
    SELECT e.account_id
      FROM flags_betaenrolment e JOIN flags_beta b ON b.id = e.beta_id
     WHERE b.flag_id = asked_flag
    UNION
    SELECT w.account_id
      FROM instances_waitlistentry w
      JOIN instances_plan p ON p.id = w.plan_id
      JOIN inventory_region r ON r.id = w.region_id
      LEFT JOIN inventory_gpumodel m ON m.id = p.gpu_model_id
      JOIN flags_flag f ON f.id = asked_flag
       AND f.name IN (p.flag_name, m.flag_name, r.flag_name)
     WHERE w.state = 'waiting'
    UNION
    SELECT h.account_id
      FROM instances_webhook h
     WHERE h.disabled_at IS NULL AND 'gpu_product_launched' = ANY (h.actions)
$$;
"""
# A launch is made at once, at its time or by a second person's approval: here none is
# forgotten, and a notice exists if and only if the launch's transaction commits.
OUTBOX = """
CREATE FUNCTION instances_launch_to_notices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO instances_launchnotice (flag_id, account_id)
    SELECT NEW.flag_id, asker FROM instances_launch_askers(NEW.flag_id) AS asker
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER launch_to_notices AFTER INSERT ON flags_flagchange
    FOR EACH ROW WHEN (
        NEW.kind = 'changed' AND NEW.after -> 'everyone' = 'true'
        AND (NEW.before -> 'everyone') IS DISTINCT FROM 'true')
    EXECUTE FUNCTION instances_launch_to_notices();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0037_trial_guards"),
        ("flags", "0005_flag_changes"),
        ("inventory", "0015_flags_of_places_and_models"),
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
                    ("gpucloud_trial_granted", "gpucloud_trial_granted"),
                    ("gpucloud_trial_ending", "gpucloud_trial_ending"),
                    ("gpucloud_trial_ended", "gpucloud_trial_ended"),
                    ("gpu_product_launched", "gpu_product_launched"),
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
                    ("trial", "trial"),
                    ("type", "type"),
                    ("region", "region"),
                ],
                default="linode",
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="LaunchNotice",
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
                    "asked_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                (
                    "not_before",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                ("told_at", models.DateTimeField(null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="launch_notices",
                        to="instances.account",
                    ),
                ),
                (
                    "flag",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.WAFFLE_FLAG_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("told_at", None)),
                        fields=["not_before"],
                        name="launch_notice_pending",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("flag", "account"),
                        name="launch_notice_once_per_account",
                    )
                ],
            },
        ),
        migrations.RunSQL(ASKERS, "DROP FUNCTION instances_launch_askers(bigint);"),
        migrations.RunSQL(
            OUTBOX,
            "DROP TRIGGER launch_to_notices ON flags_flagchange;"
            "DROP FUNCTION instances_launch_to_notices();",
        ),
    ]
