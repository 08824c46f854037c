"""A child never outlives its parent.

This holds however the parent ends, whichever thread starts the child, whatever both do to themselves, and at whatever
moment of a start the parent is killed. The negative control is the same family without orphanguard: its children
survive (tests named "..._unguarded" or "..._survive").
"""
