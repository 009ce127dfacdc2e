"""Read what one locked host has free, in one statement: the claim's own snapshot.

It gives what `snapshots.snapshots_of()` gives for that host, at a fraction of the cost; a
test holds the two together.
"""

from collections.abc import Iterable
from uuid import UUID

from inventory import prepared
from inventory.choices import GONE_CONDITIONS, AlertClass, CardCondition
from inventory.topology import FreeCard, HostSnapshot, NodeSnapshot

_GONE = ", ".join(f"'{condition}'" for condition in sorted(GONE_CONDITIONS))
# claim_set NULL: all of the consumer's claims leave.
_STAYS = """(k.consumer IS DISTINCT FROM %(leaving)s
               OR k.claim_set <> coalesce(%(claim_set)s::smallint, k.claim_set))"""

_FREE = f"""
SELECT h.name, n.number, n.memory_mib - n.reserved_memory_mib - taken.memory_mib,
       taken.guests, page.sizes, page.counts,
       cpu.numbers, cpu.cores, cpu.reserved, taken.cpus, card.ids, card.models,
       EXISTS (SELECT FROM inventory_card g
                WHERE g.numa_node_id = n.id AND g.condition NOT IN ({_GONE}))
  FROM inventory_host h
  JOIN inventory_numanode n ON n.host_id = h.id
 CROSS JOIN LATERAL (
       SELECT array_agg(number) AS numbers, array_agg(core) AS cores,
              array_agg(is_reserved) AS reserved
         FROM (SELECT number, core, is_reserved FROM inventory_hostcpu
                WHERE numa_node_id = n.id ORDER BY number) ordered) cpu
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(k.memory_mib) FILTER (WHERE k.hugepage_kib = 0), 0)::bigint
                  AS memory_mib,
              coalesce(string_agg(array_to_string(k.cpus, ','), ','), '') AS cpus,
              count(DISTINCT k.consumer) AS guests
         FROM inventory_nodeclaim k
        WHERE k.numa_node_id = n.id AND k.released_at IS NULL
          AND {_STAYS}) taken
 CROSS JOIN LATERAL (
       SELECT array_agg(kib) AS sizes, array_agg(count - held) AS counts
         FROM (SELECT p.key::int AS kib, p.value::bigint AS count,
                      (SELECT coalesce(sum(k.memory_mib), 0)::bigint * 1024 / p.key::int
                         FROM inventory_nodeclaim k
                        WHERE k.numa_node_id = n.id AND k.released_at IS NULL
                          AND k.hugepage_kib = p.key::int
                          AND {_STAYS}) AS held
                 FROM jsonb_each_text(n.hugepages) p ORDER BY kib) ordered
        WHERE count > held) page
 CROSS JOIN LATERAL (
       SELECT array_agg(id) AS ids, array_agg(slug) AS models
         FROM (SELECT g.id, m.slug
                 FROM inventory_card g JOIN inventory_gpumodel m ON m.id = g.gpu_model_id
                WHERE g.numa_node_id = n.id AND g.condition = '{CardCondition.READY}'
                  AND NOT EXISTS (
                      SELECT FROM inventory_cardclaim k
                       WHERE k.card_id = g.id AND k.released_at IS NULL
                         AND ({_STAYS} OR NOT k.is_hold))
                  AND NOT EXISTS (
                      SELECT FROM inventory_discrepancy d WHERE d.card_id = g.id
                         AND d.prevents_claims AND d.resolved_at IS NULL)
                  AND NOT EXISTS (
                      SELECT FROM inventory_alert a WHERE a.card_id = g.id
                         AND a.cleared_at IS NULL
                         AND a.alert_class = '{AlertClass.PREVENTS_CLAIMS}')
                ORDER BY g.slot_path, g.id) free) card
 WHERE h.id = %(host)s
 ORDER BY n.number
"""  # noqa: S608 -- made of constants


def free_host(
    host_id: int, leaving: UUID | None = None, claim_set: int | None = None
) -> HostSnapshot:
    """Return what is free on the host whose lock the caller holds; one statement.

    leaving: a holder whose claims count as ended already. A card that it used is still not
    free, since it must be cleaned first. claim_set: only that one of the holder's.
    """
    found = prepared.rows(
        _FREE, {"host": host_id, "leaving": leaving, "claim_set": claim_set}
    )
    nodes = []
    for row in found:
        _, number, mib, guests, sizes, counts, cpus, cores, reserved, taken = row[:10]
        ids, models, _ = row[10:]
        known = zip(cpus or (), cores or (), reserved or (), strict=True)
        nodes.append(
            NodeSnapshot(
                number=number,
                cards=tuple(map(FreeCard, ids or (), models or ())),
                cores=_free_cores(known, taken),
                memory_mib=max(0, mib),
                pages=tuple(zip(sizes or (), counts or (), strict=True)),
                guests=guests,
            )
        )
    return HostSnapshot(
        host_id,
        found[0][0] if found else "",
        tuple(nodes),
        has_cards=any(row[-1] for row in found),
    )


def _free_cores(
    cpus: Iterable[tuple[int, int, bool]], taken: str
) -> tuple[tuple[int, ...], ...]:
    """Return the cores of which no CPU is taken, by number.

    cpus: (number, core, whether it is the host's own), by number. taken: "0,1,4".
    """
    claimed = set(map(int, taken.split(","))) if taken else set()
    siblings: dict[int, list[int]] = {}
    blocked = set()
    for cpu, core, is_reserved in cpus:
        siblings.setdefault(core, []).append(cpu)
        if is_reserved or cpu in claimed:
            blocked.add(core)
    return tuple(
        tuple(siblings[core]) for core in sorted(siblings) if core not in blocked
    )
