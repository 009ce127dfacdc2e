"""Invoices are history: rows are only added, and an invoice is the sum of its items."""

from django.db import migrations

TABLES = {
    "invoice": "instances_invoice",
    "invoice_item": "instances_invoiceitem",
    "invoiced_month": "instances_invoicedmonth",
}

FROZEN = """
CREATE FUNCTION instances_invoice_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'invoices never change: % of % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'invoice_is_frozen';
END $$;
""" + "".join(
    f"""
CREATE TRIGGER {name}_frozen BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION instances_invoice_frozen();
CREATE TRIGGER {name}_no_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION instances_invoice_frozen();
"""
    for name, table in TABLES.items()
)
THAWED = (
    "".join(
        f"DROP TRIGGER {name}_frozen ON {table};"
        f"DROP TRIGGER {name}_no_truncate ON {table};"
        for name, table in TABLES.items()
    )
    + "DROP FUNCTION instances_invoice_frozen();"
)

# Deferred: the invoice comes before its items, all in one transaction. So an item that
# costs something cannot come later either.
SUM = """
CREATE FUNCTION instances_invoice_sum() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    billed bigint;
    difference numeric;
BEGIN
    billed := CASE WHEN TG_TABLE_NAME = 'instances_invoice' THEN NEW.id
                   ELSE (to_jsonb(NEW)->>'invoice_id')::bigint END;
    SELECT i.subtotal - coalesce(
               (SELECT sum(amount) FROM instances_invoiceitem WHERE invoice_id = i.id), 0)
      INTO difference FROM instances_invoice i WHERE i.id = billed;
    IF difference <> 0 THEN
        RAISE EXCEPTION 'invoice % is % more than its items', billed, difference
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_is_its_items';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER invoice_sum AFTER INSERT ON instances_invoice
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION instances_invoice_sum();
CREATE CONSTRAINT TRIGGER invoice_item_sum AFTER INSERT ON instances_invoiceitem
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION instances_invoice_sum();
"""


class Migration(migrations.Migration):
    dependencies = [("instances", "0025_invoices")]
    operations = [
        migrations.RunSQL(FROZEN, THAWED),
        migrations.RunSQL(
            SUM,
            "DROP TRIGGER invoice_sum ON instances_invoice;"
            "DROP TRIGGER invoice_item_sum ON instances_invoiceitem;"
            "DROP FUNCTION instances_invoice_sum();",
        ),
    ]
