"""What users report of cards: append-only, and of cards that they have."""

import django.db.models.deletion
from django.db import migrations, models


GUARD = """
CREATE TRIGGER card_report_append_only BEFORE UPDATE OR DELETE ON inventory_cardreport
    FOR EACH ROW EXECUTE FUNCTION inventory_refuse_change();
CREATE TRIGGER card_report_no_truncate BEFORE TRUNCATE ON inventory_cardreport
    FOR EACH STATEMENT EXECUTE FUNCTION inventory_refuse_change();
CREATE FUNCTION inventory_report_of_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Against a release at the same time.
    PERFORM FROM inventory_cardclaim
        WHERE id = NEW.claim_id AND released_at IS NULL AND NOT is_hold FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'claim % is over or a hold: nobody uses its card', NEW.claim_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reported_card_is_used';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reported_card_is_used BEFORE INSERT ON inventory_cardreport
    FOR EACH ROW EXECUTE FUNCTION inventory_report_of_user();
"""
BEFORE = """
DROP TRIGGER reported_card_is_used ON inventory_cardreport;
DROP FUNCTION inventory_report_of_user();
DROP TRIGGER card_report_no_truncate ON inventory_cardreport;
DROP TRIGGER card_report_append_only ON inventory_cardreport;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0013_disks_stay"),
    ]

    operations = [
        migrations.CreateModel(
            name="CardReport",
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
                    "problem",
                    models.CharField(
                        choices=[
                            ("not_seen", "the guest does not see it"),
                            ("errors", "the driver reports errors"),
                            ("memory", "memory errors"),
                            ("slow", "slower than it should be"),
                            ("other", "something else"),
                        ],
                        max_length=12,
                    ),
                ),
                ("text", models.CharField(max_length=1000)),
                ("reported_at", models.DateTimeField()),
                (
                    "reported_by",
                    models.CharField(help_text="user:NAME.", max_length=150),
                ),
                (
                    "claim",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="report",
                        to="inventory.cardclaim",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.RunSQL(GUARD, BEFORE),
    ]
