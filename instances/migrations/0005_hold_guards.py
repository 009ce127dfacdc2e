"""What an instance has is never let go as unused, and an ended reservation holds nothing."""

from django.db import migrations

# Immediate: the release of a hold looks for whoever may have used it.
NEVER_USED = """
CREATE FUNCTION instances_hold_never_used() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM instances_instance WHERE uuid = NEW.consumer) THEN
        RAISE EXCEPTION 'claim % is of an instance: it cannot be released as unused',
            NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'released_hold_was_unused';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hold_never_used BEFORE UPDATE OF released_at ON inventory_cardclaim
    FOR EACH ROW WHEN (NEW.is_hold AND NEW.released_at IS NOT NULL)
    EXECUTE FUNCTION instances_hold_never_used();
"""

# Deferred: an instance's row comes before it takes up the hold. The claim's row lock orders
# this against a release that has not committed yet.
NO_HOLD = """
CREATE FUNCTION instances_instance_has_no_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM inventory_cardclaim WHERE consumer = NEW.uuid AND is_hold
    ) THEN
        RAISE EXCEPTION 'instance %: its cards are still but held', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'instance_uses_its_claims';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER instance_has_no_hold AFTER INSERT OR UPDATE OF uuid
    ON instances_instance DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION instances_instance_has_no_hold();
"""

ENDED = """
CREATE FUNCTION instances_reservation_course() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'active' OR NEW.uuid <> OLD.uuid THEN
        RAISE EXCEPTION 'reservation % is % and stays so', OLD.id, OLD.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reservation_ends_once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reservation_course BEFORE UPDATE OF state, uuid ON instances_reservation
    FOR EACH ROW EXECUTE FUNCTION instances_reservation_course();
CREATE FUNCTION instances_reservation_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'used' THEN
        IF NOT EXISTS (SELECT FROM instances_instance WHERE uuid = NEW.uuid) THEN
            RAISE EXCEPTION 'reservation % is used by no instance', NEW.id
                USING ERRCODE = 'check_violation',
                      CONSTRAINT = 'used_reservation_has_instance';
        END IF;
    ELSIF EXISTS (
        SELECT FROM inventory_nodeclaim
         WHERE consumer = NEW.uuid AND released_at IS NULL
    ) OR EXISTS (
        SELECT FROM inventory_cardclaim
         WHERE consumer = NEW.uuid AND released_at IS NULL
    ) THEN
        RAISE EXCEPTION 'reservation % is % and still holds something',
            NEW.id, NEW.state
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'ended_reservation_holds_nothing';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER reservation_ended AFTER UPDATE OF state
    ON instances_reservation DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state <> 'active')
    EXECUTE FUNCTION instances_reservation_ended();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0004_reservations_and_quotas"),
        ("inventory", "0007_holds"),
    ]
    operations = [
        migrations.RunSQL(
            NEVER_USED,
            "DROP TRIGGER hold_never_used ON inventory_cardclaim;"
            "DROP FUNCTION instances_hold_never_used();",
        ),
        migrations.RunSQL(
            NO_HOLD,
            "DROP TRIGGER instance_has_no_hold ON instances_instance;"
            "DROP FUNCTION instances_instance_has_no_hold();",
        ),
        migrations.RunSQL(
            ENDED,
            "DROP TRIGGER reservation_ended ON instances_reservation;"
            "DROP FUNCTION instances_reservation_ended();"
            "DROP TRIGGER reservation_course ON instances_reservation;"
            "DROP FUNCTION instances_reservation_course();",
        ),
    ]
