"""Usage is history: no gap, one end, nothing billed after the instance is over.

Machines that ran before there was usage get theirs from their claims.
"""

from django.db import migrations

COURSE = """
CREATE FUNCTION instances_usage_course() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.ends_at IS NULL AND NEW.ends_at IS NOT NULL
       AND to_jsonb(NEW) - 'ends_at' = to_jsonb(OLD) - 'ends_at' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'usage % can only end, once: % refused', OLD.id, TG_OP
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'usage_only_ends';
END $$;
CREATE TRIGGER usage_course BEFORE UPDATE OR DELETE ON instances_usageinterval
    FOR EACH ROW EXECUTE FUNCTION instances_usage_course();
CREATE FUNCTION instances_usage_no_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'usage is history: TRUNCATE refused'
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'usage_only_ends';
END $$;
CREATE TRIGGER usage_no_truncate BEFORE TRUNCATE ON instances_usageinterval
    FOR EACH STATEMENT EXECUTE FUNCTION instances_usage_no_truncate();
"""

# The exclusion constraint refuses overlap; two inserts at once wait for each other there.
GAPLESS = """
CREATE FUNCTION instances_usage_without_gap() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last_end timestamptz;
BEGIN
    SELECT max(ends_at) INTO last_end FROM instances_usageinterval
        WHERE instance_id = NEW.instance_id;
    IF last_end <> NEW.starts_at THEN
        RAISE EXCEPTION 'usage of instance % ended at % and cannot go on at %',
            NEW.instance_id, last_end, NEW.starts_at
            USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_without_gap';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usage_without_gap BEFORE INSERT ON instances_usageinterval
    FOR EACH ROW EXECUTE FUNCTION instances_usage_without_gap();
"""

# Deferred, on both tables: the row of the instance and that of its usage end in one
# transaction, in any order.
ENDED = """
CREATE FUNCTION instances_ended_is_not_billed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    billed bigint;
BEGIN
    billed := CASE WHEN TG_TABLE_NAME = 'instances_instance' THEN NEW.id
                   ELSE (to_jsonb(NEW)->>'instance_id')::bigint END;
    IF EXISTS (
        SELECT FROM instances_usageinterval u JOIN instances_instance i
            ON i.id = u.instance_id
         WHERE i.id = billed AND i.ended_at IS NOT NULL AND u.ends_at IS NULL
    ) THEN
        RAISE EXCEPTION 'instance % is over and still billed', billed
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'ended_instance_is_not_billed';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ended_is_not_billed AFTER UPDATE OF ended_at
    ON instances_instance DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.ended_at IS NOT NULL)
    EXECUTE FUNCTION instances_ended_is_not_billed();
CREATE CONSTRAINT TRIGGER usage_is_not_of_ended AFTER INSERT
    ON instances_usageinterval DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.ends_at IS NULL)
    EXECUTE FUNCTION instances_ended_is_not_billed();
"""

# From when it was ready to the release of the claims. Who never was is not in it.
FROM_CLAIMS = """
INSERT INTO instances_usageinterval
    (instance_id, plan_id, starts_at, ends_at, price_hourly, price_monthly, is_billed)
SELECT i.id, i.plan_id, greatest(i.ready_at, held.since),
       CASE WHEN held.is_open THEN NULL ELSE held.until END,
       p.price_hourly, p.price_monthly, NOT 'employee' = ANY (a.tags)
  FROM instances_instance i
  JOIN instances_plan p ON p.id = i.plan_id
  JOIN instances_account a ON a.id = i.account_id
  JOIN LATERAL (SELECT min(claimed_at) AS since, max(released_at) AS until,
                       bool_or(released_at IS NULL) AS is_open
                  FROM inventory_nodeclaim WHERE consumer = i.uuid
       ) held ON held.since IS NOT NULL
 WHERE i.ready_at IS NOT NULL AND (held.is_open OR held.until >= i.ready_at)
 ORDER BY i.id
"""


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0012_usage"),
        ("inventory", "0010_address_guards"),
    ]
    operations = [
        migrations.RunSQL(
            COURSE,
            "DROP TRIGGER usage_course ON instances_usageinterval;"
            "DROP TRIGGER usage_no_truncate ON instances_usageinterval;"
            "DROP FUNCTION instances_usage_course();"
            "DROP FUNCTION instances_usage_no_truncate();",
        ),
        migrations.RunSQL(
            GAPLESS,
            "DROP TRIGGER usage_without_gap ON instances_usageinterval;"
            "DROP FUNCTION instances_usage_without_gap();",
        ),
        migrations.RunSQL(FROM_CLAIMS, migrations.RunSQL.noop),
        migrations.RunSQL(
            ENDED,
            "DROP TRIGGER ended_is_not_billed ON instances_instance;"
            "DROP TRIGGER usage_is_not_of_ended ON instances_usageinterval;"
            "DROP FUNCTION instances_ended_is_not_billed();",
        ),
    ]
