"""Webhooks, and the deliveries that the database makes of every event for them."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


# An event's rows are written in many places, some by one UPDATE of many: here none is
# forgotten, and a delivery exists if and only if the event's transaction commits.
# FOR KEY SHARE waits for a webhook that is being deleted, and then passes it by.
OUTBOX = """
CREATE FUNCTION instances_event_to_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO instances_webhookdelivery
        (webhook_id, uuid, event, state, attempts, due_at, problem, created_at)
    SELECT w.id, gen_random_uuid(), to_jsonb(NEW), 'pending', 0, now(), '', now()
      FROM instances_webhook w
     WHERE w.account_id = NEW.account_id AND w.disabled_at IS NULL
       AND (w.actions = '{}' OR NEW.action = ANY (w.actions))
       FOR KEY SHARE OF w;
    RETURN NULL;
END $$;
CREATE TRIGGER event_to_webhooks AFTER INSERT ON instances_event
    FOR EACH ROW EXECUTE FUNCTION instances_event_to_webhooks();
CREATE TRIGGER event_status_to_webhooks AFTER UPDATE OF status ON instances_event
    FOR EACH ROW WHEN (NEW.status <> OLD.status)
    EXECUTE FUNCTION instances_event_to_webhooks();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0027_refused_demand"),
    ]

    operations = [
        migrations.AddField(
            model_name="event",
            name="entity_type",
            field=models.CharField(
                choices=[("linode", "linode"), ("webhook", "webhook")],
                default="linode",
                max_length=16,
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
                    ("linode_resize", "linode_resize"),
                    ("lassie_reboot", "lassie_reboot"),
                    ("password_reset", "password_reset"),
                    ("linode_delete", "linode_delete"),
                    ("linode_update", "linode_update"),
                    ("gpucloud_webhook_disabled", "gpucloud_webhook_disabled"),
                ],
                max_length=40,
            ),
        ),
        migrations.CreateModel(
            name="Webhook",
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
                ("url", models.CharField(max_length=500, verbose_name="URL")),
                (
                    "actions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                (
                    "sealed_secret",
                    models.TextField(
                        editable=False,
                        help_text="Encrypted with a key made of SECRET_KEY.",
                    ),
                ),
                (
                    "failures",
                    models.PositiveIntegerField(
                        default=0, verbose_name="failures in a row"
                    ),
                ),
                (
                    "not_before",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                (
                    "busy_until",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
                ("disabled_at", models.DateTimeField(blank=True, null=True)),
                ("created_by", models.CharField(help_text="user:NAME", max_length=150)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="webhooks",
                        to="instances.account",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="WebhookDelivery",
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
                    "uuid",
                    models.UUIDField(default=uuid.uuid4, editable=False, unique=True),
                ),
                ("event", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("delivered", "delivered"),
                            ("failed", "failed"),
                        ],
                        default="pending",
                        max_length=9,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("due_at", models.DateTimeField()),
                (
                    "http_status",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Of the latest answer.",
                        null=True,
                        verbose_name="HTTP status",
                    ),
                ),
                ("problem", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "webhook",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="instances.webhook",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "webhook deliveries",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "pending")),
                        fields=["webhook", "due_at"],
                        name="webhook_delivery_pending",
                    ),
                    models.Index(fields=["ended_at"], name="webhook_delivery_by_end"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at", None), ("state", "pending")),
                            models.Q(
                                models.Q(("state", "pending"), _negated=True),
                                ("ended_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="webhook_delivery_ended_at_iff_ended",
                    )
                ],
            },
        ),
        migrations.RunSQL(
            OUTBOX,
            "DROP TRIGGER event_to_webhooks ON instances_event;"
            "DROP TRIGGER event_status_to_webhooks ON instances_event;"
            "DROP FUNCTION instances_event_to_webhooks();",
        ),
    ]
