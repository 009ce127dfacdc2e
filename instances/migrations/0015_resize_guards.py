"""Two sets of claims are held by an instance that is being resized, and by no other."""

from django.db import migrations

# Deferred: rows, claims and phase change in one transaction, in any order.
ONE_SET = """
CREATE FUNCTION instances_holds_one_set() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    about bigint;
    holder record;
BEGIN
    IF TG_TABLE_NAME = 'instances_instance' THEN
        about := NEW.id;
    ELSE
        about := OLD.instance_id;
    END IF;
    SELECT i.uuid, i.claim_set, i.phase, r.instance_id AS resized INTO holder
      FROM instances_instance i
      LEFT JOIN instances_pendingresize r ON r.instance_id = i.id
     WHERE i.id = about;
    IF holder.resized IS NOT NULL THEN
        IF holder.phase IN ('running', 'offline', 'deleted', 'failed') THEN
            RAISE EXCEPTION 'instance % is % and is still to be resized',
                about, holder.phase
                USING ERRCODE = 'check_violation',
                      CONSTRAINT = 'resize_ends_before_rest';
        END IF;
    ELSIF EXISTS (
        SELECT FROM inventory_nodeclaim WHERE consumer = holder.uuid
           AND released_at IS NULL AND claim_set <> holder.claim_set
    ) OR EXISTS (
        SELECT FROM inventory_cardclaim WHERE consumer = holder.uuid
           AND released_at IS NULL AND claim_set <> holder.claim_set
    ) THEN
        RAISE EXCEPTION 'instance % holds what is not of its plan', about
            USING ERRCODE = 'check_violation', CONSTRAINT = 'instance_holds_one_set';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER instance_holds_one_set AFTER UPDATE OF claim_set, phase
    ON instances_instance DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION instances_holds_one_set();
CREATE CONSTRAINT TRIGGER resize_leaves_one_set AFTER DELETE
    ON instances_pendingresize DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION instances_holds_one_set();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0014_resize"),
        ("inventory", "0012_claim_sets"),
    ]
    operations = [
        migrations.RunSQL(
            ONE_SET,
            "DROP TRIGGER instance_holds_one_set ON instances_instance;"
            "DROP TRIGGER resize_leaves_one_set ON instances_pendingresize;"
            "DROP FUNCTION instances_holds_one_set();",
        ),
    ]
