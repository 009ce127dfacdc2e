"""Rules for addresses that no declared constraint can express."""

from django.db import migrations

# A range of IPv4 within the network makes the network one of IPv4.
POOL = """
ALTER TABLE inventory_addresspool
    ADD CONSTRAINT address_pool_range_in_network CHECK (
        first << network AND last << network AND first <= last
    ),
    -- Every claim looks through the range: at most a /16.
    ADD CONSTRAINT address_pool_not_huge CHECK (last - first < 65536),
    ADD CONSTRAINT address_pool_gateway_is_nobodys CHECK (
        gateway << network AND NOT gateway BETWEEN first AND last
    ),
    ADD CONSTRAINT address_pool_prefix_is_64 CHECK (
        family(ipv6_prefix) = 6 AND masklen(ipv6_prefix) = 64
    );
"""
POOL_BEFORE = """
ALTER TABLE inventory_addresspool
    DROP CONSTRAINT address_pool_range_in_network,
    DROP CONSTRAINT address_pool_not_huge,
    DROP CONSTRAINT address_pool_gateway_is_nobodys,
    DROP CONSTRAINT address_pool_prefix_is_64;
"""

CLAIM = """
CREATE TRIGGER address_claim_only_ends BEFORE UPDATE OR DELETE ON inventory_addressclaim
    FOR EACH ROW EXECUTE FUNCTION inventory_claim_only_ends();
CREATE FUNCTION inventory_claim_of_pool() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- FOR SHARE: the range cannot change between this look and the commit.
    PERFORM FROM inventory_addresspool
        WHERE id = NEW.pool_id AND NEW.address BETWEEN first AND last FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not of pool %', NEW.address, NEW.pool_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'claimed_address_of_pool';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER address_claim_of_pool BEFORE INSERT ON inventory_addressclaim
    FOR EACH ROW EXECUTE FUNCTION inventory_claim_of_pool();
"""
CLAIM_BEFORE = """
DROP TRIGGER address_claim_of_pool ON inventory_addressclaim;
DROP FUNCTION inventory_claim_of_pool();
DROP TRIGGER address_claim_only_ends ON inventory_addressclaim;
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0009_addresses")]
    operations = [
        migrations.RunSQL(POOL, POOL_BEFORE),
        migrations.RunSQL(CLAIM, CLAIM_BEFORE),
    ]
