"""More ways to open a gate, and the kill; what was there stays as it was."""

import django.contrib.postgres.fields
from django.db import migrations, models

# In which of 100 parts of all accounts one is, to a flag: availability.bucket_of().
BUCKET = """
CREATE FUNCTION flags_bucket(flag_name text, account_id bigint) RETURNS smallint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (('x' || substr(md5(flag_name || ':' || account_id), 1, 8))::bit(32)::bigint
            % 100)::smallint
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("flags", "0003_betas")]

    operations = [
        migrations.RunSQL(BUCKET, "DROP FUNCTION flags_bucket(text, bigint);"),
        migrations.AlterModelOptions(
            name="flag",
            options={
                "ordering": ["name"],
                "permissions": [("kill_flag", "Can shut a flag at once")],
            },
        ),
        migrations.AddField(
            model_name="beta",
            name="account_tags",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=50),
                blank=True,
                db_default=[],
                default=list,
                help_text="Only accounts with one of these tags, such as employee, see it, may enrol and have the flag by it. Empty: any account.",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="flag",
            name="account_percent",
            field=models.PositiveSmallIntegerField(
                db_default=0,
                default=0,
                help_text="On for so many of 100 accounts, always the same ones; 100 is all.",
                verbose_name="percentage of accounts",
            ),
        ),
        migrations.AddField(
            model_name="flag",
            name="is_killed",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Shut for all until it is taken back.",
                verbose_name="killed",
            ),
        ),
        migrations.AddConstraint(
            model_name="flag",
            constraint=models.CheckConstraint(
                condition=models.Q(("account_percent__range", (0, 100))),
                name="flag_percent_of_accounts",
                violation_error_message="A percentage is 0 to 100.",
            ),
        ),
    ]
