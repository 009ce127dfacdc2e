"""When hosts were silent: written by the database with what is observed of them."""

import django.db.models.deletion
from django.db import migrations, models


GUARD = """
CREATE FUNCTION inventory_note_outage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.connection <> 'ok' AND NEW.policy <> 'retired' THEN
        INSERT INTO inventory_hostoutage (host_id, began_at, last_seen_at, cause)
            VALUES (NEW.id, clock_timestamp(), NEW.last_seen_at, '')
            ON CONFLICT (host_id) WHERE ended_at IS NULL DO NOTHING;
    ELSE
        UPDATE inventory_hostoutage SET ended_at = greatest(clock_timestamp(), began_at)
            WHERE host_id = NEW.id AND ended_at IS NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER host_outage_noted AFTER UPDATE OF connection, policy ON inventory_host
    FOR EACH ROW WHEN (OLD.connection <> NEW.connection OR OLD.policy <> NEW.policy)
    EXECUTE FUNCTION inventory_note_outage();
CREATE TRIGGER host_outage_begun AFTER INSERT ON inventory_host
    FOR EACH ROW WHEN (NEW.connection <> 'ok')
    EXECUTE FUNCTION inventory_note_outage();
-- Those that are silent now; when they were found so is not known any more.
INSERT INTO inventory_hostoutage (host_id, began_at, last_seen_at, cause)
    SELECT id, coalesce(last_seen_at, enrolled_at), last_seen_at, ''
    FROM inventory_host WHERE connection <> 'ok' AND policy <> 'retired';
"""
BEFORE = """
DROP TRIGGER host_outage_begun ON inventory_host;
DROP TRIGGER host_outage_noted ON inventory_host;
DROP FUNCTION inventory_note_outage();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0016_adopted_claims"),
    ]

    operations = [
        migrations.CreateModel(
            name="HostOutage",
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
                ("began_at", models.DateTimeField(verbose_name="found silent at")),
                (
                    "ended_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="answered again at"
                    ),
                ),
                (
                    "last_seen_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When it had answered last, before.",
                        null=True,
                    ),
                ),
                (
                    "cause",
                    models.CharField(
                        blank=True,
                        help_text="What asking it came to, if that is known.",
                        max_length=500,
                    ),
                ),
                (
                    "host",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="outages",
                        to="inventory.host",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["host", "-began_at"], name="outage_of_host")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)),
                        fields=("host",),
                        name="outage_open_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ended_at", None),
                            ("ended_at__gte", models.F("began_at")),
                            _connector="OR",
                        ),
                        name="outage_ends_after_it_began",
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARD, BEFORE),
    ]
