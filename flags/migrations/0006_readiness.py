"""Thresholds of readiness, and what was decided on a report: rows are only added."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

ONLY_ADDED = """
CREATE FUNCTION flags_decision_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'decisions on launches are history: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'launch_decision_only_added';
END $$;
CREATE TRIGGER launch_decision_frozen BEFORE UPDATE OR DELETE ON flags_launchdecision
    FOR EACH ROW EXECUTE FUNCTION flags_decision_frozen();
CREATE TRIGGER launch_decision_no_truncate BEFORE TRUNCATE ON flags_launchdecision
    FOR EACH STATEMENT EXECUTE FUNCTION flags_decision_frozen();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("flags", "0005_flag_changes"),
    ]

    operations = [
        migrations.CreateModel(
            name="LaunchDecision",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "verdict",
                    models.CharField(
                        choices=[("go", "go"), ("no_go", "no-go")],
                        max_length=5,
                        verbose_name="decision",
                    ),
                ),
                ("by", models.CharField(help_text="user:NAME", max_length=150)),
                ("at", models.DateTimeField()),
                ("remark", models.CharField(blank=True, max_length=1000)),
                ("snapshot", models.JSONField()),
                (
                    "flag",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to=settings.WAFFLE_FLAG_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Func(
                                models.F("snapshot"),
                                function="jsonb_path_exists",
                                output_field=models.BooleanField(),
                                template="%(function)s(%(expressions)s, '$.lines[*].status')",
                            )
                        ),
                        name="launch_decision_is_on_a_report",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("verdict", "no_go"),
                            models.Q(("remark", ""), _negated=True),
                            models.Q(
                                models.Func(
                                    models.F("snapshot"),
                                    function="jsonb_path_exists",
                                    output_field=models.BooleanField(),
                                    template="%(function)s(%(expressions)s, '$.lines[*] ? (@.status != \"green\")')",
                                ),
                                _negated=True,
                            ),
                            _connector="OR",
                        ),
                        name="launch_decision_not_green_has_a_remark",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ReadinessThreshold",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "line",
                    models.CharField(
                        choices=[
                            ("launches", "launches"),
                            ("success", "launches that succeed, %"),
                            ("time_p50", "time to running, p50, s"),
                            ("time_p95", "time to running, p95, s"),
                            ("failures", "failed launches"),
                            ("card_faults", "card faults"),
                            ("check_failures", "failed scrubs and tests of cards"),
                            ("discrepancies", "discrepancies"),
                            ("refusals", "refused demand"),
                            ("hours", "hours run"),
                            ("accounts", "distinct accounts"),
                            ("feedback", "would use it again, %"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "bound",
                    models.DecimalField(
                        decimal_places=2,
                        help_text="Green from here up, of launches, success, hours, accounts and feedback; up to here, of all else.",
                        max_digits=12,
                    ),
                ),
                (
                    "flag",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: for every flag that has none of its own.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="thresholds",
                        to=settings.WAFFLE_FLAG_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": [
                    models.OrderBy(models.F("flag"), nulls_first=True),
                    "line",
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("flag", "line"),
                        name="readiness_threshold_once",
                        nulls_distinct=False,
                        violation_error_message="There is one already: change that.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("bound__gte", 0)),
                        name="readiness_threshold_not_negative",
                        violation_error_message="A threshold is 0 or more.",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            ONLY_ADDED,
            "DROP TRIGGER launch_decision_frozen ON flags_launchdecision;"
            "DROP TRIGGER launch_decision_no_truncate ON flags_launchdecision;"
            "DROP FUNCTION flags_decision_frozen();",
        ),
    ]
