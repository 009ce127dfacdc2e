"""Kills a real worker before, in or after a step of a job, or holds it there; for tests.

DJANGO_SETTINGS_MODULE=tests.kill_points.settings takes it in. A file JOB-STEP-MOMENT of
the folder GPUCLOUD_TEST_KILLS, or KIND-STEP-MOMENT, calls for one kill, and is gone once
it has happened. One that says HOLD has the worker wait instead, for as long as the
folder's GATE is there; a file so called and -held is there meanwhile.
"""
