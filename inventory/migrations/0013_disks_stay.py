"""Where guests' disks lie stays as it is while anything is held on the host.

A delete looks for the disk where the setup says: elsewhere it would be found gone.
"""

from django.db import migrations

GUARD = """
CREATE FUNCTION inventory_disks_stay() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- Of a host without a row (inventory.models.GuestSetup).
    usual CONSTANT text[] := ARRAY['gpucloud-disks', '/var/lib/libvirt/gpucloud/disks'];
    before text[] := usual;
    after text[] := usual;
    of_host bigint;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        before := ARRAY[OLD.disk_pool, OLD.disk_folder];
        of_host := OLD.host_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        after := ARRAY[NEW.disk_pool, NEW.disk_folder];
        of_host := NEW.host_id;
    END IF;
    IF before = after THEN
        RETURN NULL;
    END IF;
    -- Who claims locks the host first.
    PERFORM FROM inventory_host WHERE id = of_host FOR UPDATE;
    PERFORM FROM inventory_nodeclaim AS held
        JOIN inventory_numanode AS node ON node.id = held.numa_node_id
        WHERE node.host_id = of_host AND held.released_at IS NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'disks of guests lie in %', before[1]
            USING ERRCODE = 'check_violation', CONSTRAINT = 'guest_disks_stay';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER guest_disks_stay AFTER INSERT OR UPDATE OR DELETE ON inventory_guestsetup
    FOR EACH ROW EXECUTE FUNCTION inventory_disks_stay();
"""
BEFORE = """
DROP TRIGGER guest_disks_stay ON inventory_guestsetup;
DROP FUNCTION inventory_disks_stay();
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0012_claim_sets")]
    operations = [migrations.RunSQL(GUARD, BEFORE)]
