"""No card becomes ready without its proof, and nothing changes outside the ledger."""

from django.db import migrations

# inventory.choices.CARD_TRANSITIONS, as of this migration; a test compares the two.
STEPS = """
CREATE FUNCTION inventory_card_step() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    released timestamptz;
    is_proven boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.condition <> 'unverified' THEN
            RAISE EXCEPTION 'a new card is unverified, not %', NEW.condition
                USING ERRCODE = 'check_violation', CONSTRAINT = 'card_life_cycle';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.condition = OLD.condition THEN
        RETURN NEW;
    END IF;
    IF (OLD.condition, NEW.condition) NOT IN (
        ('unverified', 'testing'), ('unverified', 'sanitising'),
        ('unverified', 'quarantined'), ('unverified', 'missing'),
        ('ready', 'dirty'), ('ready', 'unverified'),
        ('ready', 'quarantined'), ('ready', 'missing'),
        ('dirty', 'sanitising'), ('dirty', 'quarantined'), ('dirty', 'missing'),
        ('sanitising', 'testing'), ('sanitising', 'dirty'),
        ('sanitising', 'quarantined'), ('sanitising', 'missing'),
        ('testing', 'ready'), ('testing', 'dirty'), ('testing', 'unverified'),
        ('testing', 'quarantined'), ('testing', 'missing'),
        ('quarantined', 'sanitising'), ('quarantined', 'retired'),
        ('quarantined', 'missing'),
        ('missing', 'unverified'), ('missing', 'dirty'),
        ('missing', 'quarantined'), ('missing', 'retired')
    ) THEN
        RAISE EXCEPTION 'card % cannot go from % to %',
            NEW.id, OLD.condition, NEW.condition
            USING ERRCODE = 'check_violation', CONSTRAINT = 'card_life_cycle';
    END IF;
    IF NEW.condition IN ('sanitising', 'testing', 'retired') AND EXISTS (
        SELECT FROM inventory_cardclaim WHERE card_id = NEW.id AND released_at IS NULL
    ) THEN
        RAISE EXCEPTION 'card % is claimed: it cannot be %', NEW.id, NEW.condition
            USING ERRCODE = 'check_violation', CONSTRAINT = 'card_in_use';
    END IF;
    IF NEW.condition = 'ready' THEN
        SELECT max(released_at) INTO released FROM inventory_cardclaim
            WHERE card_id = NEW.id;
        SELECT EXISTS (
            SELECT FROM inventory_cardcheck
            WHERE card_id = NEW.id AND kind = 'test' AND outcome <> 'failed'
              AND started_at >= OLD.condition_changed_at
        ) AND (released IS NULL OR EXISTS (
            SELECT FROM inventory_cardcheck
            WHERE card_id = NEW.id AND kind = 'sanitise' AND outcome <> 'failed'
              AND started_at >= released
        )) INTO is_proven;
        IF NOT is_proven THEN
            RAISE EXCEPTION 'card % has no proof that it is clean and works', NEW.id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'ready_card_is_proven';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER card_step BEFORE INSERT OR UPDATE OF condition ON inventory_card
    FOR EACH ROW EXECUTE FUNCTION inventory_card_step();
"""

# Deferred: the event is written in the same transaction, after the row that it names.
IN_LEDGER = """
CREATE FUNCTION inventory_card_in_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    now_is text;
    told text;
BEGIN
    SELECT condition INTO now_is FROM inventory_card WHERE id = NEW.id;
    SELECT to_condition INTO told FROM inventory_cardevent
        WHERE card_id = NEW.id ORDER BY id DESC LIMIT 1;
    IF now_is IS NOT NULL AND told IS DISTINCT FROM now_is THEN
        RAISE EXCEPTION 'card % is %, the ledger says %', NEW.id, now_is, told
            USING ERRCODE = 'check_violation', CONSTRAINT = 'card_as_in_ledger';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER card_in_ledger AFTER INSERT OR UPDATE OF condition
    ON inventory_card DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION inventory_card_in_ledger();
CREATE FUNCTION inventory_claim_in_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE CONSTRAINT TRIGGER claim_in_ledger AFTER INSERT OR UPDATE
    ON inventory_cardclaim DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION inventory_claim_in_ledger();
"""

