"""The tests of orphanguard, one folder for each thing that is proved: see README.md."""
