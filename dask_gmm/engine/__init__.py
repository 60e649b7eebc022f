"""How one pass over all chunks runs. Knows chunks, blocks and reductions, and nothing of mixtures.

A caller makes an engine for a source (`choose`) and gives it reductions, once per pass; `reduction` says what
these are. A pass then takes this road:

1. `plan` puts consecutive chunks together to groups, by the data alone.
2. The engine runs each group: `threads` on threads of this process, `cluster` as a task on a worker, which
   `submit` sends there and `tasks` runs.
3. `group` reads a group's blocks, the next ones ahead of time (`read_ahead`) or from memory (`cache`), and
   updates the value of each reduction with each block. `blas` keeps matrix products to one thread, and
   `allocator` keeps freed memory for the next chunk.
4. `merge_tree` combines the groups' values to one, always in the same order.

On a cluster several modules see to it that this comes to an end, and to the right one:

- `memory_estimate` says what a task needs before anything is read. `suitable` keeps tasks from workers that
  have less; `memory_pressure` helps workers that are short of memory all the same.
- `wait` waits for the result while workers come, go and die, and says in the end what is wrong.
- `environment` finds workers of another release, and those whose processor gives other last digits.
- `absence` frees the worker's thread when the fit itself runs in a task, so that a pass can use it.
- `finished_groups` tells the caller how far a pass is, and `telemetry` tells the cluster's own instruments.

`pass_cost` foretells how long a pass takes by running parts of it.
"""
