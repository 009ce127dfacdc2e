"""A placement group's members are its account's, live, in its region, and where they say."""

from django.db import migrations

GUARDS = """
-- So that a member's policy is its group's, and a group's never changes under members.
ALTER TABLE instances_placementgroup
    ADD CONSTRAINT placement_group_and_policy UNIQUE (id, policy);
ALTER TABLE instances_placementmember
    ADD CONSTRAINT placement_member_has_its_groups_policy
    FOREIGN KEY (group_id, policy) REFERENCES instances_placementgroup (id, policy);

CREATE FUNCTION instances_placement_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM instances_placementgroup g
          JOIN instances_instance i
            ON i.account_id = g.account_id AND i.region_id = g.region_id
         WHERE g.id = NEW.group_id AND i.id = NEW.instance_id
    ) THEN
        RAISE EXCEPTION 'placement group % is not of the account and region of instance %',
            NEW.group_id, NEW.instance_id
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'placement_member_of_one_account_and_region';
    END IF;
    IF NOT EXISTS (
        SELECT FROM instances_instance i
          JOIN inventory_nodeclaim k ON k.consumer = i.uuid AND k.released_at IS NULL
          JOIN inventory_numanode n ON n.id = k.numa_node_id
         WHERE i.id = NEW.instance_id AND n.host_id = NEW.host_id
    ) THEN
        RAISE EXCEPTION 'instance % holds nothing on host %',
            NEW.instance_id, NEW.host_id
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'placement_member_where_its_claims_are';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER placement_member_is_right BEFORE INSERT OR UPDATE
    ON instances_placementmember
    FOR EACH ROW EXECUTE FUNCTION instances_placement_member();

-- Deferred: an instance and its membership end in one transaction, in any order.
CREATE FUNCTION instances_placement_member_lives() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    about bigint;
BEGIN
    IF TG_TABLE_NAME = 'instances_instance' THEN
        about := NEW.id;
    ELSE
        about := NEW.instance_id;
    END IF;
    IF EXISTS (
        SELECT FROM instances_placementmember m
          JOIN instances_instance i ON i.id = m.instance_id
         WHERE i.id = about AND i.ended_at IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'instance % has ended and is in a placement group', about
            USING ERRCODE = 'check_violation',
                  CONSTRAINT = 'placement_member_lives';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER placement_member_lives AFTER INSERT OR UPDATE
    ON instances_placementmember DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION instances_placement_member_lives();
CREATE CONSTRAINT TRIGGER ended_is_in_no_placement_group AFTER UPDATE OF ended_at
    ON instances_instance DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION instances_placement_member_lives();
"""


class Migration(migrations.Migration):
    dependencies = [("instances", "0028_placement_groups")]
    operations = [
        migrations.RunSQL(
            GUARDS,
            "DROP TRIGGER ended_is_in_no_placement_group ON instances_instance;"
            "DROP TRIGGER placement_member_lives ON instances_placementmember;"
            "DROP FUNCTION instances_placement_member_lives();"
            "DROP TRIGGER placement_member_is_right ON instances_placementmember;"
            "DROP FUNCTION instances_placement_member();"
            "ALTER TABLE instances_placementmember"
            " DROP CONSTRAINT placement_member_has_its_groups_policy;"
            "ALTER TABLE instances_placementgroup"
            " DROP CONSTRAINT placement_group_and_policy;",
        ),
    ]
