"""Drop the tables that waffle makes for the model we swapped (waffle #317).

They are never used, and their foreign keys break TRUNCATE of ours in tests.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("flags", "0001_initial"),
        ("waffle", "0004_update_everyone_nullbooleanfield"),
    ]
    operations = [
        migrations.RunSQL(
            "DROP TABLE IF EXISTS waffle_flag_groups, waffle_flag_users, waffle_flag;",
            migrations.RunSQL.noop,
        )
    ]
