"""What was changed of a flag is history: rows are only added. Proposals end once."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

ONLY_ADDED = """
CREATE FUNCTION flags_change_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'changes of flags are history: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'flag_change_only_added';
END $$;
CREATE TRIGGER flag_change_frozen BEFORE UPDATE OR DELETE ON flags_flagchange
    FOR EACH ROW EXECUTE FUNCTION flags_change_frozen();
CREATE TRIGGER flag_change_no_truncate BEFORE TRUNCATE ON flags_flagchange
    FOR EACH STATEMENT EXECUTE FUNCTION flags_change_frozen();
"""
ENDS_ONCE = """
CREATE FUNCTION flags_proposal_course() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.ended_at IS NULL
       AND to_jsonb(NEW) - '{state,approved_by,ended_at,ended_by,change_id}'::text[]
         = to_jsonb(OLD) - '{state,approved_by,ended_at,ended_by,change_id}'::text[] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'proposal % can be approved and end, no more: % refused', OLD.id, TG_OP
        USING ERRCODE = 'integrity_constraint_violation',
              CONSTRAINT = 'flag_proposal_course';
END $$;
CREATE TRIGGER flag_proposal_course BEFORE UPDATE OR DELETE ON flags_flagproposal
    FOR EACH ROW EXECUTE FUNCTION flags_proposal_course();
"""


class Migration(migrations.Migration):
    dependencies = [("flags", "0004_gates")]

    operations = [
        migrations.CreateModel(
            name="FlagChange",
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
                    "kind",
                    models.CharField(
                        choices=[
                            ("created", "created"),
                            ("changed", "changed"),
                            ("killed", "killed"),
                            ("taken_back", "kill taken back"),
                        ],
                        max_length=10,
                    ),
                ),
                ("at", models.DateTimeField(db_index=True)),
                ("by", models.CharField(help_text="user:NAME", max_length=150)),
                ("approved_by", models.CharField(blank=True, max_length=150)),
                ("reason", models.CharField(max_length=400)),
                ("before", models.JSONField()),
                ("after", models.JSONField()),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="FlagProposal",
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
                    "kind",
                    models.CharField(
                        choices=[
                            ("created", "created"),
                            ("changed", "changed"),
                            ("killed", "killed"),
                            ("taken_back", "kill taken back"),
                        ],
                        max_length=10,
                    ),
                ),
                ("changes", models.JSONField()),
                ("base", models.JSONField()),
                ("reason", models.CharField(max_length=400)),
                (
                    "proposed_by",
                    models.CharField(help_text="user:NAME", max_length=150),
                ),
                ("proposed_at", models.DateTimeField(auto_now_add=True)),
                (
                    "due_at",
                    models.DateTimeField(
                        help_text="None: as soon as it is approved.",
                        null=True,
                        verbose_name="due",
                    ),
                ),
                (
                    "needs_two",
                    models.BooleanField(
                        help_text="By the setting when it was proposed.",
                        verbose_name="needs two persons",
                    ),
                ),
                ("approved_by", models.CharField(blank=True, max_length=150)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waits for a second person"),
                            ("scheduled", "scheduled"),
                            ("applied", "applied"),
                            ("cancelled", "cancelled"),
                            ("outdated", "outdated"),
                        ],
                        max_length=9,
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True)),
                ("ended_by", models.CharField(blank=True, max_length=150)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="flagchange",
            name="flag",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="changes",
                to=settings.WAFFLE_FLAG_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="flagproposal",
            name="change",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="proposal",
                to="flags.flagchange",
            ),
        ),
        migrations.AddField(
            model_name="flagproposal",
            name="flag",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="proposals",
                to=settings.WAFFLE_FLAG_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="flagchange",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True),
                name="flag_change_has_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="flagchange",
            constraint=models.CheckConstraint(
                condition=models.Q(("approved_by", models.F("by")), _negated=True),
                name="flag_change_by_two_if_approved",
            ),
        ),
        migrations.AddIndex(
            model_name="flagproposal",
            index=models.Index(
                condition=models.Q(("state", "scheduled")),
                fields=["due_at"],
                name="flag_proposals_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="flagproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True),
                name="flag_proposal_has_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="flagproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("approved_by", models.F("proposed_by")), _negated=True
                ),
                name="flag_proposal_approved_by_another",
            ),
        ),
        migrations.AddConstraint(
            model_name="flagproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("needs_two", False),
                    models.Q(("approved_by", ""), _negated=True),
                    models.Q(("state__in", ("scheduled", "applied")), _negated=True),
                    _connector="OR",
                ),
                name="flag_proposal_approved_before_it_counts",
            ),
        ),
        migrations.AddConstraint(
            model_name="flagproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "scheduled"), _negated=True),
                    ("due_at__isnull", False),
                    _connector="OR",
                ),
                name="flag_proposal_scheduled_has_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="flagproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("change__isnull", False), ("state", "applied")),
                    models.Q(
                        models.Q(("state", "applied"), _negated=True), ("change", None)
                    ),
                    _connector="OR",
                ),
                name="flag_proposal_applied_iff_changed",
            ),
        ),
        migrations.AddConstraint(
            model_name="flagproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("ended_at", None), ("state__in", ("waiting", "scheduled"))
                    ),
                    models.Q(
                        models.Q(
                            ("state__in", ("waiting", "scheduled")), _negated=True
                        ),
                        ("ended_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="flag_proposal_ended_iff_over",
            ),
        ),
        migrations.RunSQL(
            ONLY_ADDED,
            "DROP TRIGGER flag_change_frozen ON flags_flagchange;"
            "DROP TRIGGER flag_change_no_truncate ON flags_flagchange;"
            "DROP FUNCTION flags_change_frozen();",
        ),
        migrations.RunSQL(
            ENDS_ONCE,
            "DROP TRIGGER flag_proposal_course ON flags_flagproposal;"
            "DROP FUNCTION flags_proposal_course();",
        ),
    ]
