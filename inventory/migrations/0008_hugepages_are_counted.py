"""Count hugepages: a claim says what pages its memory comes from, and each kind has a limit."""

from django.db import migrations, models

NODE_CAPACITY = """
CREATE OR REPLACE FUNCTION inventory_claim_within_node() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    capacity bigint;
    claimed bigint;
    usable integer;
BEGIN
    -- The lock makes claims on one node wait for each other; the sums come after it, in
    -- statements of their own, so that they see what the others committed.
    SELECT CASE NEW.hugepage_kib
        WHEN 0 THEN memory_mib - reserved_memory_mib
        ELSE coalesce((hugepages ->> NEW.hugepage_kib::text)::bigint, 0)
            * NEW.hugepage_kib / 1024
        END INTO capacity FROM inventory_numanode
        WHERE id = NEW.numa_node_id FOR NO KEY UPDATE;
    SELECT coalesce(sum(memory_mib), 0) INTO claimed FROM inventory_nodeclaim
        WHERE numa_node_id = NEW.numa_node_id AND released_at IS NULL
          AND hugepage_kib = NEW.hugepage_kib;
    IF claimed > capacity THEN
        RAISE EXCEPTION 'node %: % of % MiB claimed in pages of % KiB (0: ordinary)',
            NEW.numa_node_id, claimed, capacity, NEW.hugepage_kib
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
"""

WITHOUT_HUGEPAGES = """
CREATE OR REPLACE FUNCTION inventory_claim_within_node() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0007_holds")]
    operations = [
        migrations.AddField(
            model_name="nodeclaim",
            name="hugepage_kib",
            field=models.PositiveIntegerField(
                default=0,
                help_text="0: ordinary memory.",
                verbose_name="hugepage size, KiB",
            ),
        ),
        migrations.RunSQL(NODE_CAPACITY, WITHOUT_HUGEPAGES),
    ]
