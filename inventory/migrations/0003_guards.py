"""Rules that cost money when broken and that no declared constraint can express."""

from django.db import migrations

LEDGER = """
CREATE FUNCTION inventory_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'ledger_append_only';
END $$;
CREATE TRIGGER card_event_append_only BEFORE UPDATE OR DELETE ON inventory_cardevent
    FOR EACH ROW EXECUTE FUNCTION inventory_refuse_change();
"""

# A claim is history as soon as it exists: it can only be ended, once.
ENDED_ONCE = """
CREATE FUNCTION inventory_claim_only_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.released_at IS NULL AND NEW.released_at IS NOT NULL
       AND to_jsonb(NEW) - 'released_at' = to_jsonb(OLD) - 'released_at' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a claim can only be released, once: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'claim_only_ends';
END $$;
CREATE TRIGGER card_claim_only_ends BEFORE UPDATE OR DELETE ON inventory_cardclaim
    FOR EACH ROW EXECUTE FUNCTION inventory_claim_only_ends();
CREATE TRIGGER node_claim_only_ends BEFORE UPDATE OR DELETE ON inventory_nodeclaim
    FOR EACH ROW EXECUTE FUNCTION inventory_claim_only_ends();
"""

READY_CARD = """
CREATE FUNCTION inventory_claim_ready_card() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found_condition text;
BEGIN
    -- FOR SHARE: the condition cannot change between this look and the commit.
    SELECT condition INTO found_condition FROM inventory_card
        WHERE id = NEW.card_id FOR SHARE;
    IF found_condition IS DISTINCT FROM 'ready' THEN
        RAISE EXCEPTION 'card % is %, not ready', NEW.card_id, found_condition
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claimed_card_is_ready';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER card_claim_ready_card BEFORE INSERT ON inventory_cardclaim
    FOR EACH ROW EXECUTE FUNCTION inventory_claim_ready_card();
"""

NODE_CAPACITY = """
CREATE FUNCTION inventory_claim_within_node() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    capacity integer;
    claimed bigint;
    usable integer;
BEGIN
    -- The lock makes claims on one node wait for each other; the sums come after it, in
    -- statements of their own, so that they see what the others committed.
    SELECT memory_mib - reserved_memory_mib INTO capacity FROM inventory_numanode
        WHERE id = NEW.numa_node_id FOR NO KEY UPDATE;
    SELECT coalesce(sum(memory_mib), 0) INTO claimed FROM inventory_nodeclaim
        WHERE numa_node_id = NEW.numa_node_id AND released_at IS NULL;
    IF claimed > capacity THEN
        RAISE EXCEPTION 'node %: % of % MiB claimed', NEW.numa_node_id, claimed, capacity
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'node_memory_within_capacity';
    END IF;
    SELECT count(*) INTO usable FROM inventory_hostcpu
        WHERE numa_node_id = NEW.numa_node_id AND NOT is_reserved
          AND number = ANY (NEW.cpus);
    IF usable <> cardinality(NEW.cpus) THEN
        RAISE EXCEPTION 'node %: a CPU of % is repeated, not there, or reserved',
            NEW.numa_node_id, NEW.cpus
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claimed_cpus_usable';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER node_claim_within_node AFTER INSERT ON inventory_nodeclaim
    FOR EACH ROW EXECUTE FUNCTION inventory_claim_within_node();
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0002_initial")]
    operations = [
        migrations.RunSQL(
            LEDGER,
            "DROP TRIGGER card_event_append_only ON inventory_cardevent;"
            "DROP FUNCTION inventory_refuse_change();",
        ),
        migrations.RunSQL(
            ENDED_ONCE,
            "DROP TRIGGER card_claim_only_ends ON inventory_cardclaim;"
            "DROP TRIGGER node_claim_only_ends ON inventory_nodeclaim;"
            "DROP FUNCTION inventory_claim_only_ends();",
        ),
        migrations.RunSQL(
            READY_CARD,
            "DROP TRIGGER card_claim_ready_card ON inventory_cardclaim;"
            "DROP FUNCTION inventory_claim_ready_card();",
        ),
        migrations.RunSQL(
            NODE_CAPACITY,
            "DROP TRIGGER node_claim_within_node ON inventory_nodeclaim;"
            "DROP FUNCTION inventory_claim_within_node();",
        ),
    ]
