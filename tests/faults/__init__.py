"""Every write of a command fails once: with a full disk, a failing disk, and death.

`shim.c` stands below Python, `warm` forks commands that it watches, `commands` says which, and what
they must leave, `plan` chooses the calls, `trial` tells how a case ended.
"""
