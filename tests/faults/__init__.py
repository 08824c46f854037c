"""Starts that fail, are interrupted or refused, and what else goes wrong in the middle: nothing is left behind.

Negative control: `nothing_left` in conftest.py fails each test that leaves a process, an fd or a thread; the tests
that refuse or interrupt a call check that it was in fact refused or interrupted.
"""
