"""A claim may begin as a hold, which no guest uses: taken up once, or let go unused."""

import importlib

from django.db import migrations, models

_life_cycle = importlib.import_module("inventory.migrations.0005_life_cycle_guards")

# As 0003's, and a hold may become a use, never the other way round.
ENDS_OR_IS_TAKEN_UP = """
CREATE FUNCTION inventory_card_claim_course() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.released_at IS NULL THEN
        IF NEW.released_at IS NOT NULL
           AND to_jsonb(NEW) - 'released_at' = to_jsonb(OLD) - 'released_at' THEN
            RETURN NEW;
        END IF;
        IF OLD.is_hold AND NOT NEW.is_hold
           AND to_jsonb(NEW) - 'is_hold' = to_jsonb(OLD) - 'is_hold' THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'a claim can only be taken up and released, once: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'claim_only_ends';
END $$;
DROP TRIGGER card_claim_only_ends ON inventory_cardclaim;
CREATE TRIGGER card_claim_only_ends BEFORE UPDATE OR DELETE ON inventory_cardclaim
    FOR EACH ROW EXECUTE FUNCTION inventory_card_claim_course();
CREATE TRIGGER card_claim_taken_up_ready BEFORE UPDATE OF is_hold ON inventory_cardclaim
    FOR EACH ROW WHEN (OLD.is_hold AND NOT NEW.is_hold)
    EXECUTE FUNCTION inventory_claim_ready_card();
"""
ONLY_ENDS = """
DROP TRIGGER card_claim_taken_up_ready ON inventory_cardclaim;
DROP TRIGGER card_claim_only_ends ON inventory_cardclaim;
CREATE TRIGGER card_claim_only_ends BEFORE UPDATE OR DELETE ON inventory_cardclaim
    FOR EACH ROW EXECUTE FUNCTION inventory_claim_only_ends();
DROP FUNCTION inventory_card_claim_course();
"""

IN_LEDGER = """
CREATE OR REPLACE FUNCTION inventory_claim_in_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    expected text;
BEGIN
    expected := CASE
        WHEN TG_OP = 'INSERT' AND NEW.is_hold THEN 'held'
        WHEN TG_OP = 'INSERT' THEN 'claimed'
        WHEN NEW.is_hold <> OLD.is_hold THEN 'taken_up'
        ELSE 'released' END;
    IF NOT EXISTS (
        SELECT FROM inventory_cardevent WHERE claim_id = NEW.id AND kind = expected
    ) THEN
        RAISE EXCEPTION 'claim %: the ledger does not tell that it was %',
            NEW.id, expected
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claim_as_in_ledger';
    END IF;
    RETURN NULL;
END $$;
"""
IN_LEDGER_BEFORE = """
CREATE OR REPLACE FUNCTION inventory_claim_in_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM inventory_cardevent WHERE claim_id = NEW.id
          AND kind = CASE WHEN TG_OP = 'INSERT' THEN 'claimed' ELSE 'released' END
    ) THEN
        RAISE EXCEPTION 'claim %: the ledger does not tell of its %', NEW.id, TG_OP
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claim_as_in_ledger';
    END IF;
    RETURN NULL;
END $$;
"""

# As 0005's, but only a claim that a guest used asks for a scrub after its end.
_LAST_USE = """SELECT max(released_at) INTO released FROM inventory_cardclaim
            WHERE card_id = NEW.id"""
STEPS_BEFORE = _life_cycle.STEPS.split("CREATE TRIGGER")[0].replace(
    "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
)
STEPS = STEPS_BEFORE.replace(_LAST_USE, f"{_LAST_USE} AND NOT is_hold")
if STEPS == STEPS_BEFORE:
    raise RuntimeError("migration 0005 no longer reads as this one expects")


class Migration(migrations.Migration):
    dependencies = [("inventory", "0006_moves_and_retirement")]
    operations = [
        migrations.AddField(
            model_name="cardclaim",
            name="is_hold",
            field=models.BooleanField(
                default=False,
                help_text="Kept for somebody, and no guest has had the card by this claim.",
                verbose_name="hold",
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
                    ("released", "released"),
                    ("moved", "moved"),
                ],
                max_length=10,
            ),
        ),
        migrations.RunSQL(ENDS_OR_IS_TAKEN_UP, ONLY_ENDS),
        migrations.RunSQL(IN_LEDGER, IN_LEDGER_BEFORE),
        migrations.RunSQL(STEPS, STEPS_BEFORE),
    ]
