"""The statements that write claims, each with its events and its host's search key."""

CLAIM = """
WITH now AS MATERIALIZED (SELECT clock_timestamp() AS at),
nodes AS (
    INSERT INTO inventory_nodeclaim
        (numa_node_id, consumer, cpus, vcpus, memory_mib, hugepage_kib, claim_set,
         claimed_at)
    SELECT n.id, %(consumer)s, s.cpus::int[], s.vcpus, s.memory_mib, s.hugepage_kib,
           %(claim_set)s::smallint, now.at
      FROM now, unnest(%(numbers)s::smallint[], %(cpus)s::text[], %(vcpus)s::smallint[],
                       %(memory_mib)s::int[], %(hugepage_kib)s::int[])
                AS s (number, cpus, vcpus, memory_mib, hugepage_kib)
      JOIN inventory_numanode n ON n.host_id = %(host)s AND n.number = s.number),
claims AS (
    INSERT INTO inventory_cardclaim (card_id, consumer, claim_set, claimed_at, is_hold)
    SELECT card_id, %(consumer)s, %(claim_set)s::smallint, now.at, %(is_hold)s
      FROM now, unnest(%(cards)s::bigint[]) AS card_id
    RETURNING id, card_id),
events AS (
    INSERT INTO inventory_cardevent (card_id, at, kind, from_condition, to_condition,
        actor, reason, consumer, claim_id, slot_path)
    SELECT card_id, now.at, %(kind)s, 'ready', 'ready', %(actor)s, %(reason)s,
           %(consumer)s, id, ''
      FROM now, claims)
UPDATE inventory_host SET free_shape = %(shape)s WHERE id = %(host)s
"""

LOCK_HOSTS_OF = """
SELECT id FROM inventory_host
 WHERE id IN (SELECT n.host_id FROM inventory_nodeclaim k
                JOIN inventory_numanode n ON n.id = k.numa_node_id
               WHERE k.consumer = %(consumer)s AND k.released_at IS NULL)
 ORDER BY id FOR NO KEY UPDATE
"""

RELEASE = """
WITH now AS MATERIALIZED (SELECT clock_timestamp() AS at),
nodes AS (
    UPDATE inventory_nodeclaim k SET released_at = now.at
      FROM now, inventory_numanode n
     WHERE k.consumer = %(consumer)s AND k.released_at IS NULL
       AND k.claim_set = coalesce(%(claim_set)s::smallint, k.claim_set)
       AND n.id = k.numa_node_id AND n.host_id = %(host)s),
claims AS (
    UPDATE inventory_cardclaim k SET released_at = now.at
      FROM now, inventory_card g
     WHERE k.consumer = %(consumer)s AND k.released_at IS NULL
       AND k.claim_set = coalesce(%(claim_set)s::smallint, k.claim_set)
       AND g.id = k.card_id AND g.host_id = %(host)s
    RETURNING k.id, k.card_id, k.is_hold, g.condition),
events AS (
    INSERT INTO inventory_cardevent (card_id, at, kind, from_condition, to_condition,
        actor, reason, consumer, claim_id, slot_path)
    SELECT card_id, now.at, 'released', condition, condition, %(actor)s, %(reason)s,
           %(consumer)s, id, ''
      FROM now, claims),
host AS (UPDATE inventory_host SET free_shape = %(shape)s WHERE id = %(host)s)
SELECT id FROM claims WHERE condition = 'ready' AND NOT is_hold ORDER BY card_id
"""

TAKE_UP = """
WITH now AS MATERIALIZED (SELECT clock_timestamp() AS at),
claims AS (
    UPDATE inventory_cardclaim SET is_hold = false
     WHERE consumer = %(consumer)s AND released_at IS NULL AND is_hold
    RETURNING id, card_id)
INSERT INTO inventory_cardevent (card_id, at, kind, from_condition, to_condition,
    actor, reason, consumer, claim_id, slot_path)
SELECT card_id, now.at, 'taken_up', 'ready', 'ready', %(actor)s, %(reason)s,
       %(consumer)s, id, ''
  FROM now, claims
"""
