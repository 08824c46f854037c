"""The answers to "how do I keep my children from becoming orphans".

``catalogue.py`` lists all of them, one row each, in the order of the tables: what a strategy is called, what people say
of it, what it needs, and which file here does it. A file is what people write. Where strategies differ in one word they
share a file, and their rows say the word.

A file has

- ``start(count, child, ...)``: starts that many children in the parent. Returns handles that have ``is_alive()`` or
  ``poll()``, or none. A process runs ``child.target``, a program is ``child.command``. Further arguments are the row's;
- ``prepare()`` and ``finish()``, if there is something to do before and after the first start. Both run in the main
  thread of the parent, whichever thread starts the children;
- ``stop()``, if the strategy is meant for a ``with`` block: the end of that block.
"""