APPEND_ONLY = """
CREATE TRIGGER card_check_append_only BEFORE UPDATE OR DELETE ON inventory_cardcheck
    FOR EACH ROW EXECUTE FUNCTION inventory_refuse_change();
CREATE TRIGGER card_event_no_truncate BEFORE TRUNCATE ON inventory_cardevent
    FOR EACH STATEMENT EXECUTE FUNCTION inventory_refuse_change();
CREATE TRIGGER card_check_no_truncate BEFORE TRUNCATE ON inventory_cardcheck
    FOR EACH STATEMENT EXECUTE FUNCTION inventory_refuse_change();
CREATE TRIGGER card_claim_no_truncate BEFORE TRUNCATE ON inventory_cardclaim
    FOR EACH STATEMENT EXECUTE FUNCTION inventory_refuse_change();
"""

# As 0003's, and a card or host that something is wrong with cannot be claimed either.
CLAIMABLE = """
CREATE OR REPLACE FUNCTION inventory_claim_ready_card()
RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found_condition text;
    found_host bigint;
BEGIN
    -- FOR SHARE: the condition cannot change between this look and the commit.
    SELECT condition, host_id INTO found_condition, found_host FROM inventory_card
        WHERE id = NEW.card_id FOR SHARE;
    IF found_condition IS DISTINCT FROM 'ready' THEN
        RAISE EXCEPTION 'card % is %, not ready', NEW.card_id, found_condition
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claimed_card_is_ready';
    END IF;
    IF EXISTS (
        SELECT FROM inventory_discrepancy WHERE resolved_at IS NULL AND prevents_claims
          AND (card_id = NEW.card_id OR (card_id IS NULL AND host_id = found_host))
    ) OR EXISTS (
        SELECT FROM inventory_alert WHERE cleared_at IS NULL
          AND alert_class = 'prevents-claims'
          AND (card_id = NEW.card_id OR host_id = found_host)
    ) THEN
        RAISE EXCEPTION 'card %: an open discrepancy or alert prevents claims',
            NEW.card_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claimed_card_is_healthy';
    END IF;
    RETURN NEW;
END $$;
"""
CLAIMABLE_BEFORE = """
CREATE OR REPLACE FUNCTION inventory_claim_ready_card()
RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found_condition text;
BEGIN
    SELECT condition INTO found_condition FROM inventory_card
        WHERE id = NEW.card_id FOR SHARE;
    IF found_condition IS DISTINCT FROM 'ready' THEN
        RAISE EXCEPTION 'card % is %, not ready', NEW.card_id, found_condition
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claimed_card_is_ready';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0004_trust")]
    operations = [
        migrations.RunSQL(
            STEPS,
            "DROP TRIGGER card_step ON inventory_card;"
            "DROP FUNCTION inventory_card_step();",
        ),
        migrations.RunSQL(
            IN_LEDGER,
            "DROP TRIGGER card_in_ledger ON inventory_card;"
            "DROP FUNCTION inventory_card_in_ledger();"
            "DROP TRIGGER claim_in_ledger ON inventory_cardclaim;"
            "DROP FUNCTION inventory_claim_in_ledger();",
        ),
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER card_check_append_only ON inventory_cardcheck;"
            "DROP TRIGGER card_event_no_truncate ON inventory_cardevent;"
            "DROP TRIGGER card_check_no_truncate ON inventory_cardcheck;"
            "DROP TRIGGER card_claim_no_truncate ON inventory_cardclaim;",
        ),
        migrations.RunSQL(CLAIMABLE, CLAIMABLE_BEFORE),
    ]
