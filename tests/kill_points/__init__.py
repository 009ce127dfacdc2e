"""Kills a real worker before, in or after a step of a job; for processes of tests alone.

DJANGO_SETTINGS_MODULE=tests.kill_points.settings takes it in. A file JOB-STEP-MOMENT of
the folder GPUCLOUD_TEST_KILLS calls for one kill, and is gone once it has happened.
"""
