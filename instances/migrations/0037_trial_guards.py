"""A trial ends once and is never made longer; what it gives is never billed."""

from django.db import migrations

COURSE = """
CREATE FUNCTION instances_trial_course() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    its_end text[] := '{warned_s,ended_at,end_reason,end_remark,ended_by,delete_at,at_end}';
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.ended_at IS NULL
       AND to_jsonb(NEW) - its_end = to_jsonb(OLD) - its_end
       AND (NEW.at_end = OLD.at_end OR NEW.ended_at IS NOT NULL)
       AND (NEW.warned_s IS NOT DISTINCT FROM OLD.warned_s
            OR NEW.warned_s < coalesce(OLD.warned_s, NEW.warned_s + 1)) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'trial % can only be warned of and end, once: % refused', OLD.id, TG_OP
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'trial_only_ends';
END $$;
CREATE TRIGGER trial_course BEFORE UPDATE OR DELETE ON instances_trial
    FOR EACH ROW EXECUTE FUNCTION instances_trial_course();
CREATE FUNCTION instances_trial_no_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'trials are history: TRUNCATE refused'
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'trial_only_ends';
END $$;
CREATE TRIGGER trial_no_truncate BEFORE TRUNCATE ON instances_trial
    FOR EACH STATEMENT EXECUTE FUNCTION instances_trial_no_truncate();
"""

OF_ITS_ACCOUNT = """
CREATE FUNCTION instances_instance_of_trial() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.trial_id IS NOT NULL
       AND NEW.trial_id IS DISTINCT FROM OLD.trial_id THEN
        RAISE EXCEPTION 'instance % is of trial % for ever', OLD.id, OLD.trial_id
            USING ERRCODE = 'integrity_constraint_violation',
                  CONSTRAINT = 'instance_of_trial_for_ever';
    END IF;
    IF NEW.trial_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM instances_trial t
         WHERE t.id = NEW.trial_id AND t.account_id = NEW.account_id) THEN
        RAISE EXCEPTION 'trial % is of another account', NEW.trial_id
            USING ERRCODE = 'integrity_constraint_violation',
                  CONSTRAINT = 'instance_of_trial_of_its_account';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER instance_of_trial_made BEFORE INSERT ON instances_instance
    FOR EACH ROW WHEN (NEW.trial_id IS NOT NULL)
    EXECUTE FUNCTION instances_instance_of_trial();
CREATE TRIGGER instance_of_trial BEFORE UPDATE OF trial_id, account_id
    ON instances_instance FOR EACH ROW
    WHEN (OLD.trial_id IS NOT NULL OR NEW.trial_id IS NOT NULL)
    EXECUTE FUNCTION instances_instance_of_trial();
"""

NOT_BILLED = """
CREATE FUNCTION instances_usage_of_trial() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM instances_instance i JOIN instances_trial t ON t.id = i.trial_id
         WHERE i.id = NEW.instance_id
           AND (t.at_end <> 'bill' OR t.ended_at IS NULL OR NEW.starts_at < t.ended_at)
    ) THEN
        RAISE EXCEPTION 'instance % cannot be billed from %: its trial gives that',
            NEW.instance_id, NEW.starts_at
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'usage_of_trial_is_not_billed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER usage_of_trial BEFORE INSERT ON instances_usageinterval
    FOR EACH ROW WHEN (NEW.is_billed) EXECUTE FUNCTION instances_usage_of_trial();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("instances", "0036_trials"),
    ]
    operations = [
        migrations.RunSQL(
            COURSE,
            "DROP TRIGGER trial_course ON instances_trial;"
            "DROP TRIGGER trial_no_truncate ON instances_trial;"
            "DROP FUNCTION instances_trial_course();"
            "DROP FUNCTION instances_trial_no_truncate();",
        ),
        migrations.RunSQL(
            OF_ITS_ACCOUNT,
            "DROP TRIGGER instance_of_trial ON instances_instance;"
            "DROP TRIGGER instance_of_trial_made ON instances_instance;"
            "DROP FUNCTION instances_instance_of_trial();",
        ),
        migrations.RunSQL(
            NOT_BILLED,
            "DROP TRIGGER usage_of_trial ON instances_usageinterval;"
            "DROP FUNCTION instances_usage_of_trial();",
        ),
    ]
