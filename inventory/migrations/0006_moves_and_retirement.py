"""A moved card is in the ledger; a retired host holds nothing and stays retired."""

from django.db import migrations, models

# A held card does not move: its guest has it at the address that the claim was made for.
PLACE = """
CREATE FUNCTION inventory_card_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.host_id, NEW.slot_path) IS DISTINCT FROM (OLD.host_id, OLD.slot_path)
       AND EXISTS (
        SELECT FROM inventory_cardclaim WHERE card_id = NEW.id AND released_at IS NULL
    ) THEN
        RAISE EXCEPTION 'card % is claimed: it cannot move', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claimed_card_stays';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER card_place BEFORE UPDATE OF host_id, slot_path ON inventory_card
    FOR EACH ROW EXECUTE FUNCTION inventory_card_place();
CREATE FUNCTION inventory_card_place_in_ledger() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    now_at record;
    told record;
BEGIN
    SELECT host_id, slot_path INTO now_at FROM inventory_card WHERE id = NEW.id;
    SELECT host_id, slot_path INTO told FROM inventory_cardevent
        WHERE card_id = NEW.id AND kind IN ('enrolled', 'moved')
        ORDER BY id DESC LIMIT 1;
    IF (now_at.host_id, now_at.slot_path)
       IS DISTINCT FROM (told.host_id, told.slot_path) THEN
        RAISE EXCEPTION 'card % is at % %, the ledger says % %', NEW.id,
            now_at.host_id, now_at.slot_path, told.host_id, told.slot_path
            USING ERRCODE = 'check_violation', CONSTRAINT = 'card_place_as_in_ledger';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER card_place_in_ledger AFTER UPDATE OF host_id, slot_path
    ON inventory_card DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN ((NEW.host_id, NEW.slot_path)
        IS DISTINCT FROM (OLD.host_id, OLD.slot_path))
    EXECUTE FUNCTION inventory_card_place_in_ledger();
"""

# The update holds the host's row, as a claim does: neither can overlook the other.
RETIRED = """
CREATE FUNCTION inventory_host_retires() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.policy = 'retired' AND NEW.policy <> 'retired' THEN
        RAISE EXCEPTION 'host % is retired for good', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'retired_host_stays_so';
    END IF;
    IF NEW.policy = 'retired' AND (EXISTS (
        SELECT FROM inventory_nodeclaim c JOIN inventory_numanode n
            ON n.id = c.numa_node_id
        WHERE n.host_id = NEW.id AND c.released_at IS NULL
    ) OR EXISTS (
        SELECT FROM inventory_cardclaim c JOIN inventory_card k ON k.id = c.card_id
        WHERE k.host_id = NEW.id AND c.released_at IS NULL
    )) THEN
        RAISE EXCEPTION 'host % still holds claims', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'retired_host_is_empty';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER host_retires BEFORE UPDATE OF policy ON inventory_host
    FOR EACH ROW EXECUTE FUNCTION inventory_host_retires();
CREATE FUNCTION inventory_claim_on_live_host() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found_policy text;
BEGIN
    -- FOR SHARE: the host cannot be retired between this look and the commit.
    SELECT h.policy INTO found_policy FROM inventory_host h
        JOIN inventory_numanode n ON n.host_id = h.id
        WHERE n.id = NEW.numa_node_id FOR SHARE OF h;
    IF found_policy = 'retired' THEN
        RAISE EXCEPTION 'node % is of a retired host', NEW.numa_node_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claimed_host_is_live';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER node_claim_on_live_host BEFORE INSERT ON inventory_nodeclaim
    FOR EACH ROW EXECUTE FUNCTION inventory_claim_on_live_host();
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0005_life_cycle_guards")]
    operations = [
        migrations.AddField(
            "host",
            "policy_changed_at",
            models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            "host",
            "policy_reason",
            models.CharField(
                blank=True, help_text="Why, and who decided it.", max_length=500
            ),
        ),
        migrations.AlterModelOptions(
            "cardclaim",
            {
                "ordering": ["-claimed_at", "card"],
                "permissions": [
                    ("force_release", "Can release claims whose machine is proven gone")
                ],
            },
        ),
        migrations.RunSQL(
            PLACE,
            "DROP TRIGGER card_place ON inventory_card;"
            "DROP FUNCTION inventory_card_place();"
            "DROP TRIGGER card_place_in_ledger ON inventory_card;"
            "DROP FUNCTION inventory_card_place_in_ledger();",
        ),
        migrations.RunSQL(
            RETIRED,
            "DROP TRIGGER host_retires ON inventory_host;"
            "DROP FUNCTION inventory_host_retires();"
            "DROP TRIGGER node_claim_on_live_host ON inventory_nodeclaim;"
            "DROP FUNCTION inventory_claim_on_live_host();",
        ),
    ]
