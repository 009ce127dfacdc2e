"""A range of time made of two columns, for constraints."""

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models


class TimeRange(models.Func):
    """From the first moment to the second, without that; NULL has no end."""

    function = "TSTZRANGE"
    output_field = DateTimeRangeField()
