"""A firewall is on living instances of its own account alone."""

from django.db import migrations

GUARDS = """
CREATE FUNCTION instances_firewall_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM instances_firewall f
          JOIN instances_instance i ON i.account_id = f.account_id
         WHERE f.id = NEW.firewall_id AND i.id = NEW.instance_id
    ) THEN
        RAISE EXCEPTION 'firewall % is not of the account of instance %',
            NEW.firewall_id, NEW.instance_id
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'firewall_device_of_one_account';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER firewall_device_of_one_account BEFORE INSERT OR UPDATE
    ON instances_firewalldevice
    FOR EACH ROW EXECUTE FUNCTION instances_firewall_device();

-- Deferred: an instance and its device end in one transaction, in any order.
CREATE FUNCTION instances_firewall_device_lives() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    about bigint;
BEGIN
    IF TG_TABLE_NAME = 'instances_instance' THEN
        about := NEW.id;
    ELSE
        about := NEW.instance_id;
    END IF;
    IF EXISTS (
        SELECT FROM instances_firewalldevice d
          JOIN instances_instance i ON i.id = d.instance_id
         WHERE i.id = about AND i.ended_at IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'instance % has ended and is on a firewall', about
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'firewall_device_lives';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER firewall_device_lives AFTER INSERT OR UPDATE
    ON instances_firewalldevice DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION instances_firewall_device_lives();
CREATE CONSTRAINT TRIGGER ended_has_no_firewall AFTER UPDATE OF ended_at
    ON instances_instance DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION instances_firewall_device_lives();
"""


class Migration(migrations.Migration):
    dependencies = [("instances", "0023_firewalls")]
    operations = [
        migrations.RunSQL(
            GUARDS,
            "DROP TRIGGER ended_has_no_firewall ON instances_instance;"
            "DROP TRIGGER firewall_device_lives ON instances_firewalldevice;"
            "DROP FUNCTION instances_firewall_device_lives();"
            "DROP TRIGGER firewall_device_of_one_account ON instances_firewalldevice;"
            "DROP FUNCTION instances_firewall_device();",
        ),
    ]
