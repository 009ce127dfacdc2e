"""Say when the instances that are there were ready: when their launch ended well."""

from django.db import migrations

READY = """
UPDATE instances_instance AS i SET ready_at = COALESCE(
    (
        SELECT max(j.finished_at) FROM instances_job AS j
        WHERE j.instance_id = i.id AND j.kind = 'launch' AND j.state = 'succeeded'
    ),
    CASE WHEN i.phase = 'running' THEN i.created_at END
)
WHERE i.ready_at IS NULL AND i.phase IN ('running', 'deleting', 'deleted')
"""


class Migration(migrations.Migration):
    dependencies = [("instances", "0009_power_verbs")]

    operations = [
        migrations.RunSQL(READY, "UPDATE instances_instance SET ready_at = NULL")
    ]
