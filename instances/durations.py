"""Count how long steps and jobs took; the counts outlive the jobs' rows."""

from django.db import connection

from instances.models import Job, JobStep, WorkDuration

# A step on a host that answers takes less than a second, a copy of an image minutes, and
# the wipe of a large disk hours.
BOUNDS_S = (
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
    float("inf"),
)

# One statement, by the database's clock: whoever ends a step did not always begin it.
_COUNT = """
INSERT INTO {counts} AS c (kind, step, outcome, upto_s, observed, seconds)
SELECT took.kind, took.step, took.outcome,
       (SELECT min(bound) FROM unnest(%(bounds)s::float8[]) AS bound
         WHERE bound >= took.seconds),
       1, took.seconds
  FROM ({took}) AS took
 WHERE took.seconds >= 0
    ON CONFLICT (kind, step, outcome, upto_s)
    DO UPDATE SET observed = c.observed + 1, seconds = c.seconds + excluded.seconds
"""
_STEP = """
SELECT job.kind, step.name AS step, step.state AS outcome,
       extract(epoch FROM step.finished_at - step.started_at)::float8 AS seconds
  FROM {steps} AS step JOIN {jobs} AS job ON job.id = step.job_id
 WHERE step.id = %(id)s
"""
_JOB = """
SELECT kind, '' AS step, state AS outcome,
       extract(epoch FROM finished_at - created_at)::float8 AS seconds
  FROM {jobs} WHERE id = %(id)s
"""


def count_step(step_id: int) -> None:
    """Count a step that has just ended, as the last of its transaction.

    The row that is counted in stays locked until that commits.
    """
    _count(_STEP, step_id)


def count_job(job_id: int) -> None:
    """Count a job that has just ended, as the last of its transaction."""
    _count(_JOB, job_id)


def _count(took: str, row_id: int) -> None:
    tables = {
        "counts": WorkDuration._meta.db_table,  # noqa: SLF001 -- public API
        "steps": JobStep._meta.db_table,  # noqa: SLF001
        "jobs": Job._meta.db_table,  # noqa: SLF001
    }
    statement = _COUNT.format(took=took.format(**tables), counts=tables["counts"])
    with connection.cursor() as cursor:
        cursor.execute(statement, {"bounds": list(BOUNDS_S), "id": row_id})
