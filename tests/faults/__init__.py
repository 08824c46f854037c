"""Starts that fail, are interrupted or refused, and what else goes wrong in the middle: nothing is left behind.

The negative control is `nothing_left` in conftest.py: a test that leaves a process, an fd or a thread fails. And a test
that refuses or interrupts a call checks that the call was in fact refused or interrupted.
"""
