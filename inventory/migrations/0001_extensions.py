"""What the exclusion constraint on CPUs needs; both extensions are trusted ones."""

from django.contrib.postgres.operations import BtreeGistExtension, CreateExtension
from django.db import migrations


class Migration(migrations.Migration):
    initial = True
    operations = [BtreeGistExtension(), CreateExtension("intarray")]
