"""A child never outlives its parent.

However the parent ends, whichever thread starts the child, whatever both do to themselves, and at whatever moment of a
start the parent is killed. Negative control: the same family without orphanguard, whose children survive (tests named
"..._unguarded" or "..._survive").
"""
